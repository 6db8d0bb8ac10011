"""What changed since a generation was built, in memory.

Photos that are new are kept with their vectors and compared one by one; photos that were deleted are a bitmap over the
generation's rows; products that are new or changed are small tables laid over the generation's own. Everything here
is immutable: a later change makes a later delta, and a query keeps the one it began with.

**Ordinals** number products: 0..n-1 are the generation's, those after it are products first seen since. A product keeps
its ordinal as long as the generation answers, also when it is deleted and comes back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.schema import Facet
from engine.search.similar import Attributes
from engine.storage.halves import widen
from engine.storage.products import Products

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

BLOCK = 1024  # vectors in float32 at once


@dataclass(frozen=True, slots=True, eq=False)
class LivePhotos:
    """The photos that no generation has yet: `photo_ids` and `ordinals` of their products int64 [n], `vectors` float16
    [n, dim], `uris` and `content_hashes` (32 bytes each) as objects [n]."""

    photo_ids: Ints
    ordinals: Ints
    vectors: NDArray[np.float16]
    uris: NDArray[np.object_]
    content_hashes: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.photo_ids)

    @classmethod
    def none(cls, dim: int) -> "LivePhotos":
        """No photos, with vectors of so many numbers."""
        nothing, objects = np.empty(0, np.int64), np.empty(0, object)
        return cls(nothing, nothing, np.empty((0, dim), np.float16), objects, objects)

    def take(self, places: Ints) -> "LivePhotos":
        """The photos at these places, in this order."""
        return LivePhotos(
            self.photo_ids[places],
            self.ordinals[places],
            self.vectors[places],
            self.uris[places],
            self.content_hashes[places],
        )

    def and_then(self, others: "LivePhotos") -> "LivePhotos":
        """These photos, then the others."""
        return LivePhotos(
            np.concatenate([self.photo_ids, others.photo_ids]),
            np.concatenate([self.ordinals, others.ordinals]),
            np.concatenate([self.vectors, others.vectors]),
            np.concatenate([self.uris, others.uris]),
            np.concatenate([self.content_hashes, others.content_hashes]),
        )

    def cosines(self, queries: Floats, places: Ints | None) -> Floats:
        """The best cosine of any of the queries (float32 [q, dim], norm 1) with the photos at `places`, or with all of
        them: float32 [n] in [-1, 1]."""
        count = len(self) if places is None else len(places)
        scores = np.empty(count, np.float32)
        for start in range(0, count, BLOCK):
            block = slice(start, start + BLOCK)
            vectors = widen(self.vectors[block] if places is None else self.vectors[places[block]])
            best = np.vecdot(vectors, queries[0]) if len(queries) == 1 else (vectors @ queries.T).max(axis=1)
            scores[block] = best
        return np.clip(scores, -1, 1, out=scores)


class Layer:
    """Products that are new or changed, as a small table of their own; `owners` int64 [n] are their ordinals."""

    def __init__(self, products: Products, owners: Ints, attributes: Attributes) -> None:
        self.products = products
        self.owners = owners
        self.attributes = attributes
        self._by_owner = np.argsort(owners)
        self._owners_rising = owners[self._by_owner]

    def __len__(self) -> int:
        return len(self.owners)

    def place(self, ordinal: int) -> int | None:
        """Where a product is in the table, None where it is not."""
        near = int(np.searchsorted(self._owners_rising, ordinal))
        here = near < len(self) and int(self._owners_rising[near]) == ordinal
        return int(self._by_owner[near]) if here else None

    def places(self, ordinals: Ints) -> Ints:
        """Where these products are in the table: [n], -1 for those that are not."""
        near = np.searchsorted(self._owners_rising, ordinals).clip(max=len(self) - 1)
        return np.where(self._owners_rising[near] == ordinals, self._by_owner[near], -1)


@dataclass(frozen=True, slots=True, eq=False)
class Delta:
    """All that is other than in the generation, after the change `change_number`.

    `facets` are what products can be filtered by now; `ordinals` how many are in use; of the `layers`, a later one has
    the last word about a product; `alive` bool [rows] is False where a photo of the generation was deleted (None: none
    was); `emptied` are the ordinals of the generation's products that have none of their photos in it left, `hidden`
    those of all products that have no photo to be found by, both rising; `uris` are the new places of the generation's
    photos that moved; `unreadable` says, by product_id, why new photos of it could not be read.
    """

    change_number: int
    facets: tuple[Facet, ...]
    ordinals: int
    live: LivePhotos
    layers: tuple[Layer, ...] = ()
    alive: Mask | None = None
    emptied: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    hidden: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    uris: Mapping[int, str] = field(default_factory=dict)
    unreadable: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def deleted_rows(self) -> int:
        """How many photos of the generation were deleted."""
        return 0 if self.alive is None else len(self.alive) - int(np.count_nonzero(self.alive))

    def is_hidden(self, ordinal: int) -> bool:
        """Whether the product has no photo to be found by."""
        place = int(np.searchsorted(self.hidden, ordinal))
        return place < len(self.hidden) and int(self.hidden[place]) == ordinal
