"""Feedback goes in, stays, and is read out in its order."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from engine.errors import BadQuery
from webui.ports import Feedback
from webui.state.feedback import FeedbackLog
from webui.state.state import State

CLICK = Feedback("click", "r-1", "Stühle ☂", 3, "shop")
NOTHING = Feedback("not_found", "r-2")


def test_what_is_said_is_kept_with_the_time(state: State) -> None:
    before = datetime.now(UTC)
    state.record(CLICK)
    state.record(NOTHING)

    first, second = state.feedback.read()

    assert before <= first.time <= second.time <= datetime.now(UTC)
    assert (first.kind, first.request_id, first.product_id, first.position, first.key) == (
        "click",
        "r-1",
        "Stühle ☂",
        3,
        "shop",
    )
    assert (second.kind, second.request_id, second.product_id, second.position, second.key) == (
        "not_found",
        "r-2",
        None,
        None,
        None,
    )


def test_who_reads_on_gets_what_came_since(state: State) -> None:
    for number in range(5):
        state.record(replace(CLICK, position=number))
    seen = list(state.feedback.read())

    state.record(replace(CLICK, position=5))

    assert [one.position for one in seen] == [0, 1, 2, 3, 4]
    assert [one.position for one in state.feedback.read(after=seen[-1].number)] == [5]


def test_reading_goes_on_over_many_rounds(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webui.state.feedback.STREAMED", 2)
    for number in range(5):
        state.record(replace(CLICK, position=number))

    assert [one.position for one in state.feedback.read()] == [0, 1, 2, 3, 4]


def test_the_oldest_makes_room_so_that_nobody_fills_the_disk(state: State) -> None:
    store = FeedbackLog(state._database, max_rows=3)
    for number in range(10):
        store.record(replace(CLICK, position=number))

    assert [one.position for one in store.read()] == [7, 8, 9]


@pytest.mark.parametrize("strange", ["", "x" * 201, "a\x00b", "\udcff", "line\nbreak"])
@pytest.mark.parametrize("field", ["request_id", "product_id"])
def test_ids_that_no_answer_has_are_refused(state: State, field: str, strange: str) -> None:
    with pytest.raises(BadQuery, match=field):
        state.record(replace(CLICK, **{field: strange}))
    assert list(state.feedback.read()) == []
