"""GET /facets: what there is to filter by, with counts."""

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from webui import wire
from webui.api.answers import answer
from webui.api.description import problems
from webui.service import SearchService


def routes(service: SearchService) -> APIBlueprint:
    """The resource, answered by `service`."""
    api = APIBlueprint("facets", __name__, abp_tags=[Tag(name="catalogue")])

    @api.get("/facets", operation_id="facets", responses={200: wire.FacetsAnswer, **problems(422)})
    def facets(query: wire.FacetsQuery) -> Response:
        """Every facet, its values and how many products have them."""
        return answer(service.facets(query.filter))

    return api
