"""What long work and queries tell about themselves: progress and milliseconds per stage.

The rooms below the command line never print. They report to a `Progress`, which `lookalike/console.py` draws and
everything else ignores.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Protocol


class Progress(Protocol):
    """A listener to long work. Stages do not nest: a `start` ends the stage before it."""

    def start(self, title: str, total: int | None = None) -> None:
        """A stage begins; `total` is its number of steps, None where it cannot be known."""

    def advance(self, steps: int = 1) -> None:
        """`steps` more are done."""

    def note(self, text: str) -> None:
        """Something a person should read, in a line of its own."""

    def finish(self) -> None:
        """The last stage is over."""


class Silent:
    """Progress that nobody listens to."""

    def start(self, title: str, total: int | None = None) -> None:
        pass

    def advance(self, steps: int = 1) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def finish(self) -> None:
        pass


SILENT: Progress = Silent()


class Stopwatch:
    """Milliseconds per named stage, in the order the stages were first entered."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time spent inside the `with` to the stage `name`."""
        start = perf_counter()
        try:
            yield
        finally:
            self.milliseconds[name] = self.milliseconds.get(name, 0.0) + (perf_counter() - start) * 1000
