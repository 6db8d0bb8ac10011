"""Batches: quotas, every photo in its turn, balance, and the same again for the same seed."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.cycles import Rows, Weights, photo_cycle
from trainer.sampler import BatchSampler, Draw
from trainer.tables import TrainingSet, balanced_weights


def training_set(rows: int, quota: int, classes: list[int] | None = None, balance: float = 0.0) -> TrainingSet:
    codes = np.array(classes if classes is not None else [0] * rows)
    return TrainingSet("s", quota, tuple(map(str, range(rows))), {}, balanced_weights(codes, balance))


sets = st.lists(st.builds(training_set, st.integers(1, 30), st.integers(1, 9)), min_size=1, max_size=3)


@settings(max_examples=40, deadline=None)
@given(sets=sets, seed=st.integers(0, 99))
def test_every_batch_has_every_quota(sets: list[TrainingSet], seed: int) -> None:
    sampler = BatchSampler(sets, seed)
    for step in (0, 1, sampler.steps_per_epoch, 57):
        expected = [number for number, each in enumerate(sets) for _ in range(each.quota)]
        assert [draw.set for draw in sampler.batch(step)] == expected


@settings(max_examples=40, deadline=None)
@given(sets=sets, seed=st.integers(0, 99))
def test_every_photo_comes_once_before_any_comes_twice(sets: list[TrainingSet], seed: int) -> None:
    sampler = BatchSampler(sets, seed)
    for number, each in enumerate(sets):
        rows: list[int] = []
        for step in range(3 * sampler.steps_per_epoch):
            rows += [draw.row for draw in sampler.batch(step) if draw.set == number]
        for start in range(0, len(rows) - len(each.uris) + 1, len(each.uris)):
            assert sorted(rows[start : start + len(each.uris)]) == list(range(len(each.uris)))


def test_an_epoch_is_the_largest_set_seen_once() -> None:
    assert BatchSampler([training_set(100, 10), training_set(9, 4)], 0).steps_per_epoch == 10
    assert BatchSampler([training_set(100, 50), training_set(33, 4)], 0).steps_per_epoch == 9


def test_batches_depend_on_the_seed_and_the_step_and_on_nothing_else() -> None:
    sets = [training_set(40, 6), training_set(11, 3)]
    forwards = list(BatchSampler(sets, 5).batches(0, 30))
    resumed = BatchSampler(sets, 5)
    assert list(resumed.batches(17, 30)) == forwards[17:]
    assert resumed.batch(3) == forwards[3]
    assert BatchSampler(sets, 6).batch(3) != forwards[3]


@pytest.mark.parametrize("size", [2, 3, 20])
def test_parts_of_a_batch_are_what_the_whole_one_has_in_their_places(size: int) -> None:
    sampler = BatchSampler([training_set(40, 6), training_set(11, 3)], 5)
    for step, whole in enumerate(sampler.batches(0, 9)):
        parts = [sampler.batch(step, slice(rank, None, size)) for rank in range(size)]
        assert parts == [whole[rank::size] for rank in range(size)]
        assert [sampler.rows(step, number) for number in (0, 1)] == [
            [draw.row for draw in whole if draw.set == number] for number in (0, 1)
        ]


def test_a_small_set_does_not_make_a_large_one_be_shuffled_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    shuffled = Counter[int]()

    def count(weights: Weights, rng: np.random.Generator) -> Rows:
        shuffled[len(weights)] += 1
        return photo_cycle(weights, rng)

    monkeypatch.setattr("trainer.sampler.photo_cycle", count)
    sampler = BatchSampler([training_set(60, 3), training_set(2, 18)], 0)
    for step in range(20):
        sampler.batch(step)
    assert shuffled == {60: 1, 2: 20 * 9}


def test_no_two_draws_are_augmented_alike() -> None:
    draws: list[Draw] = [draw for batch in BatchSampler([training_set(7, 5)], 0).batches(0, 40) for draw in batch]
    assert len({draw.seed for draw in draws}) == len(draws)


def test_balance_gives_each_class_its_share() -> None:
    classes = [0] * 60 + [1] * 30 + [2] * 10
    for balance, shares in ((0.0, (0.6, 0.3, 0.1)), (1.0, (1 / 3, 1 / 3, 1 / 3)), (0.5, None)):
        sampler = BatchSampler([training_set(100, 10, classes, balance)], 0)
        seen = Counter(classes[draw.row] for batch in sampler.batches(0, 300) for draw in batch)
        roots = np.sqrt([60, 30, 10])
        expected = shares if shares is not None else roots / roots.sum()
        np.testing.assert_allclose([seen[code] / 3000 for code in range(3)], expected, atol=0.01)


def test_balanced_draws_stay_even_within_a_class() -> None:
    classes = [0] * 60 + [1] * 20
    sampler = BatchSampler([training_set(80, 8, classes, 1.0)], 0)
    for cycle in range(5):
        seen = Counter(draw.row for batch in sampler.batches(10 * cycle, 10 * cycle + 10) for draw in batch)
        assert all(seen[row] <= 1 for row in range(60))  # wanted 40 times in all
        assert all(seen[row] == 2 for row in range(60, 80))  # wanted twice each


def test_rows_without_a_class_are_drawn_as_often_as_before() -> None:
    weights = balanced_weights(np.array([0, 0, 0, 1, -1]), 1.0)
    np.testing.assert_allclose(weights, [2 / 15, 2 / 15, 2 / 15, 2 / 5, 1 / 5])


def test_another_length_of_an_epoch_leaves_the_batches_as_they_are() -> None:
    sets = [training_set(20, 4), training_set(7, 2)]
    longer, usual = BatchSampler(sets, 0, epoch_steps=9), BatchSampler(sets, 0)
    assert (longer.steps_per_epoch, usual.steps_per_epoch) == (9, 5)
    assert [longer.batch(step) for step in range(12)] == [usual.batch(step) for step in range(12)]
