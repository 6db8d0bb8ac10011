"""Rates against a plain Python model, and counted together by real processes."""

import subprocess
import sys
from collections.abc import Sequence
from time import time_ns

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from engine.errors import BadCall
from webui.state.rates import CLOCK_STEP_NS, MAX_PER_MINUTE, MINUTE_NS, Rate, RateStore
from webui.state.state import State

START = 1_800_000_000 * 10**9


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


def store_of(state: State, clock: Clock) -> RateStore:
    return RateStore(state._database, clock)


class Model:
    """A bucket of `burst` tokens, one more every interval: another way to say the same, in exact numbers."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._level = rate.burst * rate.interval_ns  # nanoseconds' worth of tokens
        self._seen = START

    def passes(self, now: int) -> bool:
        full = self._rate.burst * self._rate.interval_ns
        self._level = min(full, self._level + now - self._seen)
        self._seen = now
        if self._level < self._rate.interval_ns:
            return False
        self._level -= self._rate.interval_ns
        return True


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    per_minute=st.integers(1, 100_000),
    burst=st.integers(1, 6),
    pauses=st.lists(st.floats(0, 3) | st.just(0.0) | st.just(1.0), max_size=25),
)
def test_it_lets_through_what_a_bucket_of_tokens_would(
    state: State, per_minute: int, burst: int, pauses: Sequence[float]
) -> None:
    rate, clock = Rate(per_minute, burst), Clock()
    model, store = Model(rate), store_of(state, clock)
    key = f"{time_ns()}"  # one of its own for each example
    for pause in pauses:
        clock.now += int(pause * rate.interval_ns)
        wait = store.take(key, rate)
        assert (wait == 0) == model.passes(clock.now)


def test_the_seconds_to_wait_are_those_until_one_passes(state: State) -> None:
    rate, clock = Rate(per_minute=60, burst=3), Clock()
    store = store_of(state, clock)

    assert [store.take("k", rate) for _ in range(3)] == [0, 0, 0]
    assert store.take("k", rate) == 1.0
    clock.now += 10**9 - 1
    assert store.take("k", rate) == pytest.approx(1e-9)
    clock.now += 1
    assert store.take("k", rate) == 0
    assert store.take("k", rate) == 1.0


def test_keys_are_counted_apart(state: State) -> None:
    rate, clock = Rate(per_minute=60, burst=1), Clock()
    store = store_of(state, clock)

    assert store.take("a", rate) == 0
    assert store.take("b", rate) == 0
    assert store.take("a", rate) > 0


def test_one_who_is_refused_again_and_again_costs_the_database_nothing(state: State) -> None:
    rate, clock = Rate(per_minute=60, burst=1), Clock()
    store = store_of(state, clock)
    statements: list[str] = []
    event.listen(state._database.quick, "before_cursor_execute", lambda *of: statements.append(of[2]))
    store.take("k", rate)
    assert store.take("k", rate) == 1.0
    asked = len(statements)
    assert asked > 0

    assert [store.take("k", rate) for _ in range(100)] == [1.0] * 100

    assert len(statements) == asked


def test_a_clock_that_was_set_back_shuts_nobody_out_for_long(state: State) -> None:
    rate, clock = Rate(per_minute=60, burst=1), Clock()
    store = store_of(state, clock)
    store.take("k", rate)
    assert store.take("k", rate) > 0

    clock.now -= 24 * 60 * MINUTE_NS

    assert store.take("k", rate) == 0
    assert store.take("k", rate) == 1.0


def test_a_process_that_was_held_up_passes_nothing_that_is_not_its_due(state: State) -> None:
    """It read the clock, waited half a minute for its turn, and others used up the burst meanwhile."""
    rate, late, other = Rate(per_minute=60, burst=5), Clock(), Clock()
    other.now += CLOCK_STEP_NS // 2
    assert [store_of(state, other).take("k", rate) for _ in range(6)] == [0, 0, 0, 0, 0, 1.0]

    assert store_of(state, late).take("k", rate) > 0


@pytest.mark.parametrize(("per_minute", "burst"), [(0, 1), (-5, 1), (1, 0), (MAX_PER_MINUTE + 1, 1), (1, 10**7)])
def test_rates_that_cannot_be_are_refused(per_minute: int, burst: int) -> None:
    with pytest.raises(BadCall, match="cannot be"):
        Rate(per_minute, burst)


@pytest.mark.parametrize(("per_minute", "burst"), [(1, 1), (5, 1), (6, 1), (600, 100)])
def test_a_sixth_of_a_minute_may_come_at_once(per_minute: int, burst: int) -> None:
    assert Rate.a_minute(per_minute) == Rate(per_minute, burst)


# --- Real processes --------------------------------------------------------------------------------------------------

TAKER = """
import sys
from threading import Thread
from time import time_ns
from webui.state.rates import Rate, RateStore
from webui.state.state import State

where, stands, tries, per_minute, burst = sys.argv[1:]
rate = Rate(int(per_minute), int(burst))
with State.open(where) as state:
    store = RateStore(state._database, (lambda: int(stands)) if int(stands) else time_ns)
    passed = []

    def hurry():
        for _ in range(int(tries)):
            came = time_ns()
            if store.take("k", rate) == 0:
                passed.append((came, time_ns()))

    threads = [Thread(target=hurry) for _ in range(2)]
    print("ready", flush=True)
    sys.stdin.readline()
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    print(passed)
"""


def hurry_together(where: str, *, processes: int, stands: int, tries: int, rate: Rate) -> list[tuple[int, int]]:
    """When each request that passed came and was let through; `stands` is the processes' clock, 0 a real one."""
    numbers = [str(number) for number in (stands, tries, rate.per_minute, rate.burst)]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", TAKER, where, *numbers], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(processes)
    ]
    try:
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        outs = []
        for process in running:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in running:
            out, _ = process.communicate(timeout=120)
            assert process.returncode == 0
            outs.append(out)
    finally:
        for process in running:
            process.kill()
            process.wait()
    return [moment for out in outs for moment in eval(out)]


def test_while_time_stands_still_processes_together_pass_exactly_the_burst(state: State, where: str) -> None:
    rate = Rate(per_minute=60, burst=37)

    passed = hurry_together(where, processes=3, stands=START, tries=15, rate=rate)

    assert len(passed) == 37


def test_processes_together_never_pass_more_than_allowed(state: State, where: str) -> None:
    rate = Rate(per_minute=3000, burst=10)

    passed = hurry_together(where, processes=3, stands=0, tries=100, rate=rate)

    came, went = min(came for came, _ in passed), max(went for _, went in passed)
    assert rate.burst <= len(passed) <= rate.burst + (went - came) // rate.interval_ns
