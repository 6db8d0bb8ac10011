"""The record of a training for TensorBoard, where that is installed: the figures of metrics.jsonl as scalars."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from engine.errors import MissingPackage


class Writer(Protocol):
    """What is needed of `torch.utils.tensorboard.SummaryWriter`."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """A point of the curve `tag`."""

    def flush(self) -> None:
        """Writes what was added."""


class Board:
    """Curves over steps: losses by task, learning rates, photos a second, precision@1."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    @classmethod
    def open(cls, directory: Path, begin: int = 0) -> "Board":
        """A board in `directory` whose points from step `begin` on are written anew, as after a kill.

        Raises MissingPackage where TensorBoard is not installed.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingPackage(
                "TensorBoard is not installed; run pip install tensorboard, or leave --tensorboard out."
            ) from None
        return cls(SummaryWriter(str(directory), purge_step=begin))

    def add(self, line: Mapping[str, Any]) -> None:
        """Adds an epoch's line of metrics.jsonl."""
        for tag, value in scalars(line):
            self._writer.add_scalar(tag, value, line["step"])
        self._writer.flush()


def scalars(line: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The curves that a line has a point of, and the points."""
    yield "loss/all", line["loss"]
    yield from ((f"loss/{task}", value) for task, value in line["losses"].items())
    yield from ((f"learning rate/{group}", value) for group, value in line["learning_rate"].items())
    yield "photos per second", line["photos_per_second"]
    if line["gem_p"] is not None:
        yield "gem p", line["gem_p"]
    for dataset, figures in line["validation"].items():
        yield from ((f"precision@1/{dataset}/{label}", value) for label, value in figures.items())
