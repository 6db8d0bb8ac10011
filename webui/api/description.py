"""What `/openapi.json` says beyond what the framework finds out by itself."""

from typing import Any, Literal

from flask_openapi3.types import ResponseDict
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from webui import wire
from webui.problems import MEDIA_TYPE, status_phrase

REFERENCE = "#/components/schemas/{model}"

_REQUESTS = (wire.SearchRequest, wire.SearchForm)
_ANSWERS = (wire.SearchAnswer, wire.ProductAnswer, wire.FacetsAnswer, wire.Health, wire.Problem)

SEARCH_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {"schema": {"$ref": REFERENCE.format(model="SearchRequest")}},
        "multipart/form-data": {"schema": {"$ref": REFERENCE.format(model="SearchForm")}},
    },
}
"""The two shapes of a search; the framework knows only operations with one."""


def problems(*statuses: int) -> ResponseDict:
    """The errors of an operation, each as problem+json; every operation may meet 500 and 503."""
    schema = {"$ref": REFERENCE.format(model="Problem")}
    return {
        status: {"description": status_phrase(status), "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in (*statuses, 500, 503)
    }


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """The framework's document with pydantic's own schemas: its models drop keywords they do not know."""
    models: list[tuple[type[BaseModel], Literal["validation", "serialization"]]]
    models = [(model, "validation") for model in _REQUESTS]
    models += [(model, "serialization") for model in _ANSWERS]
    _, schemas = models_json_schema(models, ref_template=REFERENCE)
    return {**document, "components": {"schemas": schemas["$defs"]}}
