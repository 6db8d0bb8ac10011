"""What a person sees of long work: progress bars, tables and sentences, on standard error.

Standard output is kept for results, so that `--json` can be piped. When standard error is no terminal, progress
becomes plain lines: one when a stage begins and one when it ends, with a few between in a long one.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from engine.telemetry import Progress as Listener

LINE_EVERY_S = 15.0  # seconds between two plain lines of one stage

out = Console(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, emoji=False)


class BarProgress:
    """Progress as bars in a terminal; a finished stage leaves its bar behind."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task: TaskID | None = None

    def start(self, title: str, total: int | None = None) -> None:
        self.finish()
        self._task = self._bars.add_task(title, total=total)

    def advance(self, steps: int = 1) -> None:
        if self._task is not None:
            self._bars.advance(self._task, steps)

    def note(self, text: str) -> None:
        self._bars.console.print(text, markup=False)

    def finish(self) -> None:
        if self._task is None:
            return
        task = self._bars.tasks[self._bars.task_ids.index(self._task)]
        done = task.total if task.total is not None else max(task.completed, 1)
        self._bars.update(self._task, total=done, completed=done)
        self._task = None


class LineProgress:
    """Progress as plain lines, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._title: str | None = None
        self._total: int | None = None
        self._done = 0
        self._began = self._said = 0.0

    def start(self, title: str, total: int | None = None) -> None:
        self.finish()
        self._title, self._total, self._done = title, total, 0
        self._began = self._said = monotonic()

    def advance(self, steps: int = 1) -> None:
        self._done += steps
        if self._title is not None and monotonic() - self._said > LINE_EVERY_S:
            self._said = monotonic()
            self._say(f"{self._title}: {self._count()}")

    def note(self, text: str) -> None:
        self._say(text)

    def finish(self) -> None:
        if self._title is not None:
            self._say(f"{self._title}: {self._count()}, {monotonic() - self._began:.1f} s")
        self._title = None

    def _count(self) -> str:
        if self._total is not None:
            return f"{self._done} of {self._total}"
        return str(self._done) if self._done else "done"

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)


@contextmanager
def progress() -> Iterator[Listener]:
    """A listener that draws what long work reports, for the time of the `with`."""
    if not err.is_terminal:
        lines = LineProgress(err)
        yield lines
        lines.finish()
        return
    columns = (
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err) as bars:
        listener = BarProgress(bars)
        yield listener
        listener.finish()


def show_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[object]], *, text_columns: int = 1) -> None:
    """A table on standard output: the first columns, of text, to the left, the others to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim")
    for position, heading in enumerate(headings):
        table.add_column(heading, justify="left" if position < text_columns else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))  # a title may look like markup and is none
    out.print(table)


def say(text: str) -> None:
    """One line of result, on standard output."""
    out.print(text, markup=False, soft_wrap=True)


def remark(text: str) -> None:
    """One line beside the result, on standard error."""
    err.print(text, markup=False, soft_wrap=True)
