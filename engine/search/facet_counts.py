"""What there is to choose from: the values of every facet and how many products have them.

A facet is counted under the filter without its own clauses, so that choosing a colour does not hide the other colours.
A facet's own clauses are those that are about nothing else, directly under the filter's outermost `and`.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import nsmallest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.schema import Facet, FacetType, FacetValue
from engine.search.filters import And, Filter, leaves
from engine.search.masks import Mask
from engine.storage.facets import FacetTable

Part = tuple[FacetTable, Mask]
"""Some products' facets, and which of these products to count: bool [products of the table]."""


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
    facets: tuple[Facet, ...], passing: Callable[[str], Sequence[Part]], limit: int
) -> tuple[FacetSummary, ...]:
    """Every facet; `passing` gives, for a facet's name, the products to count, each in one part."""
    return tuple(_summary(facet, passing(facet.name), limit) for facet in facets)


def _summary(facet: Facet, parts: Sequence[Part], limit: int) -> FacetSummary:
    match facet.type:
        case FacetType.KEYWORD | FacetType.KEYWORDS:
            counts: Counter[FacetValue] = Counter()
            missing = sum(_count_words(facet, table, mask, counts) for table, mask in parts)
            return _of_values(facet, counts, missing, limit)
        case _:
            numbers = np.concatenate([table.numbers(facet.name)[mask] for table, mask in parts])
            present = numbers[~np.isnan(numbers)]
            return _of_numbers(facet, present, len(numbers) - len(present), limit)


def _count_words(facet: Facet, table: FacetTable, mask: Mask, counts: Counter[FacetValue]) -> int:
    """Adds a part's words to `counts`; how many of its products have none."""
    if facet.type is FacetType.KEYWORD:
        codes = table.keyword_codes(facet.name)[mask]
        missing = int((codes < 0).sum())
        codes = codes[codes >= 0]
    else:
        lengths = np.diff(table.keywords_offsets(facet.name))
        codes = table.keywords_codes(facet.name)[np.repeat(mask, lengths)]
        missing = int((lengths[mask] == 0).sum())
    words = table.keyword_values(facet.name)
    by_code = np.bincount(codes, minlength=len(words))
    present = np.flatnonzero(by_code).tolist()
    counts.update({words[code]: count for code, count in zip(present, by_code[present].tolist(), strict=True)})
    return missing


def _of_values(facet: Facet, counts: Counter[FacetValue], missing: int, limit: int) -> FacetSummary:
    def order(item: tuple[FacetValue, int]) -> Any:  # a facet's values are of one type, so they have an order
        return -item[1], item[0]

    values = tuple(nsmallest(limit, counts.items(), key=order))
    return FacetSummary(facet.name, facet.type, values, len(counts), None, None, missing)


def _of_numbers(facet: Facet, present: NDArray[np.float64], missing: int, limit: int) -> FacetSummary:
    if facet.type is FacetType.BOOLEAN:
        return _of_values(facet, Counter(present.astype(bool).tolist()), missing, limit)
    distinct = len(np.unique(present))
    if not distinct:
        return FacetSummary(facet.name, facet.type, (), 0, None, None, missing)
    low, high = float(present.min()), float(present.max())
    if facet.type is FacetType.TIME:
        first, last = datetime.fromtimestamp(low, UTC), datetime.fromtimestamp(high, UTC)
        return FacetSummary(facet.name, facet.type, (), distinct, first, last, missing)
    return FacetSummary(facet.name, facet.type, (), distinct, low, high, missing)
