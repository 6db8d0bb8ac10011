"""GET /healthz, /readyz and /metrics: for those who keep the server."""

from flask import Response
from flask_openapi3.blueprint import APIBlueprint

from webui import wire
from webui.api.answers import answer
from webui.api.description import problems
from webui.api.mount import Mount
from webui.metrics import CONTENT_TYPE
from webui.service import SearchService

_TEXT = {"description": "OK", "content": {"text/plain": {"schema": {"type": "string"}}}}


def routes(service: SearchService, mount: Mount) -> APIBlueprint:
    """The resource at `mount`, answered by `service`."""
    api = mount.blueprint("health", "server")

    @api.get("/healthz", operation_id="health", responses={200: wire.Health, **problems(open_to_all=True)})
    def health() -> Response:
        """What answers here: products, photos, generation, model."""
        return answer(service.health())

    @api.get("/readyz", operation_id="ready", responses={200: wire.Ready, **problems(open_to_all=True)})
    def ready() -> Response:
        """Whether requests may come: 503 until everything that changed since the index was built can be found."""
        return answer(service.ready())

    @api.get("/metrics", operation_id="metrics", responses={200: _TEXT, **problems()})
    def metrics() -> Response:
        """Counters, times and gauges, of all workers together, as Prometheus reads them."""
        return Response(service.exposition(), content_type=CONTENT_TYPE)

    return api
