"""Which facets tell the products of an answer apart, and which of their values a shopper is likely to want."""

from collections import Counter
from collections.abc import Mapping, Sequence

from webui.page.overview import Overview
from webui.wire import Card, WireFacetValue

FACETS = 4  # facets that are suggested
VALUES = 2  # and how many values of each
TRUTHS = ("true", "false")  # named with their facet on a pill, so never the same word


def telling_first(cards: Sequence[Card], overview: Overview) -> tuple[str, ...]:
    """All offered facets in the order of the catalogue, those on which the cards differ before the others."""
    told = {name: {str(card.facets.get(name)) for card in cards} for name in overview.offered}
    return tuple(sorted(overview.offered, key=lambda name: len(told[name]) < 2))


def suggest(cards: Sequence[Card], overview: Overview) -> dict[str, tuple[str, ...]]:
    """By facet, the values that are most frequent among the cards: those near what was searched from.

    A word is suggested once: where two facets have it ("Watches" as a category and as a type), the first has it.
    """
    worded = [name for name in telling_first(cards, overview) if name not in overview.ranged][:FACETS]
    suggested: dict[str, tuple[str, ...]] = {}
    said: set[str] = set()
    for name in sorted(worded, key=overview.offered.index):
        counts = Counter(text for card in cards for text in _texts(card.facets, name))
        ranked = [value for value, _ in counts.most_common() if value in TRUTHS or value not in said]
        suggested[name] = tuple(ranked[:VALUES])
        said.update(suggested[name])
    return suggested


def _texts(facets: Mapping[str, WireFacetValue], name: str) -> list[str]:
    """The values of one facet as a filter names them in text."""
    value = facets.get(name)
    if value is None:
        return []
    return value if isinstance(value, list) else [value_text(value)]


def value_text(value: str | float | bool) -> str:
    """A single value as a filter names it in text: truths are "true" and "false"."""
    return str(value).lower() if isinstance(value, bool) else str(value)
