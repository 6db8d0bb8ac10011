"""GET /healthz: is it there, and with which index."""

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from webui import wire
from webui.api.answers import answer
from webui.api.description import problems
from webui.service import SearchService


def routes(service: SearchService) -> APIBlueprint:
    """The resource, answered by `service`."""
    api = APIBlueprint("health", __name__, abp_tags=[Tag(name="server")])

    @api.get("/healthz", operation_id="health", responses={200: wire.Health, **problems()})
    def health() -> Response:
        """What answers here: products, photos, generation, model."""
        return answer(service.health())

    return api
