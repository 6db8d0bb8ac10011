"""The products of a generation: ordinal -> product_id, title, facets (`products.arrow`).

Ordinals are positions in the sorted list of product ids, so a product is found by bisection. Facets are stored once a
product, not once a photo.
"""

from bisect import bisect_left
from collections.abc import Sequence
from copy import copy
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.catalogue.schema import Facet, FacetValue, Product
from engine.errors import DamagedFile
from engine.storage.facets import PREFIX, FacetTable, facet_column, plain_type
from engine.storage.files import replacing

NAME = "products.arrow"
SPOOLED_AT_ONCE = 8192  # products kept as objects before they are written


class Products:
    """The products that have photos in the index, in the order of their ids; memory-mapped."""

    def __init__(self, table: pa.Table, facets: Sequence[Facet]) -> None:
        self._ids = _array(table, "product_id")
        self._titles = _array(table, "title")
        self.count: int = table.num_rows
        self.facets = FacetTable(table, facets)

    @classmethod
    def of(cls, products: Sequence[Product], facets: Sequence[Facet]) -> "Products":
        """These products, by rising id, in memory."""
        return cls(_table_of(products, facets), facets)

    def under(self, facets: Sequence[Facet]) -> "Products":
        """The same products under another schema; a facet that is new or had another type has no values here."""
        if tuple(facets) == self.facets.facets:
            return self
        lens = copy(self)
        lens.facets = self.facets.under(facets, self.count)
        return lens

    @classmethod
    def open(cls, path: Path, facets: Sequence[Facet]) -> "Products":
        """Raises DamagedFile where the file is not what `write_products` writes for these facets."""
        try:
            return cls(read_table(path), facets)
        except (pa.ArrowInvalid, KeyError) as wrong:
            raise DamagedFile(f"{path} cannot be read ({wrong}); rebuild the index with `lookalike index`.") from None

    def product_id(self, ordinal: int) -> str:
        """The client's id of a product."""
        product_id: str = self._ids[ordinal].as_py()
        return product_id

    def ordinal(self, product_id: str) -> int | None:
        """The position of a product, None where the index has none of this id."""
        position = bisect_left(range(self.count), product_id, key=self.product_id)
        return position if position < self.count and self.product_id(position) == product_id else None

    def title(self, ordinal: int) -> str | None:
        """The title of a product, None where it has none."""
        title: str | None = self._titles[ordinal].as_py()
        return title

    def facets_of(self, ordinal: int) -> dict[str, FacetValue]:
        """The values of a product by facet name, without those it lacks."""
        values = {facet.name: self.facets.value(facet.name, ordinal) for facet in self.facets.facets}
        return {name: value for name, value in values.items() if value is not None}


class ProductSpool:
    """Products as they come, written to a file in batches; `write_products_of` makes `products.arrow` of it."""

    def __init__(self, path: Path, facets: Sequence[Facet]) -> None:
        self._facets = tuple(facets)
        fields = [("product_id", pa.string()), ("title", pa.string())]
        fields += [(PREFIX + facet.name, plain_type(facet.type)) for facet in facets]
        self._schema = pa.schema(fields)
        self._writer = pa.ipc.new_file(path, self._schema)
        self._waiting: list[Product] = []

    def append(self, product: Product) -> None:
        self._waiting.append(product)
        if len(self._waiting) >= SPOOLED_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        columns: list[list[Any]] = [
            [product.product_id for product in self._waiting],
            [product.title for product in self._waiting],
            *([product.facets.get(facet.name) for product in self._waiting] for facet in self._facets),
        ]
        arrays = [pa.array(values, field.type) for values, field in zip(columns, self._schema, strict=True)]
        self._writer.write_batch(pa.record_batch(arrays, schema=self._schema))
        self._waiting.clear()

    def __enter__(self) -> "ProductSpool":
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._writer.close()


def write_products_of(spool: Path, path: Path, facets: Sequence[Facet], shown: NDArray[np.bool_]) -> None:
    """Writes `products.arrow` of the spooled products that are `shown`, [products]."""
    table = read_table(spool)
    columns = {name: _one_array(table.column(name).filter(pa.array(shown))) for name in ("product_id", "title")}
    for facet in facets:
        values = table.column(PREFIX + facet.name).filter(pa.array(shown))
        columns[PREFIX + facet.name] = facet_column(facet.type, _one_array(values))
    write_table(path, pa.table(columns))


def write_products(path: Path, products: Sequence[Product], facets: Sequence[Facet]) -> None:
    """Writes `products.arrow`; `products` are sorted by product_id."""
    write_table(path, _table_of(products, facets))


def _table_of(products: Sequence[Product], facets: Sequence[Facet]) -> pa.Table:
    assert all(one.product_id < other.product_id for one, other in pairwise(products))
    columns: dict[str, pa.Array] = {
        "product_id": pa.array([product.product_id for product in products], pa.string()),
        "title": pa.array([product.title for product in products], pa.string()),
    }
    for facet in facets:
        values = [product.facets.get(facet.name) for product in products]
        columns[PREFIX + facet.name] = facet_column(facet.type, values)
    return pa.table(columns)


def write_table(path: Path, table: pa.Table) -> None:
    """Writes one uncompressed record batch as an Arrow file, so that a reader can map it without copying."""
    with replacing(path) as partial, pa.ipc.new_file(partial, table.schema) as writer:
        for batch in table.combine_chunks().to_batches():
            writer.write_batch(batch)


def read_table(path: Path) -> pa.Table:
    """Maps an Arrow file; its columns stay valid after the name is gone."""
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


def _array(table: pa.Table, name: str) -> pa.Array:
    return _one_array(table.column(name))


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
