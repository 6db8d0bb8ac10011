"""The photos of a generation under one numbering, whatever shard they lie in; some may be deleted since.

Row r of a shard is row `base + r` here, its base being the number of rows in the shards before it. Rows lie in the
order of their inverted list within a shard, so all rows are cut into `shards * lists` consecutive **segments**: segment
`s * lists + l` holds the rows of list l in shard s.
"""

from copy import copy
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from engine.search.misses import Misses
from engine.storage.generation import Generation
from engine.storage.gpu import DeviceRows
from engine.storage.shard import Shard

Ints = NDArray[np.int64]

FEW = 256  # products whose rows are looked up one by one; for more, all rows are passed over once


class Gallery:
    """What can be found of a generation: rows of photos, and the products that they show.

    `alive` bool [rows] is False where a photo was deleted since the generation was built; None: none was. `products`
    counts those with a photo that is left; `rows` counts all rows, deleted ones too. `device`: the same on a GPU.
    """

    def __init__(self, generation: Generation, device: DeviceRows | None = None) -> None:
        shards = generation.shards
        bases = np.cumsum([0, *(shard.rows for shard in shards)], dtype=np.int64)
        starts = [base + shard.list_offsets[:-1] for base, shard in zip(bases, shards, strict=False)]
        self.generation = generation
        self.device = device
        self.lists: int = generation.manifest.lists
        self.products: int = generation.products.count  # each of them has a photo
        calibration = generation.manifest.filter_calibration
        self.misses: Misses | None = None if calibration is None else Misses(calibration)
        self.alive: NDArray[np.bool_] | None = None
        self.rows = int(bases[-1])
        self.shards: tuple[tuple[Shard, int], ...] = tuple(zip(shards, bases[:-1].tolist(), strict=True))
        self.segments: Ints = np.concatenate([*starts, bases[-1:]])  # [segments + 1]
        self.ordinals: NDArray[np.int32] = np.concatenate([shard.ordinals for shard in shards])  # [rows]

    def with_alive(self, alive: NDArray[np.bool_] | None, products: int) -> "Gallery":
        """The same photos, less those where `alive` [rows] is False, which leaves so many products."""
        if alive is self.alive:
            return self
        view = copy(self)
        view.alive, view.products = alive, products
        return view

    def vectors(self, rows: Ints) -> NDArray[np.float16]:
        """float16 [n, dim] of the rows [n], which must rise: one sequential read of every shard's file."""
        bounds = np.searchsorted(rows, [*(base for _, base in self.shards), self.rows])
        parts = [
            np.asarray(shard.vectors).take(rows[start:end] - base, axis=0, mode="clip")  # "clip" spares a buffer
            for (shard, base), (start, end) in zip(self.shards, pairwise(bounds), strict=True)
            if end > start
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def rows_of_product(self, ordinal: int) -> Ints:
        """The rows of a product's photos, rising; without those that were deleted."""
        rows: Ints = np.concatenate([base + shard.rows_of_product(ordinal) for shard, base in self.shards])
        return rows if self.alive is None else rows[self.alive[rows]]

    def rows_of_products(self, ordinals: Ints) -> Ints:
        """The rows of the photos of distinct products, rising; without those that were deleted."""
        if len(ordinals) <= FEW:
            rows = [self.rows_of_product(ordinal) for ordinal in ordinals.tolist()]
            return np.sort(np.concatenate(rows)) if rows else np.empty(0, np.int64)
        wanted = np.zeros(self.generation.products.count, np.bool_)
        wanted[ordinals] = True
        mine = wanted[self.ordinals]
        return np.flatnonzero(mine if self.alive is None else mine & self.alive)

    def rows_left(self) -> Ints:
        """All rows that were not deleted, rising."""
        return np.arange(self.rows) if self.alive is None else np.flatnonzero(self.alive)

    def photo_id(self, row: int) -> int:
        """The photo in a row."""
        shard, base = self._shard_of(row)
        return int(shard.photo_ids[row - base])

    def row_of_photo(self, photo_id: int) -> int | None:
        """The row of a photo, None where no shard has it or it was deleted."""
        for shard, base in self.shards:
            row = shard.row_of_photo(photo_id)
            if row is not None:
                return base + row if self.alive is None or self.alive[base + row] else None
        return None

    def uri(self, row: int) -> str:
        """Where the bytes of the row's photo were when the generation was built."""
        shard, base = self._shard_of(row)
        return shard.uri(row - base)

    def list_sizes(self, offsets: Ints) -> Ints:
        """Bounds of all segments within some rows [segments + 1] -> how many of these rows every list has [lists]."""
        sizes: Ints = np.diff(offsets).reshape(-1, self.lists).sum(axis=0)
        return sizes

    def _shard_of(self, row: int) -> tuple[Shard, int]:
        return next((shard, base) for shard, base in reversed(self.shards) if row >= base)
