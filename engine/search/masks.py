"""A filter as one truth per product, computed a column at a time.

The meaning is `engine.search.filters.matches`; tests hold the two together on random schemas and filters.
"""

from bisect import bisect_left
from collections.abc import Callable
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.schema import FacetType
from engine.search.filters import And, Equal, Exists, Filter, Leaf, Not, OneOf, Or, Prefix, Range, Value
from engine.storage.facets import FacetTable
from engine.storage.products import Products

Mask = NDArray[np.bool_]


def mask(filter: Filter, products: Products) -> Mask:
    """Which products pass a filter that is bound to their facets: bool [products]."""
    match filter:
        case And(parts):
            return _joined(np.logical_and, True, parts, products)
        case Or(parts):
            return _joined(np.logical_or, False, parts, products)
        case Not(part):
            return ~mask(part, products)
        case _:
            return _leaf(filter, products.facets)


def _joined(join: np.ufunc, start: bool, parts: tuple[Filter, ...], products: Products) -> Mask:
    whole = np.full(products.count, start)
    for part in parts:
        join(whole, mask(part, products), out=whole)
    return whole


def _leaf(leaf: Leaf, table: FacetTable) -> Mask:
    match table.types[leaf.facet]:
        case FacetType.KEYWORD:
            wanted = _wanted(leaf, table.keyword_values(leaf.facet))
            # a missing keyword has code -1, which reads the False that is put at the end
            return np.append(wanted, False)[table.keyword_codes(leaf.facet)]
        case FacetType.KEYWORDS:
            wanted = _wanted(leaf, table.keyword_values(leaf.facet))
            return any_per_row(wanted[table.keywords_codes(leaf.facet)], table.keywords_offsets(leaf.facet))
        case _:
            return _numbers(leaf, table.numbers(leaf.facet))


def any_per_row(flags: Mask, offsets: NDArray[np.integer]) -> Mask:
    """Flags of all values, row after row, with bounds [rows + 1] -> whether a row has one that is set: bool [rows]."""
    running = np.concatenate([[0], np.cumsum(flags)])
    counts: NDArray[np.int64] = running[offsets[1:]] - running[offsets[:-1]]
    return counts > 0


def _wanted(leaf: Leaf, values: tuple[str, ...]) -> Mask:
    """Which of a facet's sorted distinct `values` the leaf asks for: bool [values]."""
    wanted = np.zeros(len(values), np.bool_)
    match leaf:
        case Exists():
            wanted[:] = True
        case Equal(_, value):
            _mark(wanted, values, value)
        case OneOf(_, several):
            for value in several:
                _mark(wanted, values, value)
        case Prefix(_, text):
            start = bisect_left(values, text)
            end = bisect_left(values, True, lo=start, key=lambda value: not value.startswith(text))
            wanted[start:end] = True
        case Range():
            raise AssertionError(f"bind lets no range of text through: {leaf}")
    return wanted


def _mark(wanted: Mask, values: tuple[str, ...], value: Value) -> None:
    assert isinstance(value, str), value
    place = bisect_left(values, value)
    if place < len(values) and values[place] == value:
        wanted[place] = True


def _numbers(leaf: Leaf, numbers: NDArray[np.float64]) -> Mask:
    """Numbers, truths as 0 and 1, times as POSIX seconds; a missing one is NaN, which compares False."""
    match leaf:
        case Exists():
            return ~np.isnan(numbers)
        case Equal(_, value):
            return np.equal(numbers, as_number(value))
        case OneOf(_, values):
            return np.isin(numbers, [as_number(value) for value in values])
        case Range(_, low, high, low_in, high_in):
            inside = ~np.isnan(numbers)
            if low is not None:
                above: Callable[..., Mask] = np.greater_equal if low_in else np.greater
                inside &= above(numbers, as_number(low))
            if high is not None:
                below: Callable[..., Mask] = np.less_equal if high_in else np.less
                inside &= below(numbers, as_number(high))
            return inside
        case Prefix():
            raise AssertionError(f"bind lets no prefix of a number through: {leaf}")


def as_number(value: Value) -> float:
    """A bound value as the column holds it."""
    assert not isinstance(value, str), value
    return value.timestamp() if isinstance(value, datetime) else float(value)
