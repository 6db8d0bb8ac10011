"""The facets of a generation's products, as columns: what filters, facet counts and cards read.

Each facet is one Arrow column over product ordinals, null where a product has no value. Distinct words are stored
once, sorted, and products hold their numbers (codes).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from engine.catalogue.schema import Facet, FacetType, FacetValue

PREFIX = "facet:"  # column names of facets in products.arrow, so that a facet may be called "title"


class FacetTable:
    """Facet columns over product ordinals 0..n-1, as numpy arrays made when first asked for."""

    def __init__(self, table: pa.Table, facets: Sequence[Facet]) -> None:
        self._columns = {facet.name: _one_chunk(table.column(PREFIX + facet.name)) for facet in facets}
        self._arrays: dict[tuple[str, str], NDArray[Any]] = {}
        self._words: dict[str, tuple[str, ...]] = {}
        self.facets: tuple[Facet, ...] = tuple(facets)
        self.types: Mapping[str, FacetType] = {facet.name: facet.type for facet in facets}

    def keyword_values(self, name: str) -> tuple[str, ...]:
        """The distinct values of a keyword or keywords facet, sorted; a code is a position here."""
        if name not in self._words:
            column = self._columns[name]
            words = column.values if self.types[name] is FacetType.KEYWORDS else column
            self._words[name] = tuple(words.dictionary.to_pylist())
        return self._words[name]

    def keyword_codes(self, name: str) -> NDArray[np.int32]:
        """[products] codes of a keyword facet; -1 where the product has no value."""
        return self._array(name, "codes", lambda column: pc.fill_null(column.indices, -1).to_numpy())

    def keywords_offsets(self, name: str) -> NDArray[np.int32]:
        """[products + 1]: the codes of product p are `keywords_codes(name)[offsets[p]:offsets[p + 1]]`."""
        return self._array(name, "offsets", lambda column: column.offsets.to_numpy())

    def keywords_codes(self, name: str) -> NDArray[np.int32]:
        """The codes of all products' values of a keywords facet, product after product, ascending within one."""
        return self._array(name, "codes", lambda column: column.values.indices.to_numpy())

    def numbers(self, name: str) -> NDArray[np.float64]:
        """[products] values of a number, boolean (0 or 1) or time (POSIX seconds) facet; NaN where there is none."""
        return self._array(name, "numbers", _numbers)

    def value(self, name: str, ordinal: int) -> FacetValue | None:
        """One product's value, as `engine.catalogue.schema` types it; None where it has none."""
        value = self._columns[name][ordinal].as_py()
        return tuple(value) if isinstance(value, list) else value

    def under(self, facets: Sequence[Facet], products: int) -> "FacetTable":
        """The same products, of which there are so many, under another schema.

        A facet that is new, or had another type when this table was made, has no values here.
        """
        if tuple(facets) == self.facets:
            return self
        columns = {
            PREFIX + facet.name: self._columns[facet.name]
            if self.types.get(facet.name) is facet.type
            else _no_values(facet.type, products)
            for facet in facets
        }
        return FacetTable(pa.table(columns), facets)

    def _array(self, name: str, kind: str, make: Any) -> NDArray[Any]:
        # two threads may both make an array; they make the same one
        if (name, kind) not in self._arrays:
            self._arrays[name, kind] = make(self._columns[name])
        return self._arrays[name, kind]


def plain_type(type_: FacetType) -> pa.DataType:
    """How a facet's values are kept before they are coded."""
    match type_:
        case FacetType.KEYWORD:
            return pa.string()
        case FacetType.KEYWORDS:
            return pa.list_(pa.string())
        case FacetType.NUMBER:
            return pa.float64()
        case FacetType.BOOLEAN:
            return pa.bool_()
        case FacetType.TIME:
            return pa.timestamp("us", tz="UTC")


def facet_column(type_: FacetType, values: pa.Array | Sequence[FacetValue | None]) -> pa.Array:
    """The Arrow column of one facet; `values` has one entry a product, null or None where it has no value."""
    if not isinstance(values, pa.Array):
        values = pa.array(values, plain_type(type_))
    match type_:
        case FacetType.KEYWORD:
            return _coded(values)
        case FacetType.KEYWORDS:
            return _coded_lists(values)
        case _:
            return values


def _no_values(type_: FacetType, products: int) -> pa.Array:
    """A facet's column in which no product has a value, made without going through them one by one."""
    words = pa.DictionaryArray.from_arrays(pa.array([], pa.int32()), pa.array([], pa.string()))
    match type_:
        case FacetType.KEYWORD:
            return pa.DictionaryArray.from_arrays(pa.nulls(products, pa.int32()), words.dictionary)
        case FacetType.KEYWORDS:
            offsets = pa.array(np.zeros(products + 1, np.int32))
            return pa.ListArray.from_arrays(offsets, words, mask=pa.array(np.ones(products, np.bool_)))
        case _:
            return pa.nulls(products, facet_column(type_, []).type)


def _coded(values: pa.Array) -> pa.DictionaryArray:
    words = pc.unique(values).drop_null()
    words = words.take(pc.sort_indices(words))  # bytes of UTF-8 sort as code points do
    return pa.DictionaryArray.from_arrays(pc.index_in(values, value_set=words), words)


def _coded_lists(values: pa.Array) -> pa.ListArray:
    lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy()
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    flat = pc.list_flatten(values)
    # within a product, values rise
    owners = np.repeat(np.arange(len(values)), lengths)
    codes = _coded(flat)
    rising = np.lexsort((codes.indices.to_numpy(), owners))
    codes = pa.DictionaryArray.from_arrays(codes.indices.take(pa.array(rising)), codes.dictionary)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), codes, mask=pa.array(lengths == 0))


def _numbers(column: pa.Array) -> NDArray[np.float64]:
    if pa.types.is_timestamp(column.type):
        # whole microseconds are exact in float64 until the year 2255, so the quotient is `datetime.timestamp()`
        return _numbers(column.cast(pa.int64())) / 1e6
    numbers: NDArray[np.float64] = column.cast(pa.float64()).fill_null(np.nan).to_numpy()
    return numbers


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
