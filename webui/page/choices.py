"""What a shopper has picked among the facets, and the filter it amounts to.

Choices within a facet are or-ed, across facets and-ed. Values stay the text of the page: the API reads them by the
facet's type, so this module knows types only where a page must: the last day of a time range is meant to be in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any


@dataclass(frozen=True, slots=True)
class Span:
    """A range with both ends in; an end that is None is open."""

    low: str | None = None
    high: str | None = None

    def label(self) -> str:
        """The range as a pill shows it: both ends with a dash between, "from 10", "up to 50"."""
        if self.low is None:
            return f"up to {self.high}"
        return f"from {self.low}" if self.high is None else f"{self.low} \N{EN DASH} {self.high}"


@dataclass(frozen=True, slots=True)
class Choices:
    """The picked values by facet, in the order of picking, and the ranges by facet."""

    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    spans: Mapping[str, Span] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.values or self.spans)

    def has(self, facet: str, value: str) -> bool:
        return value in self.values.get(facet, ())

    def toggle(self, facet: str, value: str) -> "Choices":
        """Picked becomes unpicked, unpicked becomes picked."""
        old = self.values.get(facet, ())
        new = tuple(other for other in old if other != value) if value in old else (*old, value)
        values = {**self.values, facet: new}
        return replace(self, values={name: picked for name, picked in values.items() if picked})

    def with_span(self, facet: str, span: Span) -> "Choices":
        """The range of a facet set anew; one that is open on both sides takes it away."""
        others = {name: other for name, other in self.spans.items() if name != facet}
        if span == Span():
            return replace(self, spans=others)
        return replace(self, spans={**others, facet: span})

    def filter(self, types: Mapping[str, str]) -> dict[str, Any] | None:
        """The filter as the API takes it; None where nothing is picked. `types` has the type of every facet."""
        clauses: list[dict[str, Any]] = [{"in": {facet: list(picked)}} for facet, picked in self.values.items()]
        clauses += [{"range": {facet: _ends(span, types.get(facet))}} for facet, span in self.spans.items()]
        return {"and": clauses} if clauses else None


def _ends(span: Span, type: str | None) -> dict[str, str]:
    ends: dict[str, str] = {}
    if span.low is not None:
        ends["gte"] = span.low
    if span.high is not None and type == "time":
        ends["lt"] = _day_after(span.high)
    elif span.high is not None:
        ends["lte"] = span.high
    return ends


def _day_after(day: str) -> str:
    """The next day in ISO form; anything that is no date goes to the API as it is, which says what is wrong with it."""
    try:
        return (date.fromisoformat(day) + timedelta(days=1)).isoformat()
    except (ValueError, OverflowError):
        return day
