"""The best of all photos that pass a filter, compared one and all."""

import numpy as np
from numpy.typing import NDArray

from engine.search.codes import best_columns
from engine.search.cores import in_parts
from engine.search.gallery import Gallery
from engine.search.selection import Selection

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


def best_photos(gallery: Gallery, queries: Floats, selection: Selection, depth: int) -> Ints:
    """The selected rows, rising, that are among the `depth` nearest to one of `queries` (float32 [q, dim], norm 1); and
    some more."""
    bits = selection.bits(gallery)
    chunks = [(number, start) for number, (shard, _) in enumerate(gallery.shards) for start in shard.flat.starts]

    def look(first: int, last: int) -> list[tuple[Floats, Ints]]:
        found = []
        for number, start in chunks[first:last]:
            shard, base = gallery.shards[number]
            scores, rows = shard.flat.search(queries, start, depth, bits[number])
            found.append((scores, np.where(rows >= 0, rows + base, -1)))
        return found

    parts = [part for found in in_parts(len(chunks), 1, look) for part in found]
    scores, rows = (np.concatenate(columns, axis=1) for columns in zip(*parts, strict=True))
    _, best = best_columns(scores, rows, depth)
    return np.unique(best[best >= 0])
