"""A process that counts what it is about to do and kills itself before the n-th of these: `kill -9`, nothing flushed or
released.

Production code knows nothing of this; Python's audit hooks and SQLAlchemy's events tell.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import sqlalchemy as sa

EVENTS = frozenset({"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "open"})
WRITES = ("INSERT", "UPDATE", "DELETE")


class Steps:
    """The steps of this process, for good: changes to the files under `folder`, and commits, each told to `report` as a
    line of its own before it is done."""

    def __init__(self, report: Path, folder: Path, at: int, *, statements: bool = False) -> None:
        """Kills the process at its `at`-th step, or never for 0. With `statements`, a statement that writes is a step
        too, and so is letting the connection go after a commit."""
        self._report = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self._folder = str(folder)
        self._at = at
        self.count = 0
        sys.addaudithook(self._hear)
        sa.event.listen(sa.engine.Engine, "commit", lambda _connection: self.step("commit"))
        if statements:
            sa.event.listen(sa.engine.Engine, "before_cursor_execute", self._hear_statement)
            sa.event.listen(sa.pool.Pool, "checkin", lambda _connection, _record: self.step("let go"))

    def step(self, name: str) -> None:
        """Tells a step, and ends the process if it is the one."""
        self.count += 1
        self.tell(name)
        if self.count == self._at:
            os.kill(os.getpid(), signal.SIGKILL)

    def tell(self, line: str) -> None:
        """Adds a line to the report."""
        os.write(self._report, f"{line}\n".encode())

    def over(self) -> None:
        """What comes now is no step: the work is done."""
        self._at = 0

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if event not in EVENTS or not str(arguments[0]).startswith(self._folder):
            return
        if event == "open" and not int(str(arguments[2])) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        self.step(f"{event} {str(arguments[0]).removeprefix(self._folder).lstrip('/')}")

    def _hear_statement(self, _connection: object, _cursor: object, statement: str, *_: Any) -> None:
        if statement.startswith(WRITES):
            self.step(" ".join(statement.split()[:3]))
