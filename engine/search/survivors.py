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
from engine.search.plan import COMPARISON_COST, codes_are_cheaper, cost_in_place, scaled
from engine.search.rerank import best_of
from engine.search.selection import Selection
from engine.telemetry import Stopwatch

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

FOLLOWED = 8  # times as many codes are followed as photos are compared without a filter
DOUBT = 2  # times the cost of comparing all in place that visits may be foretold to cost: they often find enough before
FORETOLD = (
    2  # times the visits that are foretold: where a filter leaves out what is near, what is left is no fair sample
)
DEEPER = 16  # times as many again where too many of them promise something


class _TooDear(Exception):
    """Going on would cost more than comparing every survivor in place."""


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
    _paid: int = field(init=False, default=0)

    def find(self) -> Ranking | None:
        """The products of the best photos; counts say afterwards what it took, and `missed` what share of the k best is
        expected to be missing. None where comparing every survivor is less work than going on."""
        with self.watch.stage("scan"):
            sizes = self.gallery.list_sizes(self.selection.offsets)
            similarities = self.gallery.generation.quantizer.similarities(self.queries)
            nearest = similarities.max(axis=0)
            lists = np.flatnonzero(sizes)  # a list without survivors is no visit
            self._lists = lists[np.argsort(-nearest[lists], kind="stable")]
            self._similarities = similarities[:, self._lists]
            if self._lie_far(nearest, sizes) and self._foretold_dear(nearest[self._lists], sizes[self._lists]):
                return None
        try:
            reach = self.misses.follow(
                nearest[self._lists], sizes[self._lists], self._visit, k=self.k, allowed=self.allowed / 2
            )
        except _TooDear:
            return None
        self.lists_visited = reach.lists
        self.missed += reach.missed
        return self._ranking()

    def _lie_far(self, nearest: Floats, sizes: Ints) -> bool:
        """Whether the lists that a search without a filter would visit hold fewer survivors than are wanted."""
        visited = min(self.gallery.generation.manifest.nprobe, len(nearest))
        return int(sizes[np.argpartition(-nearest, visited - 1)[:visited]].sum()) < self.k

    def _foretold_dear(self, nearest: Floats, sizes: Ints) -> bool:
        """Whether the visits to come would cost more than comparing every survivor in place, as far as can be told."""
        lists = self.misses.foretell(nearest, sizes, k=self.k, allowed=self.allowed / 2)
        return FORETOLD * self._cost(0, lists) > self._in_place()

    def _in_place(self) -> int:
        return cost_in_place(len(self.selection.rows), self.gallery.rows)

    def _visit(self, start: int, end: int, until: int) -> float:
        """Looks into the lists from one place to before another; the k-th best cosine so far. Raises _TooDear."""
        self._pay(start, end, until)
        segments = self._segments(self._lists[start:end])
        survivors = _count(self.selection.offsets, segments)
        inside = _count(self.gallery.segments, segments)
        if not self._by_codes(start, end, inside, survivors):
            with self.watch.stage("scan"):
                rows = _slices(self.selection.rows, self.selection.offsets, segments)
                rows = np.setdiff1d(rows, self._rows, assume_unique=True)  # codes may have led to some already
            self.rows_scanned += survivors
            self._compare(rows)
        return self._floor

    def _pay(self, start: int, end: int, until: int) -> None:
        """Raises _TooDear where the visits up to this one, or all that are expected, cost more than comparing every
        survivor in place."""
        in_place = self._in_place()
        self._paid += self._cost(start, end)
        if start and (self._paid > in_place or self._cost(start, until) > DOUBT * in_place):
            raise _TooDear

    def _cost(self, start: int, end: int) -> int:
        segments = self._segments(self._lists[start:end])
        return COMPARISON_COST * _count(self.selection.offsets, segments)

    def _by_codes(self, start: int, end: int, inside: int, survivors: int) -> bool:
        """Compares the survivors whose codes promise a place among the best; False where too many do to be less work
        than comparing all.

        A code's score is cheap and a comparison is not, so scores are followed far further down than comparisons: as
        far as a score may stand below the cosine of the worst product shown.
        """
        first = scaled(self.gallery.generation.manifest.depth, self.k)
        slack = self.misses.slack(self.allowed / 2)
        depth, scanned = FOLLOWED * first, 0
        while codes_are_cheaper(survivors, scanned + inside, depth):
            scanned += inside
            with self.watch.stage("scan"):
                scores, rows = self._best_codes(start, end, depth)
            self.rows_scanned += inside
            self._compare(np.setdiff1d(rows[:first], self._rows, assume_unique=True))  # lifts the floor for the rest
            promising = rows[: np.searchsorted(-scores, slack - self._floor, side="right")]
            self._compare(np.setdiff1d(promising, self._rows, assume_unique=True))
            if len(rows) < depth or scores[-1] < self._floor - slack:
                self.missed = max(self.missed, self.allowed / 2)
                return True
            depth *= DEEPER
        return False

    def _best_codes(self, start: int, end: int, depth: int) -> tuple[Floats, Ints]:
        """Scores [n], falling, and rows [n] of the survivors with the best codes for any of the queries; n < depth
        where there are no more."""
        lists = np.tile(self._lists[start:end], (len(self.queries), 1))
        visit = Lists(lists, self._similarities[:, start:end])
        scores, rows = best_codes(self.gallery, self.queries, visit, depth, self.selection.bits(self.gallery))
        flat = rows.ravel()
        order = np.argsort(-scores.ravel(), kind="stable")
        order = order[flat[order] >= 0]
        if len(self.queries) > 1:  # several queries may have found the same photo: its best score counts
            order = order[np.sort(np.unique(flat[order], return_index=True)[1])][:depth]
        return scores.ravel()[order], flat[order]

    def _compare(self, rows: Ints) -> None:
        """Adds photos to those found."""
        if not len(rows):
            return
        with self.watch.stage("rerank"):
            self.rows_reranked += len(rows)
            rows, scores = best_of(self.gallery, np.sort(rows), self.queries, self.need)
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


def _count(offsets: Ints, segments: Ints) -> int:
    """How many rows these segments have together."""
    return int((offsets[segments + 1] - offsets[segments]).sum())


def _slices(rows: Ints, offsets: Ints, segments: Ints) -> Ints:
    """The rows in these segments (rising), rising."""
    starts, ends = offsets[segments], offsets[segments + 1]
    lengths = ends - starts
    # every slice's places, one after the other: a running count, moved to where its slice begins
    places = np.arange(lengths.sum()) + np.repeat(starts - np.cumsum(lengths) + lengths, lengths)
    found: Ints = rows[places]
    return found
