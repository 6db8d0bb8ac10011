"""The photos with the best codes, over all shards: what is worth an exact look."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from engine.search.gallery import Gallery

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bits = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Lists:
    """Inverted lists to visit for each of q queries: `numbers` [q, n] and the `similarities` [q, n] of the queries to
    their centroids."""

    numbers: Ints
    similarities: Floats

    @classmethod
    def nearest(cls, gallery: Gallery, queries: Floats, n: int) -> Self:
        """The n nearest lists of each query. All shards have the same ones, so they are found once."""
        similarities, numbers = gallery.generation.quantizer.nearest(queries, n)
        return cls(numbers, similarities)


def nearest_codes(gallery: Gallery, queries: Floats, nprobe: int, depth: int) -> tuple[Floats, Ints]:
    """`best_codes` of the `nprobe` nearest lists."""
    if len(queries) == 1 and len(gallery.shards) == 1:
        scores, rows = gallery.shards[0][0].codes.search(queries, nprobe, depth)
        scores[rows < 0] = -np.inf
        return scores, rows
    return best_codes(gallery, queries, Lists.nearest(gallery, queries, nprobe), depth)


def best_codes(
    gallery: Gallery, queries: Floats, lists: Lists, depth: int, allowed: tuple[Bits, ...] | None = None
) -> tuple[Floats, Ints]:
    """The `depth` photos with the best codes in the lists of each query: scores [q, m] and rows [q, m], in no order;
    m <= depth, and rows are -1 and scores -inf where there are fewer.

    `allowed` leaves only some rows of each shard, as `Selection.bits` gives them.
    """
    scores, rows = [], []
    for number, (shard, base) in enumerate(gallery.shards):
        bits = None if allowed is None else allowed[number]
        found, places = shard.codes.scan(queries, lists.numbers, lists.similarities, min(depth, shard.rows), bits)
        padded = bool((places[:, -1] < 0).any()) if places.shape[1] else False
        missing = places < 0 if padded else None
        if base:
            places += base
        if missing is not None:
            found[missing], places[missing] = -np.inf, -1
        scores.append(found)
        rows.append(places)
    if len(rows) == 1:
        return scores[0], rows[0]
    # shards share one quantizer, so their scores compare directly
    return best_columns(np.concatenate(scores, axis=1), np.concatenate(rows, axis=1), depth)


def best_columns(scores: Floats, rows: Ints, depth: int) -> tuple[Floats, Ints]:
    """Of each line the `depth` with the best scores, in no order."""
    if rows.shape[1] <= depth:
        return scores, rows
    best = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
    return np.take_along_axis(scores, best, axis=1), np.take_along_axis(rows, best, axis=1)
