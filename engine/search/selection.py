"""The photos that a filter lets through, found once per filter and kept while they are asked for."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from engine.search.filters import Filter
from engine.search.gallery import Gallery
from engine.search.masks import Mask, mask
from engine.storage.ivf import allow
from engine.storage.products import Products

CACHE_BYTES = 128 * 2**20


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The products and photos that pass a filter.

    `mask` bool [products]; `matching` counts them; `rows` int64 [n], rising: their photos in the generation; `offsets`
    int64 [segments + 1]: the photos in segment i of the gallery are `rows[offsets[i]:offsets[i + 1]]`; `live` int64,
    rising: the places of their photos among those of the delta.
    """

    mask: Mask
    matching: int
    rows: NDArray[np.int64]
    offsets: NDArray[np.int64]
    live: NDArray[np.int64]
    _bits: list[tuple[NDArray[np.uint8], ...]] = field(default_factory=list, init=False, repr=False)

    def bits(self, gallery: Gallery) -> tuple[NDArray[np.uint8], ...]:
        """The photos as the codes of each shard of the gallery take them; made when first asked for.

        Two threads may make them at once; that costs time, nothing else.
        """
        if not self._bits:
            passing = np.zeros(gallery.rows, np.bool_)
            passing[self.rows] = True
            self._bits.append(tuple(allow(passing[base : base + shard.rows]) for shard, base in gallery.shards))
        return self._bits[0]

    @property
    def nbytes(self) -> int:
        return self.mask.nbytes + self.rows.nbytes + self.offsets.nbytes + self.live.nbytes


def select(filter: Filter, products: Products, gallery: Gallery) -> Selection:
    """Compiles a filter, bound to the products' facets, for a gallery in which nothing was deleted."""
    assert gallery.alive is None
    passing = mask(filter, products)
    rows = np.flatnonzero(passing[gallery.ordinals])
    return Selection(passing, int(passing.sum()), rows, np.searchsorted(rows, gallery.segments), np.empty(0, np.int64))


class Selections:
    """The selections of the last filters asked for, by filter, up to `limit` bytes; safe to share between threads."""

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self._limit = limit
        self._bytes = 0
        self._kept: OrderedDict[Filter, Selection] = OrderedDict()
        self._lock = Lock()

    def of(self, filter: Filter, make: Callable[[Filter], Selection]) -> Selection:
        """The selection of a bound filter, compiled by `make` if it is not known; always by the same one.

        Two threads may compile the same filter; that costs time, nothing else.
        """
        with self._lock:
            if (known := self._kept.get(filter)) is not None:
                self._kept.move_to_end(filter)
                return known
        made = make(filter)
        with self._lock:
            if filter not in self._kept:
                self._kept[filter] = made
                self._bytes += made.nbytes
            while self._bytes > self._limit:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= oldest.nbytes
        return made
