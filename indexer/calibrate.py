"""What a filtered search may expect of photos before it looks at them: measured on the index itself, while building.

Two things are measured on queries whose exact cosines with every photo are known: how far photos' cosines exceed the
similarity of the query to their list's centroid, and how far the best photos' cosines exceed the scores of their codes.
`engine.search.misses` foretells from them what a search would miss. Then filters of several widths are tried, among
them the worst there is (it excludes what is nearest to the query), and where more is lost than was foretold, the
calibration becomes more cautious.

All of that is done on a `Sample`, which is nothing else than a filter that knows neither query nor vectors.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from engine.search.group import best_products
from engine.search.misses import Misses
from engine.storage.ivf import Floats, Ints
from engine.storage.manifest import FilterCalibration
from indexer.gallery import Questions, Sample, Truth

Kind = Literal["independent", "near", "far"]
"""How a filter that is tried has to do with the query: not at all; it passes what is nearest to some photo; it excludes
what is nearest to the query."""

SHARES = (0.5, 0.1, 0.01)  # of the products pass the filters that are tried
TAILS = (0.5, 0.2, *(step * 10.0**-power for power in range(1, 7) for step in (1.0, 0.3)))
BINS = 16  # of similarities of centroids
CELLS = 2048  # of excesses, between -2 and 2
EDGES = np.linspace(-2, 2, CELLS + 1)[1:]  # their upper ends
BEST = 200  # photos of a query whose codes' errors are measured
CAUTION = (0.5, 8.0)  # bounds: a few hundred trials justify neither less nor more
DOUBT = 2.0  # results that are taken for foretold and lost besides: few trials say little


@dataclass(frozen=True, slots=True)
class Trial:
    """A filter that was tried on one query: the share of the best that was found, and the share foretold missing."""

    kind: Kind
    share: float
    recall: float
    missed: float


@dataclass(frozen=True, slots=True)
class Goal:
    """What a search is for: of the best `at` products it may miss the share `allowed`."""

    at: int
    allowed: float


def calibrate(sample: Sample, questions: Questions, goal: Goal, rng: np.random.Generator) -> FilterCalibration:
    """Measures on questions (at least one), and tries filters on them."""
    first = _measure(sample, questions)
    trials = list(try_filters(sample, questions, first, goal, rng))
    return replace(first, caution=_caution(trials, goal.at))


def try_filters(
    sample: Sample, questions: Questions, calibration: FilterCalibration, goal: Goal, rng: np.random.Generator
) -> Iterator[Trial]:
    """Searches under a filter of every kind for each question, the widths in turn, comparing photos exactly."""
    misses = Misses(calibration)
    similarities = sample.gallery.quantizer.similarities(questions.vectors)
    anchors = sample.gallery.vectors(sample.rows[rng.integers(len(sample), size=len(questions))])
    both = zip(sample.cosines(questions.vectors), sample.cosines(anchors), strict=True)
    for number, (cosines, anchor) in enumerate(both):
        for turn, kind in enumerate(get_args(Kind)):
            share = SHARES[(number + turn) % len(SHARES)]
            passes = _first(_wish(sample, kind, cosines, anchor, rng), share)[sample.owners]
            passes &= sample.rows != questions.rows[number]
            survivors = np.flatnonzero(passes)
            if len(survivors):
                search = _Search(sample, cosines, similarities[number], survivors)
                yield Trial(kind, share, *search.run(misses, goal))


def _wish(sample: Sample, kind: Kind, cosines: Floats, anchor: Floats, rng: np.random.Generator) -> Floats:
    """[products] how much a filter likes each product, from all photos' cosines with the query and with some photo."""
    if kind == "independent":
        return rng.random(sample.products, np.float32)
    best = sample.best_by_product(anchor if kind == "near" else cosines)
    return best if kind == "near" else -best


def _first(wish: Floats, share: float) -> NDArray[np.bool_]:
    size = max(1, round(len(wish) * share))
    passes = np.zeros(len(wish), np.bool_)
    passes[np.argpartition(-wish, size - 1)[:size]] = True
    return passes


class _Search:
    """A filtered search that knows all cosines beforehand and so compares nothing."""

    def __init__(self, sample: Sample, cosines: Floats, similarities: Floats, survivors: Ints) -> None:
        order = np.argsort(-similarities, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        ranks = rank[sample.lists[survivors]]
        sizes = np.bincount(ranks, minlength=len(order))
        order, self._sizes = order[sizes > 0], sizes[sizes > 0]  # a list without survivors is no visit
        self._similarities = similarities[order]
        self._ends = np.cumsum(self._sizes)
        in_order = survivors[np.argsort(ranks, kind="stable")]
        self._cosines, self._ordinals = cosines[in_order], sample.owners[in_order]

    def run(self, misses: Misses, goal: Goal) -> tuple[float, float]:
        """The recall reached and the share foretold missing."""
        best = best_products(self._ordinals, np.arange(len(self._cosines)), self._cosines, goal.at).scores
        truth = Truth(min(goal.at, len(best)), float(best[: goal.at][-1]))

        def worst_shown(_start: int, lists: int, _until: int) -> float:
            seen = slice(0, int(self._ends[lists - 1]))
            rows = np.arange(seen.stop)
            shown = best_products(self._ordinals[seen], rows, self._cosines[seen], truth.wanted).scores
            return float(shown[truth.wanted - 1]) if len(shown) >= truth.wanted else -np.inf

        reach = misses.follow(self._similarities, self._sizes, worst_shown, k=truth.wanted, allowed=goal.allowed)
        seen = slice(0, int(self._ends[reach.lists - 1]))
        return truth.recall(self._cosines[seen], self._ordinals[seen]), reach.missed


def _caution(trials: Sequence[Trial], at: int) -> float:
    """How many times more was lost than foretold, in the kind and width of filter where that was worst."""
    worst = CAUTION[0]
    for kind in get_args(Kind):
        for share in SHARES:
            mine = [trial for trial in trials if (trial.kind, trial.share) == (kind, share)]
            lost = at * sum(1 - trial.recall for trial in mine)
            foretold = at * sum(trial.missed for trial in mine)
            worst = max(worst, (lost + DOUBT) / (foretold + DOUBT))
    return min(worst, CAUTION[1])


def _measure(sample: Sample, questions: Questions) -> FilterCalibration:
    """The similarities of centroids that stand for BINS bins, for each of them the excess at every tail, and that of
    codes."""
    similarities = sample.gallery.quantizer.similarities(questions.vectors)
    known = np.linspace(similarities.min(), similarities.max(), BINS)
    step = max(float(known[1] - known[0]), 1e-9)
    counts, of_codes = np.zeros(BINS * CELLS, np.int64), np.zeros(CELLS, np.int64)
    for number, cosines in enumerate(sample.cosines(questions.vectors)):
        nearness = similarities[number]
        bins = np.rint((nearness - known[0]) / step).astype(np.int64).clip(0, BINS - 1)
        cells = _cells(cosines - nearness[sample.lists]) + CELLS * bins[sample.lists]
        others = sample.rows != questions.rows[number]  # without the query itself
        counts += np.bincount(cells[others], minlength=len(counts))
        of_codes += _code_excess(sample, questions.vectors[number], np.where(others, cosines, -np.inf))
    table = [_at_tails(row) for row in counts.reshape(BINS, CELLS)]
    filled = np.flatnonzero([len(row) for row in table])
    nearest = filled[np.abs(np.arange(BINS)[:, None] - filled[None, :]).argmin(axis=1)]
    excess = tuple(table[place] for place in nearest)
    return FilterCalibration(TAILS, tuple(known.tolist()), excess, _at_tails(of_codes), caution=1.0)


def _code_excess(sample: Sample, query: Floats, cosines: Floats) -> Ints:
    """How many of the best photos' cosines exceed their codes' scores by how much, in CELLS."""
    best = np.argpartition(-cosines, min(BEST, len(cosines) - 1))[:BEST]
    best = best[np.isfinite(cosines[best])]
    scores, rows = sample.gallery.scores(query[None], sample.rows[best])
    return np.bincount(_cells(cosines[np.searchsorted(sample.rows, rows)] - scores), minlength=CELLS)


def _cells(excess: Floats) -> Ints:
    return ((excess + 2) * (CELLS / 4)).astype(np.int64).clip(0, CELLS - 1)


def _at_tails(counts: Ints) -> tuple[float, ...]:
    """What each share of TAILS exceeds, nothing where nothing was counted; tails too rare to have been seen are a cell
    further out each."""
    total = int(counts.sum())
    above = total - np.cumsum(counts)  # that many exceed each edge
    found: list[float] = []
    for tail in TAILS if total else ():
        seen = float(EDGES[int(np.argmax(above <= tail * total))])
        found.append(found[-1] + 4 / CELLS if found and tail * total < 1 else seen)
    return tuple(found)
