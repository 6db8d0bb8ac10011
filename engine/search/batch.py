"""Many queries at once, each on its own: what a batch shares is computed together, and every core has a part of it:
nearest lists, codes and re-ranking."""

import numpy as np
from numpy.typing import NDArray

from engine.search.codes import nearest_codes
from engine.search.cores import in_parts, share
from engine.search.gallery import Gallery
from engine.search.group import Ranking, best_per_product
from engine.search.plan import scaled
from engine.search.rerank import cosines_each
from engine.search.scan import Scan
from engine.storage.gpu import MOST
from engine.telemetry import Stopwatch

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

PART = 128  # queries: enough for matrix products to be worth it, few enough for a core's cache


def nearest_photos(
    gallery: Gallery, queries: Floats, k: int, *, nprobe: int | None = None, depth: int | None = None
) -> tuple[Floats, Ints]:
    """The k photos nearest to each of `queries` (float32 [q, dim], norm 1): cosines [q, k], falling, and rows [q, k].

    Rows are -1 and cosines -inf where fewer were found. `nprobe` and `depth` are the index's own unless given.
    """
    manifest = gallery.generation.manifest
    lists = min(nprobe or manifest.nprobe, gallery.lists)
    looks = max(k, depth or scaled(manifest.depth, k))

    def find(start: int, end: int) -> tuple[Floats, Ints]:
        part = queries[start:end]
        depth = min(looks, gallery.rows)
        if gallery.device is not None and depth <= MOST:
            _, rows = gallery.device.search(part, depth)
        else:
            _, rows = nearest_codes(gallery, part, lists, depth)
        if gallery.alive is not None:
            rows[~gallery.alive[rows]] = -1
        return _first(cosines_each(gallery, rows, part), rows, k)

    if len(queries) == 1:
        return find(0, 1)
    parts = in_parts(len(queries), min(PART, share(len(queries))), find)
    return np.concatenate([scores for scores, _ in parts]), np.concatenate([rows for _, rows in parts])


def nearest_products(gallery: Gallery, queries: Floats, k: int) -> list[Ranking]:
    """The k products nearest to each of `queries` (float32 [q, dim], norm 1), without a filter; fewer only where there
    are fewer."""
    depth = scaled(gallery.generation.manifest.depth, k)
    scores, rows = nearest_photos(gallery, queries, depth, depth=depth)
    rankings = []
    for number in range(len(queries)):
        found = rows[number] >= 0
        mine = rows[number][found]
        ranking = best_per_product(gallery.ordinals[mine], mine, scores[number][found])
        deleted = gallery.alive is not None and 4 * len(mine) < 3 * depth  # photos took many of the places
        if deleted or len(ranking) < min(k, gallery.products):
            ranking = Scan(gallery, queries[number : number + 1], k, k, Stopwatch()).find(None).ranking
        rankings.append(ranking.take(np.arange(min(k, len(ranking)))))
    return rankings


def _first(scores: Floats, rows: Ints, k: int) -> tuple[Floats, Ints]:
    """The k best of each line, best first; lines are filled up with -1 where they are shorter."""
    count, found = rows.shape
    if count == 1 and found >= k:
        order = scores[0].argsort()[: -k - 1 : -1]
        return scores[:, order], rows[:, order]
    lines = np.arange(count)[:, None]
    if found > k:
        best = np.argpartition(scores, found - k, axis=1)[:, found - k :]
        scores, rows = scores[lines, best], rows[lines, best]
    order = (-scores).argsort(axis=1, kind="stable")
    scores, rows = scores[lines, order], rows[lines, order]
    if found < k:
        missing = ((0, 0), (0, k - found))
        scores, rows = np.pad(scores, missing, constant_values=-np.inf), np.pad(rows, missing, constant_values=-1)
    return scores, rows
