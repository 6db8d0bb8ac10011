"""TensorBoard's curves: the figures of metrics.jsonl, and a sentence where it is not installed."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from engine.errors import MissingPackage
from tests.trainer.shapes import draw_shapes, shapes_recipe
from tests.trainer.test_report_page import line
from tests.trainer.test_training import HERE, StopAfter
from trainer import training
from trainer.report import read_metrics
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


def test_it_is_missed_in_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingPackage, match="pip install tensorboard"):
        Board.open(tmp_path)


def test_a_resumed_board_writes_its_later_points_anew(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed, so its files are not read back")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = Board.open(tmp_path)
    for epoch, figure in ((1, 0.1), (2, 0.2)):
        board.add(line(epoch, figure))
    Board.open(tmp_path, begin=6).add(line(2, 0.9))
    events = EventAccumulator(str(tmp_path)).Reload().Scalars("precision@1/shapes/product_id")
    assert [(event.step, round(event.value, 3)) for event in events] == [(3, 0.1), (6, 0.9)]


def test_a_training_that_was_stopped_has_each_epochs_point_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    points: list[tuple[str, int, float]] = []

    class Writer:
        """Forgets what TensorBoard would: the points from `purge_step` on."""

        def __init__(self, directory: str, purge_step: int) -> None:
            points[:] = [point for point in points if point[1] < purge_step]

        def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
            points.append((tag, global_step, scalar_value))

        def flush(self) -> None:
            pass

    module = ModuleType("torch.utils.tensorboard")
    vars(module)["SummaryWriter"] = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    data, out, board = draw_shapes(tmp_path / "data"), tmp_path / "out", tmp_path / "board"
    with pytest.raises(KeyboardInterrupt):  # after the second of three epochs
        training.train(shapes_recipe(), data, out, machine=HERE, tensorboard=board, progress=StopAfter(7))
    training.train(shapes_recipe(), data, out, machine=HERE, tensorboard=board, resume=True)
    losses = [(step, value) for tag, step, value in points if tag == "loss/all"]
    assert losses == [(line["step"], line["loss"]) for line in read_metrics(out)]
    assert [step for step, _ in losses] == [3, 6, 9]
