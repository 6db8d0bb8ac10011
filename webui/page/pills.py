"""Facets as pills: a short row of the likeliest choices, and every facet behind "more facets"."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from engine.catalogue.schema import FacetType
from webui.page.choices import Choices, Span
from webui.page.markup import number
from webui.page.overview import RANGED, Overview
from webui.page.suggest import value_text
from webui.wire import FacetSummary

OPEN_VALUES = 12  # values of a facet that "more facets" shows at once


@dataclass(frozen=True, slots=True)
class Pill:
    """One value of a facet. `count` is None where the API lists no count: a picked value that no product has left."""

    facet: str
    value: str
    label: str
    count: int | None
    chosen: bool


@dataclass(frozen=True, slots=True)
class RangePill:
    """A range that is set."""

    facet: str
    span: Span


@dataclass(frozen=True, slots=True)
class Group:
    """All of one facet: pills for values (`rest` behind one more fold), or two ends for numbers and times."""

    name: str
    type: FacetType
    pills: tuple[Pill, ...] = ()
    rest: tuple[Pill, ...] = ()
    unlisted: int = 0  # values beyond those that the API lists
    span: Span | None = None
    lowest: str = ""
    highest: str = ""

    @property
    def ranged(self) -> bool:
        return self.type in RANGED


@dataclass(frozen=True, slots=True)
class Pills:
    """The short row, in the order of the facets, and the groups behind "more facets"."""

    front: tuple[Pill | RangePill, ...]
    groups: tuple[Group, ...]


def arrange(
    facets: Iterable[FacetSummary], choices: Choices, overview: Overview, suggested: Mapping[str, Sequence[str]]
) -> Pills:
    """Pills for these facets; the short row has what was picked and what is `suggested`, values by facet."""
    wanted = {*overview.offered, *choices.values, *choices.spans}
    groups = tuple(_group(facet, choices) for facet in facets if facet.name in wanted)
    front: list[Pill | RangePill] = []
    for group in groups:
        if group.span:
            front.append(RangePill(group.name, group.span))
        front += _front(group, suggested.get(group.name, ()))
    return Pills(tuple(front), groups)


def _group(facet: FacetSummary, choices: Choices) -> Group:
    if facet.type in RANGED:
        span = choices.spans.get(facet.name)
        return Group(facet.name, facet.type, span=span, lowest=_end(facet.minimum), highest=_end(facet.maximum))
    counts = {value_text(choice.value): choice.count for choice in facet.values}
    values = [*counts, *(value for value in choices.values.get(facet.name, ()) if value not in counts)]
    pills = tuple(
        Pill(facet.name, value, _label(facet, value), counts.get(value), choices.has(facet.name, value))
        for value in values
    )
    return Group(
        facet.name,
        facet.type,
        pills=pills[:OPEN_VALUES],
        rest=pills[OPEN_VALUES:],
        unlisted=max(0, facet.distinct - len(facet.values)),
    )


def _front(group: Group, suggested: Sequence[str]) -> list[Pill]:
    """The suggested values that products have, then the picked ones among the others."""
    every = {pill.value: pill for pill in group.pills + group.rest}
    first = [every[value] for value in suggested if value in every]
    return first + [pill for pill in every.values() if pill.chosen and pill not in first]


def _label(facet: FacetSummary, value: str) -> str:
    if facet.type != FacetType.BOOLEAN:
        return value
    return f"{facet.name}: {'yes' if value == 'true' else 'no'}"


def _end(value: float | str | None) -> str:
    """An end of a range as its input shows it: a plain number, or the day of a time."""
    if value is None:
        return ""
    return number(value) if isinstance(value, float) else value[:10]
