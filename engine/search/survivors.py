"""The best photos among those that pass a filter, without looking at all of them.

Lists are visited in the order of their nearness, those without survivors skipped, for as long as `misses` foretells
results in the rest. In a visit either every survivor is compared exactly, or, where that is more work, the lists'
codes choose which.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine.search.codes import Lists, best_codes
from engine.search.gallery import Gallery
from engine.search.group import Ranking, best_products
from engine.search.misses import Misses
from engine.search.plan import codes_are_cheaper, scaled
from engine.search.rerank import cosines
from engine.search.selection import Selection
from engine.telemetry import Stopwatch

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

DEEPER = 4  # times as many photos are followed where codes hide too many results


@dataclass(slots=True, eq=False)
class SurvivorScan:
    """One search among the survivors of a filter: photos near to any of `queries` (float32 [q, dim], norm 1), `need`
    products (no fewer than `k`) or those there are. `allowed` is the share of the k best that may be missed."""

    gallery: Gallery
    queries: Floats
    selection: Selection
    k: int
    need: int
    allowed: float
    misses: Misses
    watch: Stopwatch
    rows_scanned: int = 0
    rows_reranked: int = 0
    lists_visited: int = 0
    missed: float = 0.0
    _lists: Ints = field(init=False)
    _similarities: Floats = field(init=False)
    _rows: Ints = field(init=False, default_factory=lambda: np.empty(0, np.int64))
    _scores: Floats = field(init=False, default_factory=lambda: np.empty(0, np.float32))
    _floor: float = field(init=False, default=-np.inf)

    def find(self) -> Ranking:
        """The products of the best photos; counts say afterwards what it took, and `missed` what share of the k best is
        expected to be missing."""
        with self.watch.stage("scan"):
            sizes = self.gallery.list_sizes(self.selection.offsets)
            similarities = self.gallery.generation.quantizer.similarities(self.queries)
            nearest = similarities.max(axis=0)
            lists = np.flatnonzero(sizes)  # a list without survivors is no visit
            self._lists = lists[np.argsort(-nearest[lists], kind="stable")]
            self._similarities = similarities[:, self._lists]
        reach = self.misses.follow(
            nearest[self._lists], sizes[self._lists], self._visit, k=self.k, allowed=self.allowed / 2
        )
        self.lists_visited = reach.lists
        self.missed += reach.missed
        return self._ranking()

    def _visit(self, start: int, end: int) -> float:
        lists = self._lists[start:end]
        segments = self._segments(lists)
        survivors = int((self.selection.offsets[segments + 1] - self.selection.offsets[segments]).sum())
        inside = int((self.gallery.segments[segments + 1] - self.gallery.segments[segments]).sum())
        depth = scaled(self.gallery.generation.manifest.depth, self.k)
        # codes are followed deeper until they hide next to nothing, or looking at everything is no more work
        while codes_are_cheaper(survivors, inside, depth * len(self.queries)):
            with self.watch.stage("scan"):
                rows, last = self._best_by_code(lists, start, end, depth)
            self._compare(rows)
            hidden = self.misses.caution * self.misses.by_codes(last, self._floor)
            self.rows_scanned += inside
            if hidden <= self.allowed / 2:
                self.missed = max(self.missed, hidden)
                return self._floor
            depth *= DEEPER
        with self.watch.stage("scan"):
            rows = _slices(self.selection.rows, self.selection.offsets, segments)
        self.rows_scanned += survivors
        self._compare(rows)
        return self._floor

    def _best_by_code(self, lists: Ints, start: int, end: int, depth: int) -> tuple[Ints, float]:
        """The survivors with the best codes, rising, and the worst score among them: -inf where they are all."""
        visit = Lists(np.tile(lists, (len(self.queries), 1)), self._similarities[:, start:end])
        scores, rows = best_codes(self.gallery, self.queries, visit, depth, self.selection.bits(self.gallery))
        last = float(scores.min(axis=1).max()) if rows.shape[1] == depth else -np.inf
        return np.unique(rows[rows >= 0]), last

    def _compare(self, rows: Ints) -> None:
        """Adds photos (rising) to those found."""
        with self.watch.stage("rerank"):
            rows = np.setdiff1d(rows, self._rows, assume_unique=True)  # a deeper look sees the same photos again
            scores = cosines(self.gallery, rows, self.queries)
        self.rows_reranked += len(rows)
        with self.watch.stage("group"):
            self._rows = np.concatenate([self._rows, rows])
            self._scores = np.concatenate([self._scores, scores])
            best = self._ranking().scores
            self._floor = float(best[self.k - 1]) if len(best) >= self.k else -np.inf

    def _ranking(self) -> Ranking:
        return best_products(self.gallery.ordinals[self._rows], self._rows, self._scores, self.need)

    def _segments(self, lists: Ints) -> Ints:
        firsts = np.arange(len(self.gallery.shards)) * self.gallery.lists
        return np.sort((firsts[:, None] + lists[None, :]).ravel())


def _slices(rows: Ints, offsets: Ints, segments: Ints) -> Ints:
    """The rows in these segments (rising), rising."""
    starts, ends = offsets[segments], offsets[segments + 1]
    lengths = ends - starts
    # every slice's places, one after the other: a running count, moved to where its slice begins
    places = np.arange(lengths.sum()) + np.repeat(starts - np.cumsum(lengths) + lengths, lengths)
    found: Ints = rows[places]
    return found
