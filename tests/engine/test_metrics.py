from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.metrics import (
    RESAMPLES,
    Differences,
    average_precision_at,
    bootstrap_interval,
    found_at,
    paired_bootstrap,
    percentiles,
    precision_at,
    wilson_interval,
)

rankings = st.lists(st.booleans(), max_size=15)


def test_metrics_of_one_ranking() -> None:
    ranking = [False, True, True, False]
    assert precision_at(ranking, 1) == 0
    assert precision_at(ranking, 3) == pytest.approx(2 / 3)
    assert [found_at(ranking, k) for k in (1, 2, 10)] == [False, True, True]
    assert average_precision_at(ranking, 2, 10) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_short_and_empty_rankings_count_what_is_missing() -> None:
    assert precision_at([True], 4) == 0.25
    assert not found_at([], 10)
    assert average_precision_at([], 3, 10) == 0


@given(rankings, st.integers(1, 15), st.integers(0, 20))
def test_average_precision_is_its_definition(ranking: list[bool], k: int, more: int) -> None:
    relevant = max(sum(ranking) + more, 1)
    terms = [
        Fraction(sum(ranking[:place]), place) for place in range(1, min(k, len(ranking)) + 1) if ranking[place - 1]
    ]
    expected = sum(terms, Fraction(0)) / min(relevant, k)
    assert average_precision_at(ranking, relevant, k) == pytest.approx(float(expected))
    assert 0 <= average_precision_at(ranking, relevant, k) <= 1


@given(st.integers(1, 12))
def test_one_relevant_product_scores_one_over_its_place(place: int) -> None:
    ranking = [False] * (place - 1) + [True]
    assert average_precision_at(ranking, 1, 12) == pytest.approx(1 / place)


def test_wilson_interval_against_published_values() -> None:
    # Newcombe 1998 (doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E), table I, method 3
    for successes, count, low, high in [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)]:
        assert wilson_interval(successes / count, count) == pytest.approx((low, high), abs=1e-4)
    assert wilson_interval(1.0, 29) == pytest.approx((0.8830, 1), abs=1e-4)


def test_bootstrap_interval_is_near_the_normal_one() -> None:
    rng = np.random.default_rng(0)
    values = rng.random(400)
    low, high = bootstrap_interval(values, rng)
    spread = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - spread, values.mean() + spread), abs=spread / 5)
    assert bootstrap_interval(np.ones(3), rng) == (1, 1)


def test_percentiles() -> None:
    assert percentiles(list(range(101))) == {"p50": 50, "p95": 95, "p99": 99}


def test_a_drawn_product_brings_all_its_queries() -> None:
    """Two products: a mean is one of three, by how often each was drawn, as the binomial says."""
    group = Differences(np.array([1.0, 1.0, 1.0, -1.0]), np.array([0, 0, 0, 1]))
    means = paired_bootstrap([group], np.random.default_rng(0))[:, 0]
    values, counts = np.unique(np.round(means, 6), return_counts=True)
    assert values.tolist() == [-1.0, 0.5, 1.0]
    np.testing.assert_allclose(counts / RESAMPLES, [0.25, 0.5, 0.25], atol=0.05)


def test_groups_of_one_population_are_drawn_together_and_others_are_not() -> None:
    rng = np.random.default_rng(1)
    values, clusters = rng.normal(size=60), np.repeat(np.arange(20), 3)
    some = clusters % 4 > 0
    groups = [
        Differences(values, clusters, "shop"),
        Differences(-values, clusters, "shop"),
        Differences(values[some], clusters[some], "shop"),
        Differences(values, clusters, "street"),
    ]
    means = paired_bootstrap(groups, rng)
    np.testing.assert_allclose(means[:, 0], -means[:, 1])
    correlations = np.corrcoef(means.T)
    assert correlations[0, 2] > 0.5
    assert abs(correlations[0, 3]) < 0.1
    # of 20 products with independent values, the spread is that of a mean of 20 products' means
    assert means[:, 0].std() == pytest.approx(values.reshape(20, 3).mean(axis=1).std() / np.sqrt(20), rel=0.1)
