"""Finding the best products: which photos are worth an exact look, and looking at them.

Each way deepens until enough distinct products are found or every photo that may be shown has been compared, so that a
hard query costs time and never results.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.search.codes import Lists, best_codes
from engine.search.exact import best_photos
from engine.search.gallery import Gallery
from engine.search.group import PHOTOS_LIKELY, Ranking, best_products, decide
from engine.search.plan import COMPARISON_COST, MEASURED_AT, RERANK_COST, TARGET, Path, cost_in_place, scaled
from engine.search.rerank import best_of, cosines
from engine.search.selection import Selection
from engine.search.survivors import SurvivorScan
from engine.storage.gpu import ERROR, MOST, DeviceRows
from engine.telemetry import Stopwatch

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

DEEPER = 4  # times as many candidates, from twice as many lists, where a scan found too few products


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Products by their best photo, and what it took: the fields are those of `engine.search.plan.Plan`."""

    ranking: Ranking
    path: Path
    lists_visited: int
    rows_scanned: int
    rows_reranked: int
    expected_recall: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """One search for products near to any of `queries` (float32 [q, dim], norm 1).

    `need` distinct products are found, or all there are; the recall foretold and measured is that of the first `k`.
    """

    gallery: Gallery
    queries: Floats
    k: int
    need: int
    watch: Stopwatch

    def find(self, selection: Selection | None) -> Found:
        """The best products of those that are selected, or of all."""
        if selection is None:
            device = self.gallery.device
            return (device and self._on_device(device)) or self._nearest_lists()
        if selection.matching == 0:
            nothing = np.empty(0, np.int64)
            return Found(Ranking(nothing, nothing, np.empty(0, np.float32)), "nothing", 0, 0, 0, None)
        if len(selection.rows) <= scaled(self.gallery.generation.manifest.filter_budget, self.k):
            return self._every_survivor(selection)
        return self._nearest_survivors(selection)

    def _every_survivor(self, selection: Selection) -> Found:
        """Compares all that pass a filter: gathered where they are few, else in place."""
        rows, gallery = selection.rows, self.gallery
        if COMPARISON_COST * len(rows) <= cost_in_place(len(rows), gallery.rows):
            return self._everything(rows)
        depth, need = PHOTOS_LIKELY * self.need, min(self.need, selection.matching)
        best = None
        while best is None:
            with self.watch.stage("rerank"):
                best = best_photos(gallery, self.queries, selection, min(depth, len(rows)), need)
            depth *= DEEPER
        ranking = self._ranked(best, self._compared(best))
        return Found(ranking, "exact", gallery.lists, len(rows), len(rows), 1.0)

    def _everything(self, rows: Ints) -> Found:
        """Compares all of `rows` (rising)."""
        with self.watch.stage("rerank"):
            best, scores = best_of(self.gallery, rows, self.queries, self.need)
        return Found(self._ranked(best, scores), "exact", self.gallery.lists, len(rows), len(rows), 1.0)

    def _nearest_lists(self) -> Found:
        """Without a filter: the codes of the nearest lists, then the rows with the best of them."""
        gallery, manifest = self.gallery, self.gallery.generation.manifest
        need = min(self.need, gallery.products)
        nprobe, depth = min(manifest.nprobe, gallery.lists), min(scaled(manifest.depth, self.k), gallery.rows)
        while True:
            if COMPARISON_COST * gallery.rows <= RERANK_COST * depth:
                return self._everything(gallery.rows_left())
            with self.watch.stage("scan"):
                lists = Lists.nearest(gallery, self.queries, nprobe)
                _, found = best_codes(gallery, self.queries, lists, depth)
                rows = np.unique(found[found >= 0])
                left = rows if gallery.alive is None else rows[gallery.alive[rows]]
                visited = np.unique(lists.numbers)
                scanned = int(gallery.list_sizes(gallery.segments)[visited].sum())
            if 4 * len(left) < 3 * len(rows) and depth < scanned:
                depth = min(2 * depth, gallery.rows)  # deleted photos took many of the places
                continue
            ranking = self._ranked(left, self._compared(left))
            if len(ranking) >= need:
                recall = manifest.recall.value if self.k <= MEASURED_AT else None
                return Found(ranking, "lists", len(visited), scanned, len(left), recall)
            if nprobe == gallery.lists:
                return self._everything(gallery.rows_left())
            nprobe, depth = min(2 * nprobe, gallery.lists), min(DEEPER * depth, gallery.rows)

    def _on_device(self, device: DeviceRows) -> Found | None:
        """Compares all photos on a GPU; None where those that it can tell of do not decide the best products."""
        gallery, need = self.gallery, max(1, min(self.need, self.gallery.products))
        depth = PHOTOS_LIKELY * self.need
        while depth <= MOST:
            with self.watch.stage("scan"):
                photos = device.best_photos(self.queries, min(depth, gallery.rows), gallery.alive)
            if depth >= gallery.rows or all(
                decide(gallery.ordinals[rows], scores, need, ERROR) for scores, rows in photos
            ):
                rows = np.unique(np.concatenate([rows for _, rows in photos]))
                ranking = self._ranked(rows, self._compared(rows))
                return Found(ranking, "exact", gallery.lists, gallery.rows, len(rows), 1.0)
            depth *= DEEPER
        return None

    def _nearest_survivors(self, selection: Selection) -> Found:
        """With a filter that many photos pass: the lists that are expected to hold results."""
        misses, manifest = self.gallery.misses, self.gallery.generation.manifest
        if misses is None:
            return self._every_survivor(selection)
        k = min(max(self.k, 1), selection.matching)
        need = min(self.need, selection.matching)
        allowed = 1 - (manifest.recall_target or TARGET)
        while True:
            scan = SurvivorScan(self.gallery, self.queries, selection, k, need, allowed, misses, self.watch)
            ranking = scan.find()
            if ranking is None:
                return self._every_survivor(selection)
            if len(ranking) >= need:
                expected = max(0.0, 1 - scan.missed)
                counts = (scan.lists_visited, scan.rows_scanned, scan.rows_reranked)
                return Found(ranking, "filtered lists", *counts, expected)
            if k == need:
                return self._every_survivor(selection)
            k = need

    def _compared(self, rows: Ints) -> Floats:
        with self.watch.stage("rerank"):
            return cosines(self.gallery, rows, self.queries)

    def _ranked(self, rows: Ints, scores: Floats) -> Ranking:
        with self.watch.stage("group"):
            return best_products(self.gallery.ordinals[rows], rows, scores, self.need)
