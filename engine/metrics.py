"""How good a ranking is, and how sure one may be of it: pure functions on ranked relevance.

A ranking is a sequence of truths, best place first: whether the product in that place is relevant. Each place holds
another product.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Z_95 = 1.959964  # two-sided 95 % quantile of the normal distribution
RESAMPLES = 2000


@dataclass(frozen=True, eq=False)
class Differences:
    """What one method has over another, by query: `values` [n], and `clusters` int64 [n], the number of the product
    that each query shows, from 0, the same number for the same product in every group of a `population`."""

    values: NDArray[np.float64]
    clusters: NDArray[np.int64]
    population: str = ""


def precision_at(ranking: Sequence[bool], k: int) -> float:
    """The share of the first k places that hold a relevant product; places that were not filled count as wrong."""
    return sum(ranking[:k]) / k


def found_at(ranking: Sequence[bool], k: int) -> bool:
    """Whether a relevant product is among the first k: averaged over queries, what image retrieval calls recall@k."""
    return any(ranking[:k])


def average_precision_at(ranking: Sequence[bool], relevant: int, k: int) -> float:
    """AP@k: the mean of precision@i over the places i <= k that hold a relevant product, a missing one counting 0.

    ``sum(precision@i * rel(i) for i in 1..k) / min(relevant, k)``, where `relevant` >= 1 products could be found: 1
    when the first places are all relevant, and 1 / place where there is one relevant product.
    """
    hits, total = 0, 0.0
    for place, right in enumerate(ranking[:k], start=1):
        if right:
            hits += 1
            total += hits / place
    return total / min(relevant, k)


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval for a share of `count` >= 1 observations (doi:10.1080/01621459.1927.10502953)."""
    centre = (share + Z_95**2 / (2 * count)) / (1 + Z_95**2 / count)
    spread = Z_95 / (1 + Z_95**2 / count) * math.sqrt(share * (1 - share) / count + Z_95**2 / (4 * count**2))
    return max(0.0, centre - spread), min(1.0, centre + spread)


def bootstrap_interval(values: NDArray[np.float64], rng: np.random.Generator) -> tuple[float, float]:
    """The 95 % percentile-bootstrap interval of the mean of `values` [n], n >= 1."""
    counts = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), size=RESAMPLES)
    low, high = np.quantile(counts @ values / len(values), [0.025, 0.975])
    return float(low), float(high)


def paired_bootstrap(groups: Sequence[Differences], rng: np.random.Generator) -> NDArray[np.float64]:
    """[resamples, groups] means of paired differences over drawn clusters (products, say) instead of drawn values.

    All values of a cluster count as often as it was drawn, since queries of one product stand or fall together. Groups
    of one population are drawn together, those of different ones independently. A mean in which nothing was drawn is 0.
    """
    drawn: dict[str, NDArray[np.int64]] = {}
    means = np.empty((RESAMPLES, len(groups)))
    for column, group in enumerate(groups):
        if group.population not in drawn:
            count = 1 + max(int(each.clusters.max()) for each in groups if each.population == group.population)
            drawn[group.population] = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
        times = drawn[group.population]
        sums = np.bincount(group.clusters, weights=group.values, minlength=times.shape[1])
        sizes = np.bincount(group.clusters, minlength=times.shape[1])
        means[:, column] = (times @ sums) / np.maximum(times @ sizes, 1)
    return means


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """The 50th, 95th and 99th percentile of n >= 1 values."""
    return {f"p{share}": float(np.percentile(values, share)) for share in (50, 95, 99)}
