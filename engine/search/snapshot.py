"""What can be found at one moment: a generation, and what changed since. A query holds one from start to end.

**Rows** number photos: those of the generation's gallery, then the live ones of the delta. Whatever is asked here by
row or ordinal means this snapshot; only product ids and photo ids mean the same in every one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.schema import Facet, FacetValue, Product
from engine.errors import UnknownPhoto, UnknownProduct
from engine.search.base import Base
from engine.search.delta import Delta, LivePhotos
from engine.search.facet_counts import FacetSummary, Part, summarise, without
from engine.search.filters import Filter, bind
from engine.search.masks import Mask, mask
from engine.search.selection import Selection, Selections
from engine.search.similar import Attributes, agreement
from engine.sources.photos import read_photo
from engine.storage.products import Products

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ProductDetail:
    """A product of the index and its photos, by rising id."""

    product_id: str
    title: str | None
    facets: Mapping[str, FacetValue]
    photo_ids: tuple[int, ...]


class Snapshot:
    """A generation and its delta. Immutable, safe to share between threads."""

    def __init__(self, base: Base, delta: Delta | None = None) -> None:
        """Without a delta: the generation as it was built."""
        manifest = base.generation.manifest
        if delta is None:
            live, absent = LivePhotos.none(manifest.dim), base.absent
            delta = Delta(manifest.change_number, base.facets, base.products.count, live, emptied=absent, hidden=absent)
        self.base = base.under(delta.facets)
        self.delta = delta
        self.gallery = base.gallery.with_alive(delta.alive, base.products.count - len(delta.emptied))
        self._selections = Selections()

    # --- What is in it ---------------------------------------------------------------------------------------------

    @property
    def facets(self) -> tuple[Facet, ...]:
        """What products can be filtered by."""
        return self.delta.facets

    @property
    def products(self) -> int:
        """How many products can be found."""
        return self.delta.ordinals - len(self.delta.hidden)

    @property
    def photos(self) -> int:
        """How many photos can be found."""
        return self.gallery.rows - self.delta.deleted_rows + len(self.delta.live)

    @cached_property
    def content_hashes(self) -> frozenset[bytes]:
        """The sha256 of every photo's file, 32 bytes each."""
        hashes = [digest for shard, _ in self.gallery.shards for digest in shard.content_hashes()]
        left = (hashes[row] for row in self.gallery.rows_left().tolist())
        return frozenset([*left, *self.delta.live.content_hashes.tolist()])

    @cached_property
    def titles(self) -> NDArray[np.object_]:
        """The titles (or None) of all products, in the order of `matching`."""
        return np.array([self.title(ordinal) for ordinal in range(self.delta.ordinals)], object)

    def product(self, product_id: str) -> ProductDetail:
        """Raises UnknownProduct."""
        ordinal = self.ordinal(product_id)
        product = self.seen(ordinal)
        photo_ids = sorted(map(self.photo_id, self.rows_of_product(ordinal).tolist()))
        return ProductDetail(product_id, product.title, product.facets, tuple(photo_ids))

    def photo(self, photo_id: int) -> bytes:
        """The bytes of a photo's file. Raises UnknownPhoto, or MissingFile where the file is gone."""
        return read_photo(self._uri(photo_id))

    def matching(self, filter: Filter | None) -> Mask:
        """Which products pass: bool, in an order of the snapshot's own, in which some places may stand for products
        that cannot be found and never pass. Raises BadFilter."""
        if filter is None:
            everything = np.ones(self.delta.ordinals, np.bool_)
            everything[self.delta.hidden] = False
            return everything
        return self.selection(filter).mask

    def selection(self, filter: Filter) -> Selection:
        """The products and photos that pass. Raises BadFilter."""
        bound = bind(filter, self.facets)
        return self._selections.of(bound, self._select) if self._is_changed else self.base.selection(bound)

    def facet_counts(self, filter: Filter | None, limit: int) -> tuple[FacetSummary, ...]:
        """Every facet of the products under the filter, each without its own clauses; at most `limit` values each.

        Raises BadFilter.
        """
        return summarise(self.facets, lambda facet: self._parts(self.matching(without(filter, facet))), limit)

    # --- By ordinal and row ----------------------------------------------------------------------------------------

    def ordinal(self, product_id: str) -> int:
        """The number of a product. Raises UnknownProduct, also where no photo of it can be found."""
        ordinal = self.find(product_id)
        if ordinal is None or self.delta.is_hidden(ordinal):
            raise UnknownProduct(f"There is no product {product_id!r} in this index; check the id, or index it first.")
        return ordinal

    def find(self, product_id: str) -> int | None:
        """The number of a product, also of one that is gone; None for one that never was."""
        ordinal = self.base.products.ordinal(product_id)
        if ordinal is not None:
            return ordinal
        for layer in self.delta.layers:
            place = layer.products.ordinal(product_id)
            if place is not None:
                return int(layer.owners[place])
        return None

    def seen(self, ordinal: int) -> Product:
        """A product as it is found now."""
        products, place = self._table_of(ordinal)
        return Product(products.product_id(place), products.title(place), products.facets_of(place))

    def title(self, ordinal: int) -> str | None:
        """The title of a product, None where it has none."""
        products, place = self._table_of(ordinal)
        return products.title(place)

    def certain(self, ordinal: int) -> dict[str, Floats]:
        """The facets of a product as if the model's heads had predicted them: [classes] by head name."""
        ((_, attributes, _, places),) = self._tables_of(np.array([ordinal]))
        return attributes.certain(int(places[0]))

    def agreement(self, probabilities: Mapping[str, Floats], ordinals: Ints) -> Floats:
        """How well products [n] agree with what the heads predict ([classes] by head name): float32 [n] in [0, 1]."""
        parts = [
            (where, attributes.said(probabilities, places))
            for _, attributes, where, places in self._tables_of(ordinals)
        ]
        said = np.empty((max((len(part) for _, part in parts), default=0), len(ordinals)), np.float32)
        for where, part in parts:
            said[:, where] = part
        return agreement(said)

    def rows_of_product(self, ordinal: int) -> Ints:
        """The rows of a product's photos, rising."""
        live = self.gallery.rows + np.flatnonzero(self.delta.live.ordinals == ordinal)
        if ordinal >= self.base.products.count:
            return live
        return np.concatenate([self.gallery.rows_of_product(ordinal), live])

    def vectors(self, rows: Ints) -> NDArray[np.float16]:
        """float16 [n, dim] of the rows [n], which must rise."""
        built = int(np.searchsorted(rows, self.gallery.rows))
        live = self.delta.live.vectors[rows[built:] - self.gallery.rows]
        return np.concatenate([self.gallery.vectors(rows[:built]), live]) if built else live

    def photo_id(self, row: int) -> int:
        """The photo in a row."""
        place = row - self.gallery.rows
        return self.gallery.photo_id(row) if place < 0 else int(self.delta.live.photo_ids[place])

    def _uri(self, photo_id: int) -> str:
        live = np.flatnonzero(self.delta.live.photo_ids == photo_id)
        if len(live):
            return str(self.delta.live.uris[live[0]])
        row = self.gallery.row_of_photo(photo_id)
        if row is None:
            raise UnknownPhoto(f"There is no photo {photo_id} in this index; take the ids from an answer.")
        return self.delta.uris.get(photo_id) or self.gallery.uri(row)

    # --- The tables laid over one another --------------------------------------------------------------------------

    def _table_of(self, ordinal: int) -> tuple[Products, int]:
        """The table that has the last word about a product, and the product's place in it."""
        for layer in reversed(self.delta.layers):
            place = layer.place(ordinal)
            if place is not None:
                return layer.products, place
        return self.base.products, ordinal

    def _tables_of(self, ordinals: Ints) -> Iterator[tuple[Products, Attributes, Ints, Ints]]:
        """Products [n] by the table that has the last word about them: the table, what heads can say about it, which
        of the n they are, and their places in it."""
        rest = np.arange(len(ordinals))
        for layer in reversed(self.delta.layers):
            places = layer.places(ordinals[rest])
            here = places >= 0
            if here.any():
                yield layer.products, layer.attributes, rest[here], places[here]
                rest = rest[~here]
        if len(rest):
            yield self.base.products, self.base.attributes, rest, ordinals[rest]

    def _parts(self, passing: Mask) -> list[Part]:
        """The products that pass, each in the table that has the last word about it."""
        seen = np.zeros(self.delta.ordinals, np.bool_)
        parts: list[Part] = []
        for layer in reversed(self.delta.layers):
            parts.append((layer.products.facets, passing[layer.owners] & ~seen[layer.owners]))
            seen[layer.owners] = True
        count = self.base.products.count
        return [(self.base.products.facets, passing[:count] & ~seen[:count]), *parts]

    def _select(self, filter: Filter) -> Selection:
        """Compiles a bound filter: the generation's own selection, put right where something changed."""
        base, delta = self.base, self.delta
        found = base.selection(filter)
        passing = np.zeros(delta.ordinals, np.bool_)
        passing[: len(found.mask)] = found.mask
        for layer in delta.layers:
            passing[layer.owners] = mask(filter, layer.products)
        passing[delta.hidden] = False
        live = np.flatnonzero(passing[delta.live.ordinals])
        rows, offsets = found.rows, found.offsets
        if self._disturbs_the_generation:
            rows = self._rows_of(passing, found)
            offsets = np.searchsorted(rows, self.gallery.segments)
        return Selection(passing, int(passing.sum()), rows, offsets, live)

    def _rows_of(self, passing: Mask, found: Selection) -> Ints:
        """The generation's rows of the products that pass, made from those that passed when it was built."""
        keep = passing[self.gallery.ordinals[found.rows]]
        if self.gallery.alive is not None:
            keep &= self.gallery.alive[found.rows]
        gained = np.flatnonzero(passing[: len(found.mask)] & ~found.mask)
        if not len(gained):
            return found.rows[keep]
        return np.sort(np.concatenate([found.rows[keep], self.gallery.rows_of_products(gained)]))

    @property
    def _is_changed(self) -> bool:
        delta = self.delta
        return bool(delta.layers) or delta.alive is not None or len(delta.live) > 0 or len(delta.hidden) > 0

    @cached_property
    def _disturbs_the_generation(self) -> bool:
        """Whether the generation's own selections no longer hold: it lost photos, or its products changed."""
        count = self.base.products.count
        return self.gallery.alive is not None or any((layer.owners < count).any() for layer in self.delta.layers)
