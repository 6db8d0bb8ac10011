"""Batches shared by callers: each gets its own, nobody waits alone, an error reaches whom it belongs to."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from time import monotonic, sleep

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.vision.encoder import Encoded
from tests.fakes import FakeEncoder
from webui.batching import BatchingEncoder

Floats = NDArray[np.float32]
TIMEOUT_S = 30.0
BAD = 99.0  # a photo that begins with it is more than the encoder can bear


class WatchedEncoder(FakeEncoder):
    """Notes the sizes of its batches; waits at a gate where there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.entered = Event()
        self.gate: Event | None = None

    def encode(self, batch: Floats) -> Encoded:
        self.sizes.append(len(batch))
        self.entered.set()
        if self.gate is not None:
            assert self.gate.wait(TIMEOUT_S)
        if (batch[:, 0, 0, 0] == BAD).any():
            raise RuntimeError("bad photo")
        return super().encode(batch)


def photos(count: int, seed: int) -> Floats:
    return np.random.default_rng(seed).standard_normal((count, 3, 32, 32), np.float32)


def equal(found: Encoded, wanted: Encoded) -> bool:
    return np.array_equal(found.embeddings, wanted.embeddings) and np.array_equal(found.features, wanted.features)


def until(true: Callable[[], bool]) -> None:
    deadline = monotonic() + TIMEOUT_S
    while not true():
        assert monotonic() < deadline
        sleep(0.001)


def test_it_is_the_other_encoder_to_whom_asks() -> None:
    inner = FakeEncoder()
    shared = BatchingEncoder(inner)

    assert (shared.model_id, shared.dim, shared.preprocess) == (inner.model_id, inner.dim, inner.preprocess)
    assert equal(shared.encode(photos(3, 0)), inner.encode(photos(3, 0)))


def test_a_caller_alone_does_not_wait() -> None:
    inner = WatchedEncoder()
    shared = BatchingEncoder(inner, patience_s=1e6)  # whoever waited would wait for ever

    with ThreadPoolExecutor() as pool:
        for seed in range(3):
            pool.submit(shared.encode, photos(1, seed)).result(TIMEOUT_S)

    assert inner.sizes == [1, 1, 1]


def test_who_comes_during_a_batch_shares_the_next_one() -> None:
    inner = WatchedEncoder()
    inner.gate = Event()
    shared = BatchingEncoder(inner, at_most=8, patience_s=0)

    with ThreadPoolExecutor(7) as pool:
        calls = [pool.submit(shared.encode, photos(1, 0))]
        assert inner.entered.wait(TIMEOUT_S)
        calls += [pool.submit(shared.encode, photos(1, seed)) for seed in range(1, 7)]
        until(lambda: shared.waiting == 6)
        inner.gate.set()
        found = [call.result(TIMEOUT_S) for call in calls]

    assert inner.sizes == [1, 6]
    assert all(equal(one, FakeEncoder().encode(photos(1, seed))) for seed, one in enumerate(found))


def test_a_leader_waits_for_as_many_as_came_before_and_once_in_vain() -> None:
    inner = WatchedEncoder()
    inner.gate = Event()
    shared = BatchingEncoder(inner, patience_s=0)

    with ThreadPoolExecutor() as pool:

        def ask(seed: int) -> "Future[Encoded]":
            return pool.submit(shared.encode, photos(1, seed))

        first = ask(0)
        assert inner.entered.wait(TIMEOUT_S)
        together = [ask(1), ask(2)]
        until(lambda: shared.waiting == 2)
        inner.gate.set()
        for call in (first, *together):
            call.result(TIMEOUT_S)
        assert inner.sizes == [1, 2]

        shared.patience_s = TIMEOUT_S
        third = ask(3)
        until(lambda: shared.waiting == 1)
        assert equal(ask(4).result(TIMEOUT_S), FakeEncoder().encode(photos(1, 4)))
        assert equal(third.result(TIMEOUT_S), FakeEncoder().encode(photos(1, 3)))

        shared.patience_s = 0.01
        ask(5).result(TIMEOUT_S)  # two came before, so this one waits
        shared.patience_s = 1e6
        ask(6).result(TIMEOUT_S)  # and this one not

    assert inner.sizes == [1, 2, 2, 1, 1]


def test_batches_are_bounded_and_large_ones_of_one_caller_go_by_themselves() -> None:
    inner = WatchedEncoder()
    inner.gate = Event()
    shared = BatchingEncoder(inner, at_most=4, patience_s=0)

    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(shared.encode, photos(1, 0))]
        assert inner.entered.wait(TIMEOUT_S)
        for number, count in enumerate((3, 2, 1, 1), start=1):
            calls.append(pool.submit(shared.encode, photos(count, number)))
            until(lambda number=number: shared.waiting == number)  # type: ignore[misc]
        large = pool.submit(shared.encode, photos(9, 7))
        until(lambda: 9 in inner.sizes)  # it does not wait for the others
        inner.gate.set()
        assert equal(large.result(TIMEOUT_S), FakeEncoder().encode(photos(9, 7)))
        for call in calls:
            call.result(TIMEOUT_S)

    assert inner.sizes == [1, 9, 3, 4]


def test_an_error_reaches_only_whom_it_belongs_to() -> None:
    inner = WatchedEncoder()
    inner.gate = Event()
    shared = BatchingEncoder(inner, patience_s=0)
    bad = photos(1, 1)
    bad[0, 0, 0, 0] = BAD

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(shared.encode, photos(1, 0))
        assert inner.entered.wait(TIMEOUT_S)
        others = [pool.submit(shared.encode, one) for one in (photos(2, 2), bad, photos(1, 3))]
        until(lambda: shared.waiting == 3)
        inner.gate.set()
        first.result(TIMEOUT_S)
        with pytest.raises(RuntimeError, match="bad photo"):
            others[1].result(TIMEOUT_S)
        assert equal(others[0].result(TIMEOUT_S), FakeEncoder().encode(photos(2, 2)))
        assert equal(others[2].result(TIMEOUT_S), FakeEncoder().encode(photos(1, 3)))
    assert equal(shared.encode(photos(1, 5)), FakeEncoder().encode(photos(1, 5)))


def test_an_interrupted_leader_leaves_nobody_waiting() -> None:
    class Interrupted(WatchedEncoder):
        def encode(self, batch: Floats) -> Encoded:
            found = super().encode(batch)
            if len(batch) == 2:
                raise KeyboardInterrupt
            return found

    inner = Interrupted()
    inner.gate = Event()
    shared = BatchingEncoder(inner, patience_s=0)

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(shared.encode, photos(1, 0))
        assert inner.entered.wait(TIMEOUT_S)
        others = [pool.submit(shared.encode, photos(1, seed)) for seed in (1, 2)]
        until(lambda: shared.waiting == 2)
        inner.gate.set()
        first.result(TIMEOUT_S)
        for other in others:
            with pytest.raises(KeyboardInterrupt):
                other.result(TIMEOUT_S)
    assert equal(shared.encode(photos(1, 5)), FakeEncoder().encode(photos(1, 5)))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=24), st.integers(1, 8), st.sampled_from([0.0, 0.001]))
def test_many_callers_each_get_their_own(sizes: list[int], at_most: int, patience_s: float) -> None:
    shared = BatchingEncoder(FakeEncoder(), at_most=at_most, patience_s=patience_s)
    batches = [photos(size, seed) for seed, size in enumerate(sizes)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(shared.encode, batches))

    assert all(equal(mine, FakeEncoder().encode(batch)) for mine, batch in zip(found, batches, strict=True))
