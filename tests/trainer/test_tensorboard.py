"""TensorBoard's curves: the figures of metrics.jsonl, and a sentence where it is not installed."""

import sys

import pytest

from engine.errors import MissingPackage
from tests.trainer.test_report_page import line
from trainer.tensorboard import Board


class Kept:
    """A writer that remembers."""

    def __init__(self) -> None:
        self.points: dict[tuple[str, int], float] = {}
        self.flushed = 0

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        self.points[tag, global_step] = scalar_value

    def flush(self) -> None:
        self.flushed = len(self.points)


def test_every_figure_of_an_epoch_becomes_a_point_and_is_written_at_once() -> None:
    kept = Kept()
    Board(kept).add(line(2, 0.75))
    assert kept.points == {
        ("loss/all", 6): 0.5,
        ("loss/product", 6): 0.5,
        ("learning rate/trunk", 6): 1e-4,
        ("learning rate/new layers", 6): 1e-3,
        ("photos per second", 6): 20.0,
        ("gem p", 6): 3.0,
        ("precision@1/shapes/product_id", 6): 0.75,
    }
    assert kept.flushed == 7


def test_it_is_missed_in_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingPackage, match="pip install tensorboard"):
        Board.open(tmp_path)


def test_a_resumed_board_writes_its_later_points_anew(tmp_path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed, so its files are not read back")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = Board.open(tmp_path)
    for epoch, figure in ((1, 0.1), (2, 0.2)):
        board.add(line(epoch, figure))
    Board.open(tmp_path, begin=6).add(line(2, 0.9))
    events = EventAccumulator(str(tmp_path)).Reload().Scalars("precision@1/shapes/product_id")
    assert [(event.step, round(event.value, 3)) for event in events] == [(3, 0.1), (6, 0.9)]
