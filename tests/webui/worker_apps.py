"""What workers of the tests open: functions of a module, so that a new process can find them."""

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any

from engine.errors import IndexMissing
from tests.webui.running import Start
from webui.workers import App


def process_id(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    """Answers with the number of the process that answers."""
    start("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]


@contextmanager
def open_plain() -> Iterator[App]:
    yield process_id


@contextmanager
def open_and_note(folder: Path) -> Iterator[App]:
    """Leaves a file named after the process while it is open."""
    note = folder / str(os.getpid())
    note.touch()
    yield process_id
    note.unlink()


@contextmanager
def open_nothing() -> Iterator[App]:
    raise IndexMissing("There is no index here; build one.")
    yield process_id


@contextmanager
def open_and_die() -> Iterator[App]:
    """Ends soon after it began to answer, as after a crash."""
    Timer(0.3, os._exit, [7]).start()
    yield process_id


@contextmanager
def open_deaf() -> Iterator[App]:
    """Does not hear that it is to end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    yield process_id
