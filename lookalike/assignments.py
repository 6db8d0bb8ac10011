"""What `upsert` and `set` are told about facets on the command line: `colour=Red`, `'tags=new|sale'`, `price=`."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from engine.catalogue.schema import Facet, FacetType
from engine.errors import BadCall

if TYPE_CHECKING:
    from engine.catalogue.schema import FacetValue


def parse(texts: Sequence[str], schema: Iterable[Facet]) -> "tuple[dict[str, FacetValue], list[str]]":
    """The values to set, in the types of their facets, and the names of those to take away (nothing after the `=`).

    The values of a keywords facet are separated by `|`. Raises BadCall, BadFilter for a value of another type.
    """
    types = {facet.name: facet.type for facet in schema}
    values: dict[str, FacetValue] = {}
    unset: list[str] = []
    for text in texts:
        name, equals, said = text.partition("=")
        if not equals:
            raise BadCall(f"{text!r} says no value; write name=value, or name= to take the value away.")
        if name not in types:
            known = ", ".join(types) or "none yet"
            raise BadCall(f"There is no facet {name!r} (there is {known}); declare it with --facet {name}:keyword.")
        if not said:
            unset.append(name)
        else:
            values[name] = _value(name, types[name], said)
    return values, unset


def _value(name: str, type_: FacetType, text: str) -> "FacetValue":
    from engine.search.filters import typed

    if type_ is FacetType.KEYWORDS:
        return tuple(sorted({word for word in text.split("|") if word}))
    return typed(name, type_, text)
