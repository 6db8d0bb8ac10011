"""POST /v1/feedback: what somebody made of an answer."""

from flask import Response, g, request
from flask_openapi3.blueprint import APIBlueprint

from webui import wire
from webui.api.description import body, problems
from webui.api.mount import Mount
from webui.api.uploads import read_json
from webui.service import SearchService

_BODY = {"requestBody": body(wire.FeedbackRequest)}
_KEPT = {"description": "Kept"}


def routes(service: SearchService, mount: Mount) -> APIBlueprint:
    """The resource at `mount`, answered by `service`."""
    api = mount.blueprint("feedback", "search")

    @api.post(
        "/feedback",
        operation_id="feedback",
        openapi_extensions=_BODY,
        responses={204: _KEPT, **problems(400, 403, 413, 415, 422)},
    )
    def feedback() -> Response:
        """Tell that a product of an answer was clicked or is wrong, or that the product was not found."""
        caller = g.get("caller")  # who was let in by a key
        key = None if caller is None else caller.name
        service.give_feedback(read_json(request, wire.FeedbackRequest), key)
        return Response(status=204)

    return api
