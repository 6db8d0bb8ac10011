"""How far to search: nprobe, depth and filter budget, chosen and measured against exact search on the index itself.

Queries are photos of the catalogue, each left out of its own gallery; where the catalogue is big enough, of products
that the quantizer's sample never saw. Settings are chosen on one half of the queries and their recall is measured on
the other, so that the manifest does not report a lucky choice.

Recall is in products: of the ten products whose best photos are nearest to the query, the share that was found. A
product that ties with the tenth counts as found.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.search.plan import RERANK_COST, TARGET
from engine.storage.ivf import Ints
from engine.storage.manifest import FilterCalibration, Recall
from indexer.calibrate import SHARES, Goal, calibrate, try_filters
from indexer.gallery import Gallery, Questions, Sample

AT = 10
ASKED = 500  # queries, half of them to choose on
HOLD_OUT_FROM = 5000  # products; smaller catalogues need all of them to train on
DEPTHS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 2048)  # photos re-ranked per query
FILTER_BUDGET = 8000  # photos that pass a filter and are simply all compared, which is less work than planning
ASKED_FILTERED = 64  # queries with filters, in each half


@dataclass(frozen=True, slots=True)
class Tuning:
    """The settings of the manifest, named as there."""

    nprobe: int
    depth: int
    filter_budget: int
    recall: Recall
    filtered_recall: Recall
    filter_calibration: FilterCalibration | None


def draw_held_out(products: int, rng: np.random.Generator) -> Ints:
    """Ordinals of products to keep out of the quantizer's sample and to ask with; none in a small catalogue."""
    if products < HOLD_OUT_FROM:
        return np.empty(0, np.int64)
    return np.sort(rng.choice(products, ASKED, replace=False))


def tune(gallery: Gallery, held_out: Ints, rng: np.random.Generator, target: float = TARGET) -> Tuning:
    """Chooses the cheapest settings that reach the `target` recall, and measures them."""
    questions = Questions.ask(gallery, _draw_rows(gallery, held_out, rng), AT)
    if len(questions) < 2:
        return _everything(gallery)
    half = len(questions) // 2
    choosing, measuring = questions.part(0, half), questions.part(half, len(questions))
    nprobe, depth = _choose(gallery, choosing, target)
    whose = "products outside the codec's sample" if len(held_out) else "the catalogue"
    how = f"best {AT} products, exact search as truth; photos of {whose}, each left out of its own gallery"
    measured = _recall(_recalls(gallery, measuring, nprobe, [depth])[:, 0], f"{how}; settings chosen on others")
    if gallery.rows <= FILTER_BUDGET:
        return Tuning(nprobe, depth, FILTER_BUDGET, measured, _certain("every photo that passes is compared"), None)
    goal = Goal(AT, allowed=(1 - target) / 2)  # the other half is for what codes hide
    sample = Sample.draw(gallery, rng)
    calibration = calibrate(sample, choosing.part(0, ASKED_FILTERED), goal, rng)
    trials = list(try_filters(sample, measuring.part(0, ASKED_FILTERED), calibration, goal, rng))
    widths = ", ".join(f"{share:.0%}" for share in SHARES)
    whole = "the products" if len(sample) == gallery.rows else f"{sample.products:,} products drawn at random"
    filters = f"filters pass {widths} of {whole}: any, those nearest to some photo, those farthest from the query"
    filtered = _recall(np.array([trial.recall for trial in trials]), f"{how}; {filters}; codes apart")
    return Tuning(nprobe, depth, FILTER_BUDGET, measured, filtered, calibration)


def reaches_target(recalls: NDArray[np.float64], target: float = TARGET) -> bool:
    """Whether the recalls of the single queries [q] reach the `target` by more than a standard error."""
    return bool(recalls.mean() - recalls.std() / math.sqrt(len(recalls)) >= target)


def interval_95(share: float, count: int) -> tuple[float, float]:
    """Wilson's interval for a share of `count` observations: right at 0 and 1 too (doi:10.1080/01621459.1927.10502953).

    A query counts as one observation, not as ten, which makes the interval rather too wide than too narrow.
    """
    z = 1.959964
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    spread = z / (1 + z**2 / count) * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return max(0.0, round(middle - spread, 6)), min(1.0, round(middle + spread, 6))


def _draw_rows(gallery: Gallery, held_out: Ints, rng: np.random.Generator) -> Ints:
    """One photo of each product held out, or any photos where none are."""
    order = rng.permutation(gallery.rows)
    if len(held_out):
        order = order[np.isin(gallery.ordinals[order], held_out)]
        order = order[np.unique(gallery.ordinals[order], return_index=True)[1]]
        return rng.permutation(order)
    return order[:ASKED]


def _choose(gallery: Gallery, questions: Questions, target: float) -> tuple[int, int]:
    """The nprobe and depth that reach the target at the least cost; all lists and the greatest depth if none do."""
    depths = [depth for depth in DEPTHS if depth < gallery.rows] + [min(DEPTHS[-1], gallery.rows)]
    rows_per_list = gallery.rows / gallery.quantizer.lists
    best, least = (gallery.quantizer.lists, depths[-1]), math.inf
    for nprobe in _steps(gallery.quantizer.lists):
        if nprobe * rows_per_list >= least:
            break
        recalls = _recalls(gallery, questions, nprobe, depths)
        depth = next(
            (depth for depth, column in zip(depths, recalls.T, strict=True) if reaches_target(column, target)), None
        )
        if depth is not None and (cost := nprobe * rows_per_list + depth * RERANK_COST) < least:
            best, least = (nprobe, depth), cost
    return best


def _steps(lists: int) -> Iterator[int]:
    """1, 2, 3, 4, 6, 8, 12, 16 … and the number of lists."""
    power = 1
    while power < lists:
        yield power
        if power > 1 and power * 3 // 2 < lists:
            yield power * 3 // 2
        power *= 2
    yield lists


def _recalls(gallery: Gallery, questions: Questions, nprobe: int, depths: list[int]) -> NDArray[np.float64]:
    """[q, depths] the recall of each query when that many photos are re-ranked."""
    found = gallery.scan(questions.vectors, nprobe, max(depths) + 1)
    recalls = np.empty((len(questions), len(depths)))
    for number, truth in enumerate(questions.truths):
        rows = found[number]
        rows = rows[(rows >= 0) & (rows != questions.rows[number])]
        cosines = gallery.vectors(rows) @ questions.vectors[number]
        ordinals = gallery.ordinals[rows]
        recalls[number] = [truth.recall(cosines[:depth], ordinals[:depth]) for depth in depths]
    return recalls


def _recall(recalls: NDArray[np.float64], how: str) -> Recall:
    value = float(recalls.mean())
    return Recall(at=AT, value=value, queries=len(recalls), how=how, interval_95=interval_95(value, len(recalls)))


def _certain(why: str) -> Recall:
    return Recall(at=AT, value=1.0, queries=0, how=f"not measured: {why}", interval_95=(1.0, 1.0))


def _everything(gallery: Gallery) -> Tuning:
    """Too few photos to ask with: all of them are compared, which finds whatever there is."""
    recall = _certain("every photo is compared exactly")
    return Tuning(gallery.quantizer.lists, gallery.rows, gallery.rows, recall, recall, None)
