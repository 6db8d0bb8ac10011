"""The grammar of filters as a JSON schema; `engine.search.filter_json` reads it, and checks it against the facets."""

from typing import Any

_FILTER = {"$ref": "#/components/schemas/Filter"}
_VALUE = {"$ref": "#/components/schemas/FilterValue"}
_ENDS = {"$ref": "#/components/schemas/FilterRange"}


def _form(name: str, content: dict[str, Any], what: str) -> dict[str, Any]:
    return {
        "type": "object",
        "description": what,
        "properties": {name: content},
        "required": [name],
        "additionalProperties": False,
    }


def _of_one_facet(content: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": content, "minProperties": 1, "maxProperties": 1}


FILTER_SCHEMAS: dict[str, Any] = {
    "Filter": {
        "description": "What products must be. A product without a facet fails every condition on it, and passes their "
        "`not`.",
        "anyOf": [
            _form("eq", _of_one_facet(_VALUE), "the facet is this value; of several keywords, one is"),
            _form("in", _of_one_facet({"type": "array", "items": _VALUE}), "the facet is one of these values"),
            _form("range", _of_one_facet(_ENDS), "the number or time lies between these ends"),
            _form("prefix", _of_one_facet({"type": "string"}), "the text begins with this"),
            _form("exists", {"type": "string"}, "the product has a value for the facet of this name"),
            _form("and", {"type": "array", "items": _FILTER}, "all of these hold"),
            _form("or", {"type": "array", "items": _FILTER}, "one of these holds"),
            _form("not", _FILTER, "this does not hold"),
        ],
    },
    "FilterValue": {
        "description": "Text, a number, true or false; a time is ISO 8601 text.",
        "anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}],
    },
    "FilterRange": {
        "description": "One or two ends: `gt` or `gte`, and `lt` or `lte`.",
        "type": "object",
        "properties": dict.fromkeys(("gt", "gte", "lt", "lte"), _VALUE),
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 2,
    },
}
