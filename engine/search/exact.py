"""The best of all photos that pass a filter, compared one and all."""

import numpy as np
from numpy.typing import NDArray

from engine.search.codes import best_columns
from engine.search.cores import in_parts
from engine.search.gallery import Gallery
from engine.search.group import decide
from engine.search.selection import Selection

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


def best_photos(gallery: Gallery, queries: Floats, selection: Selection, depth: int, need: int) -> Ints | None:
    """The selected rows, rising, that are among the `depth` nearest to one of `queries` (float32 [q, dim], norm 1).

    None where they do not decide the `need` best products, since too many are photos of too few."""
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
    scores, rows = best_columns(scores, rows, depth)
    if depth < len(selection.rows):
        for near, mine in zip(scores, rows, strict=True):
            order = np.argsort(-near)
            if not decide(gallery.ordinals[mine[order]], near[order], need):
                return None
    return np.unique(rows[rows >= 0])
