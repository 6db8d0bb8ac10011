"""Many vectors at once, each with its own nearest products: what a job asks that labels, compares or measures."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import BadQuery
from engine.search.batch import nearest_products
from engine.search.group import Ranking, best_products
from engine.search.modes import MAX_K
from engine.search.snapshot import Snapshot
from engine.storage.halves import widen

Floats = NDArray[np.float32]

AT_ONCE = 256  # queries compared with all live photos: what that takes does not grow with the batch


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A product by its best photo; `score` is the cosine on the float16 rows, in [-1, 1]."""

    product_id: str
    score: float
    photo_id: int


def nearest(snapshot: Snapshot, vectors: NDArray[np.floating], k: int) -> list[tuple[Neighbour, ...]]:
    """The k products nearest to each of `vectors` [n, dim], normalised here: the best first, without a filter.

    Raises BadQuery where the vectors have another length, no direction, or k is not 1 to 1000.
    """
    dim = snapshot.base.generation.manifest.dim
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise BadQuery(f"The vectors are an array {list(vectors.shape)}; give [n, {dim}], as long as the index's own.")
    if not 1 <= k <= MAX_K:
        raise BadQuery(f"k is {k}; ask for 1 to {MAX_K} products.")
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    if not (np.isfinite(norms).all() and norms.all()):
        raise BadQuery("One of the vectors is zero or not finite; leave it out.")
    queries = (vectors / norms).astype(np.float32)
    rankings = [_NOTHING] * len(queries)
    if snapshot.gallery.products:
        rankings = nearest_products(snapshot.gallery, queries, k)
    if len(snapshot.delta.live):
        rankings = _with_live(snapshot, queries, rankings, k)
    return [_neighbours(snapshot, ranking, k) for ranking in rankings]


_NOTHING = Ranking(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))


def _with_live(snapshot: Snapshot, queries: Floats, rankings: list[Ranking], k: int) -> list[Ranking]:
    """What was found in the generation together with the photos that are newer: those are all compared."""
    live = snapshot.delta.live
    vectors, rows = widen(live.vectors), snapshot.gallery.rows + np.arange(len(live))
    found: list[Ranking] = []
    for start in range(0, len(queries), AT_ONCE):
        cosines = np.clip(queries[start : start + AT_ONCE] @ vectors.T, -1, 1)
        found += [
            best_products(
                np.concatenate([ranking.ordinals, live.ordinals]),
                np.concatenate([ranking.rows, rows]),
                np.concatenate([ranking.scores, scores]),
                k,
            )
            for ranking, scores in zip(rankings[start:], cosines, strict=False)
        ]
    return found


def _neighbours(snapshot: Snapshot, ranking: Ranking, k: int) -> tuple[Neighbour, ...]:
    best = ranking.take(np.arange(min(k, len(ranking))))
    columns = (best.ordinals.tolist(), best.scores.tolist(), best.rows.tolist())
    return tuple(
        Neighbour(snapshot.seen(ordinal).product_id, score, snapshot.photo_id(row))
        for ordinal, score, row in zip(*columns, strict=True)
    )
