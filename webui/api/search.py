"""POST /search: a photo, or a product, and the products that are it or like it."""

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from webui import wire
from webui.api.answers import answer
from webui.api.description import SEARCH_BODY, problems
from webui.api.uploads import read_search
from webui.service import SearchService


def routes(service: SearchService) -> APIBlueprint:
    """The resource, answered by `service`."""
    api = APIBlueprint("search", __name__, abp_tags=[Tag(name="search")])

    @api.post(
        "/search",
        operation_id="search",
        openapi_extensions={"requestBody": SEARCH_BODY},
        responses={200: wire.SearchAnswer, **problems(400, 404, 413, 415, 422)},
    )
    def search() -> Response:
        """Find the product in a photo, and products like it."""
        return answer(service.search(read_search(request)))

    return api
