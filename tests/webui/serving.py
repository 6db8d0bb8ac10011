"""`lookalike serve` as a process of its own, as users have it."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from types import TracebackType

PROGRAM = (sys.executable, "-c", "from lookalike.main import main; main()")
END_S = 180.0  # after which a server that was told to end has failed


class Serving:
    """A server on a port of its own, for the time of the `with`; `log` gets what it says on standard error."""

    def __init__(
        self,
        index: Path,
        *options: str,
        log: Path,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        command = [*PROGRAM, "serve", "--index", str(index), "--no-page", "--port", "0", *options]
        paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=cwd,
                env={**os.environ, **paths, **(environment or {})},
            )
        assert self.process.stdout is not None
        first = self.process.stdout.readline()
        assert first.startswith("API"), log.read_text()
        self.address = first.split()[-1]
        self.log = log

    def __enter__(self) -> "Serving":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.communicate(timeout=END_S)
        finally:
            self.process.kill()

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Sends the signal and waits: exit code and seconds."""
        start = monotonic()
        self.process.send_signal(number)
        code = self.process.wait(END_S)
        return code, monotonic() - start

    def process_ids(self) -> list[int]:
        """Of the server and all its children and theirs."""
        return family(self.process.pid)


def family(process_id: int) -> list[int]:
    """A process and all that come from it (Linux)."""
    children = [
        int(child)
        for listing in Path(f"/proc/{process_id}/task").glob("*/children")
        for child in listing.read_text().split()
    ]
    return [process_id, *(one for child in children for one in family(child))]


def anonymous_kib(process_ids: list[int]) -> int:
    """Memory of processes that no file stands behind, together."""
    total = 0
    for process_id in process_ids:
        status = Path(f"/proc/{process_id}/status")
        lines = status.read_text().splitlines() if status.exists() else []
        total += sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
    return total
