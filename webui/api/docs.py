"""GET /docs: the API's own description as a page for people, with every kind of problem under its code.

Drawn from the document of `/openapi.json`, so that it cannot say anything else; without scripts, and without a request
to anywhere.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flask import Blueprint, Response, render_template

from webui.hints import HINTS

NOTHING_FROM_ELSEWHERE = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(document: Callable[[], Mapping[str, Any]]) -> Blueprint:
    """The page of the description that `document` gives."""
    blueprint = Blueprint("docs", __name__, template_folder="templates")

    @blueprint.route("/docs")
    def docs() -> Response:
        description = document()
        response = Response(
            render_template(
                "docs.html",
                info=description["info"],
                operations=list(_operations(description)),
                schemas=description["components"]["schemas"],
                problems=HINTS,
                say=say,
                fields=fields,
            ),
            mimetype="text/html",
        )
        response.headers["Content-Security-Policy"] = NOTHING_FROM_ELSEWHERE
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return blueprint


def _operations(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield {"path": path, "method": method.upper(), **operation}


def fields(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The fields of an object's schema: name, schema, and whether it must be there."""
    required = schema.get("required", ())
    return [
        {"name": name, "schema": field, "required": name in required}
        for name, field in schema.get("properties", {}).items()
    ]


def say(schema: Mapping[str, Any]) -> str:
    """What a value may be, in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(map(say, schema["anyOf"])))
    if "enum" in schema:
        return " or ".join(repr(value) for value in schema["enum"])
    if "const" in schema:
        return repr(schema["const"])
    kind = schema.get("type", "anything")
    if kind == "array":
        items = schema.get("prefixItems")
        of = f"{len(items)} times {say(items[0])}" if items else say(schema.get("items", {}))
        return f"list of {of}{_limits(schema)}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"object of {say(schema['additionalProperties'])}"
    if schema.get("contentEncoding") == "base64":
        return "base64"
    if "contentMediaType" in schema or schema.get("format") == "binary":
        return "file"
    return f"{kind}{_limits(schema)}"


def _limits(schema: Mapping[str, Any]) -> str:
    low = next((schema[name] for name in ("minimum", "minLength", "minItems") if name in schema), None)
    high = next((schema[name] for name in ("maximum", "maxLength", "maxItems") if name in schema), None)
    unit = " characters" if "maxLength" in schema else ""
    if low is None and high is None:
        return ""
    if high is None:
        return f", at least {low}{unit}"
    return f", at most {high}{unit}" if low is None else f", {low} to {high}{unit}"
