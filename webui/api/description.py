"""What `/openapi.json` says beyond what the framework finds out by itself."""

from typing import Any, Literal

from flask_openapi3.types import ResponseDict
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from webui import wire
from webui.api.filter_schema import FILTER_SCHEMAS
from webui.problems import MEDIA_TYPE, status_phrase

REFERENCE = "#/components/schemas/{model}"

_REQUESTS = (
    wire.SearchRequest,
    wire.SearchForm,
    wire.BatchRequest,
    wire.PredictRequest,
    wire.PredictForm,
    wire.ProductRequest,
    wire.ProductForm,
    wire.FeedbackRequest,
)
_ANSWERS = (
    wire.SearchAnswer,
    wire.BatchAnswer,
    wire.PredictAnswer,
    wire.ProductAnswer,
    wire.ProductWritten,
    wire.Deleted,
    wire.FacetsAnswer,
    wire.Health,
    wire.Ready,
    wire.Problem,
)
_RETRY_AFTER = {"Retry-After": {"description": "seconds to wait", "schema": {"type": "integer", "minimum": 1}}}
_KEYS: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "an API key"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "the same key"},
}
ANYBODY = 500, 503  # what every operation may meet
WITH_KEY = 401, 403, 429  # and what those meet that need a key, where the server has keys


def body(*models: type[BaseModel]) -> dict[str, Any]:
    """The body of an operation: JSON as the first model says, or a form as the second; the framework knows only
    operations with one shape."""
    kinds = ("application/json", "multipart/form-data")
    content = {
        kind: {"schema": {"$ref": REFERENCE.format(model=model.__name__)}}
        for kind, model in zip(kinds, models, strict=False)
    }
    return {"required": True, "content": content}


def problems(*statuses: int, open_to_all: bool = False) -> ResponseDict:
    """The errors of an operation, each as problem+json; `open_to_all` ones need no key."""
    schema = {"$ref": REFERENCE.format(model="Problem")}
    every = {*statuses, *ANYBODY, *(() if open_to_all else WITH_KEY)}
    described: ResponseDict = {}
    for status in sorted(every):
        one: dict[str, Any] = {"description": status_phrase(status), "content": {MEDIA_TYPE: {"schema": schema}}}
        described[status] = one if status not in (429, 503) else {**one, "headers": _RETRY_AFTER}
    return described


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """The framework's document with pydantic's own schemas: its models drop keywords they do not know."""
    models: list[tuple[type[BaseModel], Literal["validation", "serialization"]]]
    models = [(model, "validation") for model in _REQUESTS]
    models += [(model, "serialization") for model in _ANSWERS]
    _, schemas = models_json_schema(models, ref_template=REFERENCE)
    components = {"schemas": {**schemas["$defs"], **FILTER_SCHEMAS}, "securitySchemes": _KEYS}
    # either kind of key, or none where the server is open to its own machine
    return {**document, "components": components, "security": [{"bearer": []}, {"header": []}, {}]}
