"""POST /v1/search: a photo, or a product, and the products that are it or like it; and many such at once."""

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint

from webui import wire
from webui.api.answers import answer
from webui.api.description import body, problems
from webui.api.mount import Mount
from webui.api.uploads import read_json, read_search
from webui.service import SearchService

_SEARCH = {"requestBody": body(wire.SearchRequest, wire.SearchForm)}
_BATCH = {"requestBody": body(wire.BatchRequest)}


def routes(service: SearchService, mount: Mount) -> APIBlueprint:
    """The resource at `mount`, answered by `service`."""
    api = mount.blueprint("search", "search")

    @api.post(
        "/search",
        operation_id="search",
        openapi_extensions=_SEARCH,
        responses={200: wire.SearchAnswer, **problems(400, 403, 404, 413, 415, 422)},
    )
    def search() -> Response:
        """Find the product in a photo, and products like it."""
        return answer(service.search(read_search(request)))

    @api.post(
        "/search:batch",
        operation_id="search_batch",
        openapi_extensions=_BATCH,
        responses={200: wire.BatchAnswer, **problems(400, 413, 415, 422)},
    )
    def search_batch() -> Response:
        """Up to 32 searches in one request, answered in their order; what is wrong with one spoils no other."""
        return answer(service.search_batch(read_json(request, wire.BatchRequest)))

    return api
