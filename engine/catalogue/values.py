"""Facet values as JSON and back: how the catalogue keeps what `schema.py` describes."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from engine.catalogue.schema import FacetType, FacetValue
from engine.errors import BadCall

JsonValue = str | float | bool | list[str]
_Item = TypeVar("_Item")


def dump_json(value: object) -> str:
    """Compact JSON with sorted keys: equal values are equal text."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def encode(name: str, type: FacetType, value: FacetValue) -> JsonValue:
    """The JSON for a value of the facet `name`; raises BadCall for a value that is not of the facet's type."""
    match type, value:
        case FacetType.KEYWORD, str():
            return value
        case FacetType.KEYWORDS, tuple() if all(isinstance(item, str) for item in value):
            return sorted(set(value))
        case FacetType.BOOLEAN, bool():
            return value
        case FacetType.NUMBER, float() | int() if not isinstance(value, bool) and math.isfinite(value):
            return float(value)
        case FacetType.TIME, datetime() if value.tzinfo is not None:
            return value.astimezone(UTC).isoformat()
    raise BadCall(f"{value!r} cannot be a value of the facet {name!r}, which is a {type}; send a {type}.")


def decode(type: FacetType, value: Any) -> FacetValue:
    """The value behind the JSON that `encode` made."""
    if type is FacetType.KEYWORDS:
        return tuple(value)
    if type is FacetType.TIME:
        return datetime.fromisoformat(value)
    if type is FacetType.NUMBER:
        return float(value)
    plain: FacetValue = value
    return plain


def decode_all(types: Mapping[str, FacetType], values: Mapping[str, Any]) -> dict[str, FacetValue]:
    """The facets of a product from its JSON, in the order in which `types` declares them."""
    return {name: decode(type, values[name]) for name, type in types.items() if name in values}


def chunks(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    """`items` in their order, at most `size` at a time: databases bound what one statement may name."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
