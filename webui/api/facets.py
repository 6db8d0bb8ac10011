"""GET /v1/facets: what there is to filter by, with counts."""

from flask import Response
from flask_openapi3.blueprint import APIBlueprint

from webui import wire
from webui.api.answers import answer
from webui.api.description import problems
from webui.api.mount import Mount
from webui.service import SearchService


def routes(service: SearchService, mount: Mount) -> APIBlueprint:
    """The resource at `mount`, answered by `service`."""
    api = mount.blueprint("facets", "catalogue")

    @api.get("/facets", operation_id="facets", responses={200: wire.FacetsAnswer, **problems(422)})
    def facets(query: wire.FacetsQuery) -> Response:
        """Every facet, its values and how many products have them."""
        return answer(service.facets(query.filter))

    return api
