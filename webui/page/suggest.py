"""Which facets tell the products of an answer apart, and which of their values a shopper is likely to want."""

from collections import Counter
from collections.abc import Mapping, Sequence

from webui.page.overview import Overview
from webui.wire import Card, WireFacetValue

FACETS = 4  # facets that are suggested
VALUES = 2  # and how many values of each


def telling_first(cards: Sequence[Card], overview: Overview) -> tuple[str, ...]:
    """All offered facets in the order of the catalogue, those on which the cards differ before the others."""
    told = {name: {str(card.facets.get(name)) for card in cards} for name in overview.offered}
    return tuple(sorted(overview.offered, key=lambda name: len(told[name]) < 2))


def suggest(cards: Sequence[Card], overview: Overview) -> dict[str, tuple[str, ...]]:
    """By facet, the values that are most frequent among the cards: those near what was searched from."""
    worded = [name for name in telling_first(cards, overview) if name not in overview.ranged][:FACETS]
    counts = {name: Counter(text for card in cards for text in _texts(card.facets, name)) for name in worded}
    return {name: tuple(value for value, _ in counts[name].most_common(VALUES)) for name in worded}


def _texts(facets: Mapping[str, WireFacetValue], name: str) -> list[str]:
    """The values of one facet as a filter names them in text."""
    value = facets.get(name)
    if value is None:
        return []
    return value if isinstance(value, list) else [value_text(value)]


def value_text(value: str | float | bool) -> str:
    """A single value as a filter names it in text: truths are "true" and "false"."""
    return str(value).lower() if isinstance(value, bool) else str(value)
