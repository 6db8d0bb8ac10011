"""Filters as JSON, the way the API takes them and results are kept.

``{"and": [{"eq": {"colour": "Red"}}, {"range": {"price": {"gte": 10, "lt": 50}}}, {"not": {"exists": "sale"}}]}``
"""

from datetime import datetime
from typing import Any

from engine.errors import BadFilter
from engine.search.filters import And, Equal, Exists, Filter, Not, OneOf, Or, Prefix, Range, Value, read_number

MAX_DEPTH = 32  # of and, or, not: far beyond what people ask, far below Python's recursion limit

_LOWS = {"gte": True, "gt": False}  # key -> is the end in?
_HIGHS = {"lte": True, "lt": False}
_FORMS = "and, or, not, eq, in, range, exists, prefix"


def from_json(data: object) -> Filter:
    """A filter from parsed JSON, for example ``{"and": [{"eq": {"colour": "Red"}}, {"not": {"exists": "sale"}}]}``.

    Values stay raw until `bind`. Raises BadFilter naming the part that cannot be understood.
    """
    return _from_json(data, MAX_DEPTH)


def _from_json(data: object, depth: int) -> Filter:
    if depth == 0:
        raise BadFilter(f"The filter is nested deeper than {MAX_DEPTH} levels; flatten it.")
    form, body = _one_item(data, f"an object with one of the keys {_FORMS}")
    match form:
        case "and" | "or":
            if not isinstance(body, list):
                raise BadFilter(f"The filter's {form!r} needs a list of filters, not {_shown(body)}.")
            parts = tuple(_from_json(part, depth - 1) for part in body)
            return And(parts) if form == "and" else Or(parts)
        case "not":
            return Not(_from_json(body, depth - 1))
        case "exists":
            if not isinstance(body, str):
                raise BadFilter(f"The filter's 'exists' needs the name of a facet, not {_shown(body)}.")
            return Exists(body)
    facet, what = _one_item(body, f"{form!r} to have an object with one facet")
    match form:
        case "eq":
            return Equal(facet, _scalar(facet, what))
        case "in":
            if not isinstance(what, list):
                raise BadFilter(f"The filter's 'in' on {facet!r} needs a list of values, not {_shown(what)}.")
            return OneOf(facet, tuple(_scalar(facet, value) for value in what))
        case "range":
            return _range_from_json(facet, what)
        case "prefix":
            if not isinstance(what, str):
                raise BadFilter(f"The filter's 'prefix' on {facet!r} needs text, not {_shown(what)}.")
            return Prefix(facet, what)
    raise BadFilter(f"A filter has no {form!r}; use one of {_FORMS}.")


def _one_item(data: object, wanted: str) -> tuple[str, Any]:
    if not isinstance(data, dict) or len(data) != 1:
        raise BadFilter(f"The filter needs {wanted}, not {_shown(data)}.")
    (item,) = data.items()
    return item


def _range_from_json(facet: str, ends: object) -> Range:
    if not isinstance(ends, dict) or not ends or any(end not in _LOWS and end not in _HIGHS for end in ends):
        raise BadFilter(f"The range of {facet!r} needs gt or gte and lt or lte, not {_shown(ends)}.")
    lows = [end for end in ends if end in _LOWS]
    highs = [end for end in ends if end in _HIGHS]
    if len(lows) > 1 or len(highs) > 1:
        raise BadFilter(f"The range of {facet!r} has the same end twice; give either gt or gte, and either lt or lte.")
    return Range(
        facet,
        low=_scalar(facet, ends[lows[0]]) if lows else None,
        high=_scalar(facet, ends[highs[0]]) if highs else None,
        low_in=_LOWS[lows[0]] if lows else True,
        high_in=_HIGHS[highs[0]] if highs else True,
    )


def _scalar(facet: str, value: object) -> Value:
    if isinstance(value, str | bool):
        return value
    number = read_number(value)
    if number is None:
        raise BadFilter(f"{facet!r} cannot be compared with {_shown(value)}; give text, a number, true or false.")
    return number


def _shown(value: object) -> str:
    """A value as an error may show it: short, whatever was sent."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def to_json(filter: Filter) -> dict[str, Any]:
    """The JSON of a filter; times become ISO text, so `bind(from_json(to_json(f)), schema) == f` for a bound f."""
    match filter:
        case And(parts):
            return {"and": [to_json(part) for part in parts]}
        case Or(parts):
            return {"or": [to_json(part) for part in parts]}
        case Not(part):
            return {"not": to_json(part)}
        case Equal(facet, value):
            return {"eq": {facet: _plain(value)}}
        case OneOf(facet, values):
            return {"in": {facet: [_plain(value) for value in values]}}
        case Exists(facet):
            return {"exists": facet}
        case Prefix(facet, text):
            return {"prefix": {facet: text}}
        case Range(facet, low, high, low_in, high_in):
            ends = {}
            if low is not None:
                ends["gte" if low_in else "gt"] = _plain(low)
            if high is not None:
                ends["lte" if high_in else "lt"] = _plain(high)
            return {"range": {facet: ends}}


def _plain(value: Value) -> str | float | bool:
    return value.isoformat() if isinstance(value, datetime) else value
