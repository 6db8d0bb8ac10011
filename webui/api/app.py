"""The API as a WSGI application: every resource, errors as problems, and its own description."""

from importlib.metadata import version

from flask import Response, jsonify
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI
from pydantic import ValidationError

from engine.settings import settings
from webui import wire
from webui.api import docs, facets, feedback, health, photos, predict, products, search
from webui.api.description import complete
from webui.api.errors import register_errors
from webui.api.guard import guard
from webui.api.measuring import register_measuring
from webui.api.mount import PLAIN, ROOT, V1
from webui.api.uploads import InMemoryRequest
from webui.problems import of_fields
from webui.service import SearchService
from webui.state.state import State

BESIDE_THE_PHOTO = 1024 * 1024  # bytes of a request that are not its photo: fields, boundaries


def max_request_bytes() -> int:
    """How large a request's body may be: the largest photo in base64, and what stands beside it."""
    return settings().max_photo_bytes * 4 // 3 + BESIDE_THE_PHOTO


def create_app(service: SearchService, state: State | None = None) -> OpenAPI:
    """The application that answers for `service`: those whom `state` admits, or without one everybody."""
    app = OpenAPI(
        __name__,
        info=Info(
            title="Lookalike",
            version=version("lookalike"),
            description="Visual product search: a photo goes in, the product in it and ones like it come out.",
        ),
        doc_ui=False,  # its pages load scripts from elsewhere
        validation_error_callback=_refuse,
        validation_error_status=500,  # described for every operation: the framework then describes nothing of its own
    )
    app.request_class = InMemoryRequest
    app.config["MAX_CONTENT_LENGTH"] = max_request_bytes()
    # Two slashes are a mistake to tell, not an address to redirect to.
    app.url_map.merge_slashes = False
    register_measuring(app, service.metrics)
    register_errors(app)
    if state is not None:
        guard(app, state)
    for mount in (V1, PLAIN):
        for resource in (search, predict, products, facets, photos, feedback):
            app.register_api(resource.routes(service, mount))
    app.register_api(health.routes(service, ROOT))

    def document() -> dict[str, object]:
        return complete(app.api_doc)

    @app.route("/openapi.json")
    def openapi() -> Response:
        return jsonify(document())

    app.register_blueprint(docs.page(document))
    return app


def _refuse(error: ValidationError) -> None:
    # A validation error is titled with its model's name; paths and queries are the models checked on the way here.
    raise of_fields(error, getattr(wire, error.title)) from None
