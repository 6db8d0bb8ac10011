"""What a filter can say, in its plainest form: a tree, and a slow, obvious reading of what it means.

Filters are two-valued. A product that lacks a facet fails every leaf about it, and `Not` inverts that: `Not(Equal
("colour", "Red"))` keeps the products without a colour. On `keywords`, equal means contains. Text is case-sensitive.

A filter fresh from a command line or JSON holds raw values; `bind` gives them the types of the facets. `matches` reads
both: bound filters on products (the oracle that `engine.search.masks` is tested against), raw ones on table rows.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any

from engine.catalogue.schema import Facet, FacetType
from engine.errors import BadFilter

Value = str | float | bool | datetime
"""What a leaf compares with: text as typed, or a number, truth or UTC time once it is bound."""


@dataclass(frozen=True, slots=True)
class Equal:
    """The facet is this value; of several keywords, one is."""

    facet: str
    value: Value


@dataclass(frozen=True, slots=True)
class OneOf:
    """The facet is one of these values; of several keywords, one is."""

    facet: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """A number or time between two ends, each of which may be open (None) and may itself be in or out."""

    facet: str
    low: Value | None = None
    high: Value | None = None
    low_in: bool = True
    high_in: bool = True

    def __post_init__(self) -> None:
        if self.low is None and self.high is None:
            raise BadFilter(f"The range of {self.facet!r} has no ends; give one, or ask for any value with exists.")


@dataclass(frozen=True, slots=True)
class Exists:
    """The product has a value for this facet."""

    facet: str


@dataclass(frozen=True, slots=True)
class Prefix:
    """The keyword, or one of several, begins with this text."""

    facet: str
    text: str


@dataclass(frozen=True, slots=True)
class And:
    """All parts hold; without parts, everything passes."""

    parts: "tuple[Filter, ...]"


@dataclass(frozen=True, slots=True)
class Or:
    """One part holds; without parts, nothing passes."""

    parts: "tuple[Filter, ...]"


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: "Filter"


Leaf = Equal | OneOf | Range | Exists | Prefix
Filter = Leaf | And | Or | Not


def leaves(filter: Filter) -> Iterator[Leaf]:
    """Every leaf of the tree, from left to right."""
    match filter:
        case And(parts) | Or(parts):
            for part in parts:
                yield from leaves(part)
        case Not(part):
            yield from leaves(part)
        case _:
            yield filter


def require_names(filter: Filter, names: Iterable[str], what: str = "facet") -> None:
    """Refuses a filter about a `what` (facet, column) that is not among `names`; offers the nearest name."""
    known = list(names)
    for leaf in leaves(filter):
        if leaf.facet not in known:
            near = get_close_matches(leaf.facet, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known) or 'none at all'}."
            raise BadFilter(f"There is no {what} {leaf.facet!r} to filter by; {hint}")


# --- Types: raw values become what the facets hold -------------------------------------------------------------------


def bind(filter: Filter, schema: Sequence[Facet]) -> Filter:
    """The same filter with every value in its facet's type: "50" -> 50.0, "2026-05-01" -> midnight UTC, "true" -> True.

    Raises BadFilter for a facet the schema lacks, a value that does not read as the facet's type, a range of anything
    but numbers and times, a prefix of anything but text. A bound filter binds to itself.
    """
    types = {facet.name: facet.type for facet in schema}
    require_names(filter, types)
    return _bind(filter, types)


def _bind(filter: Filter, types: Mapping[str, FacetType]) -> Filter:
    match filter:
        case And(parts):
            return And(tuple(_bind(part, types) for part in parts))
        case Or(parts):
            return Or(tuple(_bind(part, types) for part in parts))
        case Not(part):
            return Not(_bind(part, types))
        case Exists():
            return filter
        case Equal(facet, value):
            return Equal(facet, typed(facet, types[facet], value))
        case OneOf(facet, values):
            return OneOf(facet, tuple(typed(facet, types[facet], value) for value in values))
        case Range(facet, low, high):
            if types[facet] not in (FacetType.NUMBER, FacetType.TIME):
                raise BadFilter(f"{facet!r} holds {types[facet]} values, which have no range; filter by single values.")
            bounds = [None if bound is None else typed(facet, types[facet], bound) for bound in (low, high)]
            return replace(filter, low=bounds[0], high=bounds[1])
        case Prefix(facet, _):
            if types[facet] not in (FacetType.KEYWORD, FacetType.KEYWORDS):
                raise BadFilter(f"{facet!r} holds {types[facet]} values, which have no beginning; use = or a range.")
            return filter


def typed(facet: str, type: FacetType, value: Value) -> Value:
    """`value` as a value of this facet; BadFilter, with an example, where it does not read as one."""
    reading: Value | None
    match type:
        case FacetType.NUMBER:
            reading = None if isinstance(value, bool | datetime) else read_number(value)
            example = "a number such as 50"
        case FacetType.BOOLEAN:
            reading = value if isinstance(value, bool) else _read_truth(value)
            example = "true or false"
        case FacetType.TIME:
            reading = value.astimezone(UTC) if isinstance(value, datetime) else read_time(value)
            example = "a time such as 2026-05-01 or 2026-05-01T12:00:00Z"
        case _:
            reading = value if isinstance(value, str) else None
            example = "text"
    if reading is None:
        raise BadFilter(f"{facet!r} holds {type} values and {value!r} is none; give {example}.")
    return reading


def _read_truth(value: object) -> bool | None:
    return {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else None


def read_number(value: object) -> float | None:
    """The finite number that a number or text says, or None."""
    if isinstance(value, str | int | float):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            return None
        return number if math.isfinite(number) else None
    return None


def read_time(value: object) -> datetime | None:
    """The time, in UTC, that an ISO 8601 text says (without a zone it is UTC already), or None."""
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


# --- Meaning ---------------------------------------------------------------------------------------------------------


def matches(filter: Filter, record: Mapping[str, Any]) -> bool:
    """Whether a product's facets, or a raw table row, pass the filter: plain Python, one record at a time.

    Raw rows may hold text where numbers or times are meant: a range compares two texts as numbers when both read as
    such, else as times when both read as such, else not at all. Equality of two texts is equality of their characters
    (`product_id=007` is not 7); of a text and a number or truth, of their readings.
    """
    match filter:
        case And(parts):
            return all(matches(part, record) for part in parts)
        case Or(parts):
            return any(matches(part, record) for part in parts)
        case Not(part):
            return not matches(part, record)
        case _:
            return any(_holds(filter, value) for value in values_of(record.get(filter.facet)))


def values_of(value: object) -> Sequence[object]:
    """A record's cell as the values in it: none when missing, several for keywords."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ()
    return value if isinstance(value, tuple | list) else (value,)


def _holds(leaf: Leaf, value: object) -> bool:
    match leaf:
        case Equal(_, wanted):
            return same(value, wanted)
        case OneOf(_, wanted):
            return any(same(value, one) for one in wanted)
        case Range():
            return _within(leaf, value)
        case Exists():
            return True
        case Prefix(_, text):
            return isinstance(value, str) and value.startswith(text)


def same(value: object, wanted: object) -> bool:
    """Equality across readings: 2015 and "2015", True and "true", a time and its ISO text; two texts by characters."""
    if isinstance(value, str) and not isinstance(wanted, str):
        value, wanted = wanted, value
    if isinstance(wanted, str):
        match value:
            case str():
                return value == wanted
            case bool():
                return _read_truth(wanted) is value
            case int() | float():
                return read_number(wanted) == value
            case datetime():
                return read_time(wanted) == _aware(value)
    if isinstance(value, datetime) and isinstance(wanted, datetime):
        return _aware(value) == _aware(wanted)
    return isinstance(value, bool) == isinstance(wanted, bool) and value == wanted


def _within(leaf: Range, value: object) -> bool:
    above = leaf.low is None or _ordered(leaf.low, value, equal=leaf.low_in)
    below = leaf.high is None or _ordered(value, leaf.high, equal=leaf.high_in)
    return above and below


def _ordered(low: object, high: object, *, equal: bool) -> bool:
    """Whether low < high, or low <= high where `equal`; two sides that do not read alike are in no order."""
    numbers = _number_of(low), _number_of(high)
    if numbers[0] is not None and numbers[1] is not None:
        return numbers[0] < numbers[1] or (equal and numbers[0] == numbers[1])
    times = _time_of(low), _time_of(high)
    if times[0] is not None and times[1] is not None:
        return times[0] < times[1] or (equal and times[0] == times[1])
    return False


def _number_of(value: object) -> float | None:
    return None if isinstance(value, bool) else read_number(value)


def _time_of(value: object) -> datetime | None:
    return _aware(value) if isinstance(value, datetime) else read_time(value)


def _aware(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time
