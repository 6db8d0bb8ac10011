"""What there is to choose from: the values of every facet and how many products have them.

A facet is counted under the filter without its own clauses, so that choosing a colour does not hide the other colours.
A facet's own clauses are those that are about nothing else, directly under the filter's outermost `and`.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.schema import Facet, FacetType, FacetValue
from engine.search.filters import And, Filter, leaves
from engine.search.masks import Mask
from engine.storage.facets import FacetTable


@dataclass(frozen=True, slots=True)
class FacetSummary:
    """One facet of the products under a filter.

    `values` of text and truths with their counts, the most frequent first, at most as many as were asked for, of
    `distinct` in all; `minimum` and `maximum` of numbers and times; `missing` counts products without a value.
    """

    name: str
    type: FacetType
    values: tuple[tuple[FacetValue, int], ...]
    distinct: int
    minimum: float | datetime | None
    maximum: float | datetime | None
    missing: int


def without(filter: Filter | None, facet: str) -> Filter | None:
    """The filter less the facet's own clauses; None where nothing is left."""
    if filter is None:
        return None
    clauses = filter.parts if isinstance(filter, And) else (filter,)
    others = tuple(clause for clause in clauses if {leaf.facet for leaf in leaves(clause)} != {facet})
    if not others:
        return None
    return others[0] if len(others) == 1 else And(others)


def summarise(
    facets: tuple[Facet, ...], table: FacetTable, passing: Callable[[str], Mask], limit: int
) -> tuple[FacetSummary, ...]:
    """Every facet; `passing` gives, for a facet's name, the products to count: bool [products]."""
    return tuple(_summary(facet, table, passing(facet.name), limit) for facet in facets)


def _summary(facet: Facet, table: FacetTable, mask: Mask, limit: int) -> FacetSummary:
    match facet.type:
        case FacetType.KEYWORD:
            codes = table.keyword_codes(facet.name)[mask]
            return _of_words(facet, table, codes[codes >= 0], int((codes < 0).sum()), limit)
        case FacetType.KEYWORDS:
            lengths = np.diff(table.keywords_offsets(facet.name))
            codes = table.keywords_codes(facet.name)[np.repeat(mask, lengths)]
            return _of_words(facet, table, codes, int((lengths[mask] == 0).sum()), limit)
        case _:
            numbers = table.numbers(facet.name)[mask]
            present = numbers[~np.isnan(numbers)]
            return _of_numbers(facet, present, len(numbers) - len(present), limit)


def _of_words(facet: Facet, table: FacetTable, codes: NDArray[np.int32], missing: int, limit: int) -> FacetSummary:
    words = table.keyword_values(facet.name)
    counts = np.bincount(codes, minlength=len(words))
    distinct = int((counts > 0).sum())
    # codes are in the order of their words: a stable sort leaves equal counts in that order
    order = np.argsort(-counts, kind="stable")[: min(limit, distinct)]
    values = tuple((words[code], int(counts[code])) for code in order)
    return FacetSummary(facet.name, facet.type, values, distinct, None, None, missing)


def _of_numbers(facet: Facet, present: NDArray[np.float64], missing: int, limit: int) -> FacetSummary:
    distinct = len(np.unique(present))
    if facet.type is FacetType.BOOLEAN:
        counts = Counter(present.astype(bool).tolist())
        values = tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit])
        return FacetSummary(facet.name, facet.type, values, distinct, None, None, missing)
    if not distinct:
        return FacetSummary(facet.name, facet.type, (), 0, None, None, missing)
    low, high = float(present.min()), float(present.max())
    if facet.type is FacetType.TIME:
        first, last = datetime.fromtimestamp(low, UTC), datetime.fromtimestamp(high, UTC)
        return FacetSummary(facet.name, facet.type, (), distinct, first, last, missing)
    return FacetSummary(facet.name, facet.type, (), distinct, low, high, missing)
