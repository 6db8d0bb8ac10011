"""Finding the best products: which photos are worth an exact look, and looking at them.

Each way deepens until enough distinct products are found or every photo that may be shown has been compared, so that a
hard query costs time and never results.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.search.gallery import Gallery
from engine.search.group import Ranking, best_per_product
from engine.search.plan import Path, scaled
from engine.search.rerank import cosines
from engine.search.selection import Selection
from engine.telemetry import Stopwatch

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

DEEPER = 4  # times as many candidates, from twice as many lists, where a scan found too few products


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Products by their best photo, and what it took: the counts are those of `engine.search.plan.Plan`."""

    ranking: Ranking
    path: Path
    lists_visited: int
    rows_scanned: int
    rows_reranked: int


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """One search for products near to any of `queries` (float32 [q, dim], norm 1).

    `need` distinct products are found, or all there are; the first `k` decide how long a filter's survivors are
    followed.
    """

    gallery: Gallery
    queries: Floats
    k: int
    need: int
    watch: Stopwatch

    def find(self, selection: Selection | None) -> Found:
        """The best products of those that are selected, or of all."""
        if selection is None:
            return self._nearest_lists()
        if selection.matching == 0:
            nothing = np.empty(0, np.int64)
            return Found(Ranking(nothing, nothing, np.empty(0, np.float32)), "nothing", 0, 0, 0)
        if len(selection.rows) <= self._budget:
            return self._everything(selection.rows)
        return self._nearest_survivors(selection)

    def _everything(self, rows: Ints) -> Found:
        """Compares all of `rows` (rising)."""
        ranking = self._ranked(rows, self._compared(rows))
        return Found(ranking, "exact", self.gallery.lists, len(rows), len(rows))

    def _nearest_lists(self) -> Found:
        """Without a filter: the codes of the nearest lists, then the rows with the best of them."""
        gallery, manifest = self.gallery, self.gallery.generation.manifest
        need = min(self.need, gallery.products)
        nprobe, depth = min(manifest.nprobe, gallery.lists), scaled(manifest.depth, self.k)
        while True:
            with self.watch.stage("scan"):
                found, scanned, visited = _scan_codes(gallery, self.queries, nprobe, min(depth, gallery.rows))
                rows = found if gallery.alive is None else found[gallery.alive[found]]
            if 4 * len(rows) < 3 * len(found) and depth < scanned:
                depth *= 2  # deleted photos took many of the places: the measured depth was not reached
                continue
            ranking = self._ranked(rows, self._compared(rows))
            if len(ranking) >= need:
                return Found(ranking, "lists", visited, scanned, len(rows))
            if nprobe == gallery.lists:
                return self._everything(gallery.rows_left())
            nprobe, depth = min(2 * nprobe, gallery.lists), DEEPER * depth

    def _nearest_survivors(self, selection: Selection) -> Found:
        """With a filter: its survivors in the order of their lists' nearness, the budget first, then half as many at a
        time, while that still betters the first `k` or too few products are found.

        The budget was measured on filters that have nothing to do with the query. Where the survivors are far from it,
        their best ones lie in lists that say little about nearness, and the first look misses some.
        """
        with self.watch.stage("scan"):
            sizes = self.gallery.list_sizes(selection.offsets)
            lists = _by_nearness(self.gallery, self.queries)
            lists = lists[sizes[lists] > 0]  # a list without survivors is no visit
            seen = np.cumsum(sizes[lists])
        need = min(self.need, selection.matching)
        rows, scores = np.empty(0, np.int64), np.empty(0, np.float32)
        visited, target, worst_shown = 0, self._budget, -np.inf
        while True:
            with self.watch.stage("scan"):
                end = min(int(np.searchsorted(seen, target)) + 1, len(lists))
                new_rows = _rows_in(self.gallery, selection, lists[visited:end])
            new_scores = self._compared(new_rows)
            better = bool((new_scores > worst_shown).any())
            rows, scores = np.concatenate([rows, new_rows]), np.concatenate([scores, new_scores])
            ranking = self._ranked(rows, scores)
            if end == len(lists) or (len(ranking) >= need and not better):
                return Found(ranking, "filtered lists", end, len(rows), len(rows))
            worst_shown = float(ranking.scores[self.k - 1]) if len(ranking) >= self.k else -np.inf
            visited, target = end, int(seen[end - 1]) + max(self._budget // 2, 1)

    @property
    def _budget(self) -> int:
        return scaled(self.gallery.generation.manifest.filter_budget, self.k)

    def _compared(self, rows: Ints) -> Floats:
        with self.watch.stage("rerank"):
            return cosines(self.gallery, rows, self.queries)

    def _ranked(self, rows: Ints, scores: Floats) -> Ranking:
        with self.watch.stage("group"):
            return best_per_product(self.gallery.ordinals[rows], rows, scores)


def _scan_codes(gallery: Gallery, queries: Floats, nprobe: int, depth: int) -> tuple[Ints, int, int]:
    """The rows (rising) with the best codes in the `nprobe` nearest lists of each query, `depth` a query over all
    shards; with them how many rows were scanned and how many lists visited."""
    similarities, lists = gallery.generation.quantizer.nearest(queries, nprobe)
    scores, rows = [], []
    for shard, base in gallery.shards:
        shard_scores, shard_rows = shard.codes.scan(queries, lists, similarities, min(depth, shard.rows))
        scores.append(np.where(shard_rows < 0, -np.inf, shard_scores))
        rows.append(np.where(shard_rows < 0, -1, shard_rows + base))
    best = _best_columns(np.concatenate(scores, axis=1), np.concatenate(rows, axis=1), depth)
    visited = np.unique(lists[lists >= 0])
    scanned = int(gallery.list_sizes(gallery.segments)[visited].sum())
    return np.unique(best[best >= 0]), scanned, len(visited)


def _best_columns(scores: Floats, rows: Ints, depth: int) -> Ints:
    """Of each line of `rows` the `depth` with the best scores, in no order: shards share one quantizer, so their
    scores compare directly."""
    if rows.shape[1] <= depth:
        return rows
    best = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
    return np.take_along_axis(rows, best, axis=1)


def _by_nearness(gallery: Gallery, queries: Floats) -> Ints:
    """All lists, the one nearest to any of the queries first."""
    similarities, lists = gallery.generation.quantizer.nearest(queries, gallery.lists)
    if len(queries) == 1:
        only: Ints = lists[0]
        return only
    nearest = np.full((len(queries), gallery.lists), -np.inf, np.float32)
    np.put_along_axis(nearest, lists, similarities, axis=1)
    order: Ints = np.argsort(-nearest.max(axis=0), kind="stable")
    return order


def _rows_in(gallery: Gallery, selection: Selection, lists: Ints) -> Ints:
    """The selection's rows in these lists of all shards, rising."""
    first_segments = np.arange(len(gallery.shards)) * gallery.lists
    segments = np.sort((first_segments[:, None] + lists[None, :]).ravel())
    starts, ends = selection.offsets[segments], selection.offsets[segments + 1]
    lengths = ends - starts
    # every slice's places, one after the other: a running count, moved to where its slice begins
    places = np.arange(lengths.sum()) + np.repeat(starts - np.cumsum(lengths) + lengths, lengths)
    rows: Ints = selection.rows[places]
    return rows
