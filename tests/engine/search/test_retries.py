"""Every product with unreadable photos gets its turn, and a share that is down costs little."""

from engine.search.retries import EVERY_S, PRODUCTS, ROUND_S, Retries

IDS = [f"p{number:03d}" for number in range(PRODUCTS + 10)]


def test_nothing_is_tried_again_before_a_minute_is_over() -> None:
    retries = Retries(100.0)
    assert retries.due(["a"], 100.1) == []
    assert retries.due(["a"], 100.0 + EVERY_S) == ["a"]


def test_a_round_passes_over_all_in_steps_and_the_next_begins_a_minute_later() -> None:
    retries, now, seen = Retries(0.0), EVERY_S, []
    while some := retries.due(IDS[::-1], now):
        assert len(some) <= PRODUCTS
        retries.tried(some, 0.001, now)
        seen += some
    assert seen == IDS
    assert retries.due(IDS, now + EVERY_S - 1) == []
    assert retries.due(IDS, now + EVERY_S) == IDS[:PRODUCTS]


def test_a_round_that_wastes_its_time_stops_and_goes_on_there_a_minute_later() -> None:
    retries, now, seen = Retries(0.0), EVERY_S, []
    for _ in range(len(IDS)):
        first = retries.due(IDS, now)[0]
        retries.tried([first], ROUND_S, now)
        assert retries.due(IDS, now) == []
        seen.append(first)
        now += EVERY_S
    assert seen == IDS


def test_what_becomes_unreadable_later_waits_its_minute_too() -> None:
    retries = Retries(0.0)
    for now in range(1000):
        assert retries.due([], float(now)) == []
    assert retries.due(["a"], 1000.0) == []
    assert retries.due(["a"], 999.0 + EVERY_S) == ["a"]
