"""What a filtered search may expect of photos before it looks at them: measured on the index itself, while building.

Two things are measured on queries whose exact cosines with every photo are known: how far photos' cosines exceed the
similarity of the query to their list's centroid, and how far the best photos' cosines exceed the scores of their codes.
`engine.search.misses` foretells from them what a search would miss. Then filters of several widths are tried, among them
the worst there is (it excludes what is nearest to the query), and where they lose more than was foretold, the
calibration becomes more cautious.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from engine.search.group import best_per_product
from engine.search.misses import Misses
from engine.storage.ivf import Floats, Ints, allow
from engine.storage.manifest import FilterCalibration
from indexer.gallery import Gallery, Questions, Truth

Kind = Literal["independent", "near", "far"]
"""How a filter that is tried has to do with the query: not at all; it passes what is nearest to some photo; it excludes
what is nearest to the query."""

SHARES = (0.5, 0.1, 0.01)  # of the products pass the filters that are tried
TAILS = (0.5, 0.2, *(step * 10.0**-power for power in range(1, 7) for step in (1.0, 0.3)))
BINS = 16  # of similarities of centroids
CELLS = 2048  # of excesses, between -2 and 2
CODE_TAILS_OF = 200  # best photos of a query whose codes' errors are measured
CAUTION = (0.5, 8.0)  # bounds: a few hundred trials justify neither less nor more
WORTH = 20  # misses foretold or found, in sum, before their ratio says anything


@dataclass(frozen=True, slots=True)
class Trial:
    """A filter that was tried on one query: the share of the ten best that was found, and the share foretold missing."""

    kind: Kind
    share: float
    recall: float
    missed: float


def calibrate(gallery: Gallery, questions: Questions, at: int, allowed: float, rng: np.random.Generator) -> FilterCalibration:
    """Measures on questions (at least one), and tries filters on them. `allowed` is the share of the `at` best that a
    filtered search may miss."""
    first = FilterCalibration(TAILS, *_excess(gallery, questions), _code_excess(gallery, questions), 1.0)
    trials = list(try_filters(gallery, questions, first, at, allowed, rng))
    return replace(first, caution=_caution(trials, at))


def try_filters(
    gallery: Gallery,
    questions: Questions,
    calibration: FilterCalibration,
    at: int,
    allowed: float,
    rng: np.random.Generator,
) -> Iterator[Trial]:
    """Searches under a filter of every kind for each question, the widths in turn, comparing photos exactly."""
    misses = Misses(calibration)
    for block in _blocks(gallery, questions):
        cosines = gallery.cosines(block.vectors)
        similarities = gallery.quantizer.similarities(block.vectors)
        for number, row in enumerate(block.rows):
            for turn, kind in enumerate(get_args(Kind)):
                share = SHARES[(number + turn) % len(SHARES)]
                passes = _draw_filter(gallery, kind, share, cosines[number], rng)[gallery.ordinals]
                passes[row] = False
                survivors = np.flatnonzero(passes)
                if len(survivors):
                    result = _search(gallery, cosines[number], similarities[number], survivors, misses, at, allowed)
                    yield Trial(kind, share, *result)


def _draw_filter(gallery: Gallery, kind: Kind, share: float, cosines: Floats, rng: np.random.Generator) -> NDArray[np.bool_]:
    """[products] which pass."""
    match kind:
        case "independent":
            wish = rng.random(gallery.products, np.float32)
        case "near":
            anchor = gallery.vectors(rng.integers(gallery.rows, size=1))
            wish = gallery.best_by_product(gallery.cosines(anchor))[0]
        case "far":
            wish = -gallery.best_by_product(cosines[None])[0]
    size = max(1, round(gallery.products * share))
    passes = np.zeros(gallery.products, np.bool_)
    passes[np.argpartition(-wish, size - 1)[:size]] = True
    return passes


def _search(
    gallery: Gallery, cosines: Floats, similarities: Floats, survivors: Ints, misses: Misses, at: int, allowed: float
) -> tuple[float, float]:
    """Follows the survivors as a filtered search does; the recall reached and the share foretold missing."""
    order = np.argsort(-similarities, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    ranks = rank[gallery.lists[survivors]]
    survivors = survivors[np.argsort(ranks, kind="stable")]
    sizes = np.bincount(ranks, minlength=len(order))
    visited = order[sizes > 0]  # lists without survivors are no visit
    sizes = sizes[sizes > 0]
    ends = np.cumsum(sizes)
    scores, ordinals = cosines[survivors], gallery.ordinals[survivors]
    truth = Truth.of(gallery.best_by_product(_only(cosines, survivors)[None])[0], at)

    def kth_best(_start: int, end: int) -> float:
        return _kth_best(scores[: ends[end - 1]], ordinals[: ends[end - 1]], truth.wanted)

    reach = misses.follow(similarities[visited], sizes, kth_best, truth.wanted, allowed)
    found = slice(0, int(ends[reach.lists - 1]))
    return truth.recall(scores[found], ordinals[found]), reach.missed


def _kth_best(scores: Floats, ordinals: NDArray[np.int32], k: int) -> float:
    """The cosine of the k-th best product, -inf where there are fewer."""
    best = best_per_product(ordinals, np.arange(len(scores)), scores).scores
    return float(best[k - 1]) if len(best) >= k else -np.inf


def _only(cosines: Floats, rows: Ints) -> Floats:
    kept = np.full_like(cosines, -np.inf)
    kept[rows] = cosines[rows]
    return kept


def _caution(trials: Sequence[Trial], at: int) -> float:
    """How many times more was lost than foretold, in the kind and width of filter where that was worst."""
    worst = CAUTION[0]
    for kind in get_args(Kind):
        for share in SHARES:
            mine = [trial for trial in trials if (trial.kind, trial.share) == (kind, share)]
            lost = at * sum(1 - trial.recall for trial in mine)
            foretold = at * sum(trial.missed for trial in mine)
            # what was foretold counts in part even where nothing was lost: few trials say little
            worst = max(worst, (lost + WORTH / 10) / (foretold + WORTH / 10))
    return min(worst, CAUTION[1])


def _excess(gallery: Gallery, questions: Questions) -> tuple[tuple[float, ...], tuple[tuple[float, ...], ...]]:
    """The similarities of centroids that stand for BINS bins, and for each of them the excess at every tail."""
    similarities = gallery.quantizer.similarities(questions.vectors)
    known = np.linspace(similarities.min(), similarities.max(), BINS)
    step = max(float(known[1] - known[0]), 1e-9)
    counts = np.zeros(BINS * CELLS, np.int64)
    for start, block in zip(_starts(gallery, questions), _blocks(gallery, questions), strict=True):
        for number, cosines in enumerate(gallery.cosines(block.vectors)):
            nearness = similarities[start + number]
            bins = np.rint((nearness - known[0]) / step).astype(np.int64).clip(0, BINS - 1) * CELLS
            cells = ((cosines - nearness[gallery.lists] + 2) * (CELLS / 4)).astype(np.int64).clip(0, CELLS - 1)
            cells += bins[gallery.lists]
            cells = np.delete(cells, block.rows[number])  # the query itself
            counts += np.bincount(cells, minlength=BINS * CELLS)
    edges = np.linspace(-2, 2, CELLS + 1)[1:]
    table = [_at_tails(row, edges) for row in counts.reshape(BINS, CELLS)]
    filled = np.flatnonzero([row is not None for row in table])
    nearest = filled[np.abs(np.arange(BINS)[:, None] - filled[None, :]).argmin(axis=1)]
    return tuple(known.tolist()), tuple(table[place] or () for place in nearest)


def _code_excess(gallery: Gallery, questions: Questions) -> tuple[float, ...]:
    """How far the cosines of the best photos exceed their codes' scores, at every tail."""
    counts = np.zeros(CELLS, np.int64)
    for block in _blocks(gallery, questions):
        for number, cosines in enumerate(gallery.cosines(block.vectors)):
            best = np.argpartition(-cosines, min(CODE_TAILS_OF, gallery.rows - 1))[:CODE_TAILS_OF]
            best = best[best != block.rows[number]]
            scores, rows = gallery.scores(block.vectors[number : number + 1], best)
            excess = cosines[rows] - scores
            counts += np.bincount(((excess + 2) * (CELLS / 4)).astype(np.int64).clip(0, CELLS - 1), minlength=CELLS)
    return _at_tails(counts, np.linspace(-2, 2, CELLS + 1)[1:]) or (0.0,) * len(TAILS)


def _at_tails(counts: Ints, edges: NDArray[np.float64]) -> tuple[float, ...] | None:
    """What is exceeded by each share of TAILS, None where nothing was counted; rare tails that nothing was seen of are a
    cell further out each."""
    total = int(counts.sum())
    if total == 0:
        return None
    above = total - np.cumsum(counts)  # that many exceed each edge
    found: list[float] = []
    for tail in TAILS:
        edge = float(edges[int(np.argmax(above <= tail * total))])
        if found and tail * total < 1:
            edge = found[-1] + float(edges[1] - edges[0])
        found.append(edge)
    return tuple(found)


def _starts(gallery: Gallery, questions: Questions) -> range:
    return range(0, len(questions), gallery.at_once)


def _blocks(gallery: Gallery, questions: Questions) -> Iterator[Questions]:
    """The questions, as many at a time as memory allows to compare with everything."""
    for start in _starts(gallery, questions):
        yield questions.part(start, start + gallery.at_once)
