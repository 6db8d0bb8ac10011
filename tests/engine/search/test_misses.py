"""What is foretold of lists nobody looked into, against photos drawn from the very distribution that was measured."""

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.search.misses import FIRST, Misses, Reach
from engine.storage.manifest import FilterCalibration

TAILS = tuple(0.5 / 2**step for step in range(14))
QUANTILES = tuple(NormalDist().inv_cdf(1 - tail) for tail in TAILS)
SPREAD = {-0.5: 0.05, 0.0: 0.1, 0.5: 0.02}  # of cosines round the similarity of their centroid
NORMAL = FilterCalibration(
    tails=TAILS,
    similarities=tuple(SPREAD),
    excess=tuple(tuple(spread * quantile for quantile in QUANTILES) for spread in SPREAD.values()),
    code_excess=tuple(0.01 * step for step in range(len(TAILS))),
    caution=1.0,
)


@pytest.mark.parametrize("similarity", SPREAD)
@pytest.mark.parametrize("gap", [0.0, 0.5, 1.0, 2.0, 3.0])
def test_shares_are_those_of_the_distribution_measured(similarity: float, gap: float) -> None:
    spread = SPREAD[similarity]
    drawn = similarity + spread * np.random.default_rng(0).standard_normal(400_000)
    floor = similarity + gap * spread
    foretold = Misses(NORMAL).shares(np.array([similarity], np.float32), floor)[0]
    true = (drawn > floor).mean()
    assert 0.95 * true - 1e-4 <= foretold <= 1.25 * true + 1e-4  # rather too many than too few


def test_beyond_what_was_measured_shares_go_on_falling() -> None:
    misses = Misses(NORMAL)
    nearness = np.zeros(1, np.float32)
    shares = [float(misses.shares(nearness, 0.1 * gap)[0]) for gap in (3.7, 4.5, 5.5, 6.5)]
    assert shares == sorted(shares, reverse=True)
    assert 0 < shares[-1] < 1e-6
    assert misses.shares(nearness, -np.inf)[0] == 1


def test_the_slack_of_codes_grows_as_fewer_may_be_hidden() -> None:
    misses = Misses(NORMAL)
    assert misses.slack(0.25) == pytest.approx(0.01)
    assert misses.slack(0.125) == pytest.approx(0.02)
    assert 0.02 < misses.slack(0.1) < 0.03
    assert misses.slack(1e-9) == pytest.approx(0.13)  # nothing further out was measured


def test_a_cautious_calibration_looks_further() -> None:
    careless, careful = Misses(NORMAL), Misses(FilterCalibration(**{**vars_of(NORMAL), "caution": 8.0}))
    assert careful.slack(0.05) > careless.slack(0.05)
    worlds = [World(seed, lists=300, near=0.0) for seed in range(10)]
    visited = [[world.follow(misses, k=10, allowed=0.01).lists for world in worlds] for misses in (careless, careful)]
    assert sum(visited[1]) > sum(visited[0])


def vars_of(calibration: FilterCalibration) -> dict[str, object]:
    return {name: getattr(calibration, name) for name in FilterCalibration.__slots__}


class World:
    """Lists of photos whose cosines are drawn as NORMAL says."""

    def __init__(self, seed: int, *, lists: int, near: float) -> None:
        rng = np.random.default_rng(seed)
        self.similarities = np.sort(rng.choice([*SPREAD], lists, p=[0.3, 0.7 - near, near]))[::-1].astype(np.float32)
        self.sizes = rng.integers(1, 120, lists)
        self.cosines = [
            similarity + SPREAD[float(similarity)] * rng.standard_normal(size)
            for similarity, size in zip(self.similarities, self.sizes, strict=True)
        ]
        self.visits: list[tuple[int, int]] = []

    def follow(self, misses: Misses, k: int, allowed: float) -> Reach:
        def visit(start: int, end: int, _until: int) -> float:
            self.visits.append((start, end))
            seen = np.sort(np.concatenate(self.cosines[:end]))[::-1]
            return float(seen[k - 1]) if len(seen) >= k else -np.inf

        return misses.follow(self.similarities, self.sizes, visit, k=k, allowed=allowed)

    def expected_above(self, floor: float) -> list[float]:
        """How many photos of each list are nearer than `floor`, as NORMAL says."""
        lists = zip(self.similarities.tolist(), self.sizes, strict=True)
        return [size * (1 - NormalDist(nearness, SPREAD[nearness]).cdf(floor)) for nearness, size in lists]

    def lost(self, lists: int, k: int) -> float:
        """The share of the k best that lies in the lists after the first `lists`."""
        everything = np.sort(np.concatenate(self.cosines))[::-1]
        floor = everything[min(k, len(everything)) - 1]
        return sum(int((cosines >= floor).sum()) for cosines in self.cosines[lists:]) / min(k, len(everything))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 200), st.sampled_from([0.0, 0.1]), st.integers(1, 40))
def test_lists_are_visited_once_in_their_order(seed: int, lists: int, near: float, k: int) -> None:
    world = World(seed, lists=lists, near=near)
    reach = world.follow(Misses(NORMAL), k, 0.01)
    assert world.visits[0][0] == 0
    assert all(one[1] == other[0] for one, other in zip(world.visits, world.visits[1:], strict=False))
    assert all(start < end for start, end in world.visits)
    assert reach.lists == world.visits[-1][1]
    assert world.sizes[: reach.lists].sum() >= min(FIRST * k, world.sizes.sum())
    assert reach.missed <= 0.01
    assert reach.missed == 0 or reach.lists < lists


@pytest.mark.parametrize("near", [0.0, 0.02, 0.2])
def test_no_more_is_lost_than_foretold(near: float) -> None:
    lost, foretold, visited = [], [], []
    for seed in range(80):
        world = World(seed, lists=400, near=near)
        reach = world.follow(Misses(NORMAL), k=10, allowed=0.02)
        lost.append(world.lost(reach.lists, 10))
        foretold.append(reach.missed)
        visited.append(reach.lists)
    assert np.mean(lost) <= np.mean(foretold) + 0.005
    if near == 0.2:  # with results in the near lists, the far ones are not worth a look
        assert np.mean(visited) < 120


@pytest.mark.parametrize("near", [0.0, 0.02, 0.2])
def test_a_search_is_foretold_before_anything_is_seen(near: float) -> None:
    """Queries differ and this knows none, so it holds on average."""
    foretold, without_steps = [], []
    for seed in range(40):
        world = World(seed, lists=400, near=near)
        foretold.append(Misses(NORMAL).foretell(world.similarities, world.sizes, k=10, allowed=0.02))
        floor = np.sort(np.concatenate(world.cosines))[-10]
        above = world.expected_above(floor)
        left = [sum(above[lists:]) / 10 for lists in range(401)]
        without_steps.append(int(np.argmax(np.array(left) <= 0.02)))
    assert np.mean(foretold) == pytest.approx(np.mean(without_steps), rel=0.1, abs=4)
