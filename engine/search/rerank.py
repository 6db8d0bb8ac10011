"""Exact scores: the cosine of queries with photos' float16 rows, one gather and matrix products."""

import numpy as np
from numpy.typing import NDArray

from engine.search.gallery import Gallery
from engine.search.group import PHOTOS_LIKELY, decide
from engine.storage.flat import best_rows
from engine.storage.halves import SHIFT, shifted

Floats = NDArray[np.float32]
Halves = NDArray[np.float16]
Ints = NDArray[np.int64]

BLOCK = 1024  # rows in float32 at once: 1 MiB at 256 dimensions, which stays near a core
HALVES_BLOCK = 8192  # rows in float16 at once, for a kernel that widens them itself
FEW = 400  # rows up to which asking that kernel costs more than it saves


def cosines(gallery: Gallery, rows: Ints, queries: Floats) -> Floats:
    """The best cosine of any of the queries (float32 [q, dim], norm 1) with each of `rows` (rising) -> float32 [n].

    In [-1, 1]: rounding to float16 leaves stored norms a little off 1, which is cut off.
    """
    scores = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), BLOCK):
        scores[start : start + BLOCK] = _cosines(gallery.vectors(rows[start : start + BLOCK]), queries)
    return scores


def best_of(gallery: Gallery, rows: Ints, queries: Floats, need: int) -> tuple[Ints, Floats]:
    """Of `rows` (rising) those that decide the `need` best products, and perhaps others: [m], and their `cosines`."""
    depth = PHOTOS_LIKELY * need
    if len(queries) > 1 or len(rows) <= max(FEW, 2 * depth):
        return rows, cosines(gallery, rows, queries)
    kept, scores = [], []
    for start in range(0, len(rows), HALVES_BLOCK):
        block = rows[start : start + HALVES_BLOCK]
        vectors = gallery.vectors(block)
        if depth < len(block):
            (near,), (places,) = best_rows(vectors, queries, depth)
            if decide(gallery.ordinals[block[places]], near, need):
                places = np.sort(places)
                block, vectors = block[places], vectors[places]
        kept.append(block)
        scores += [_cosines(vectors[at : at + BLOCK], queries) for at in range(0, len(block), BLOCK)]
    return np.concatenate(kept), np.concatenate(scores)


def _cosines(vectors: Halves, queries: Floats) -> Floats:
    """The best cosine of any of the queries with each of float16 vectors [n, dim], no more than `BLOCK` of them."""
    wide, queries = shifted(vectors), queries * SHIFT  # which the rows lack
    # For one query a dot product a row: BLAS would share the product of matrix and vector between its threads, and on a
    # busy machine waiting for the last of them costs ten times the work.
    scores: Floats = np.vecdot(wide, queries[0]) if len(queries) == 1 else (wide @ queries.T).max(axis=1)
    return np.clip(scores, -1, 1, out=scores)


def cosines_each(gallery: Gallery, rows: Ints, queries: Floats) -> Floats:
    """The cosine of every query (float32 [q, dim], norm 1) with rows of its own, [q, n] in any order -> float32 [q, n].

    -inf where a row is -1.
    """
    count, depth = rows.shape
    queries = queries * SHIFT  # which the rows lack
    if count == 1:
        scores: Floats = np.vecdot(shifted(_gather(gallery, rows[0])), queries[0])[None]
    else:
        scores = np.empty((count, depth), np.float32)
        step = max(1, BLOCK // max(depth, 1))
        for start in range(0, count, step):
            part = slice(start, start + step)
            vectors = shifted(_gather(gallery, rows[part].ravel())).reshape(-1, depth, queries.shape[1])
            np.matvec(vectors, queries[part], out=scores[part])
    np.maximum(scores, -1, out=scores)
    np.minimum(scores, 1, out=scores)
    if (missing := rows < 0).any():
        scores[missing] = -np.inf
    return scores


def _gather(gallery: Gallery, rows: Ints) -> Halves:
    """float16 [n, dim] of rows in any order; -1 reads some row."""
    if len(gallery.shards) == 1:
        only: Halves = np.asarray(gallery.shards[0][0].vectors).take(rows, axis=0, mode="clip")
        return only
    found = np.empty((len(rows), gallery.generation.manifest.dim), np.float16)
    owners = np.searchsorted([base for _, base in gallery.shards], rows, side="right") - 1
    for number, (shard, base) in enumerate(gallery.shards):
        mine = np.flatnonzero(owners == number)
        if len(mine):
            found[mine] = shard.vectors[rows[mine] - base]
    found[owners < 0] = 0
    return found
