"""Several processes that answer on the same sockets, looked after by one that answers nothing.

Each worker opens the index for itself. What is mapped, vectors and rows, lies in memory once for all of them; the
model, the codes, what products are like and what changed since the index was built are each worker's own. The kernel
hands a new connection to a worker that waits for one.

A worker that ends is started again: the first at once, those that follow soon after it more and more slowly.
"""

import logging
import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from select import select
from socket import socket
from threading import Event, Thread
from time import monotonic
from typing import NoReturn

from engine.errors import LookalikeError, Unavailable
from engine.settings import cores
from webui.api.server import GRACE_S, HttpServer, close_all
from webui.stopping import stopping

log = logging.getLogger(__name__)

App = Callable[..., Iterable[bytes]]
OpenApp = Callable[[], AbstractContextManager[App]]

LOOK_EVERY_S = 0.1  # seconds between two looks at the workers
AFTER_GRACE_S = 1.5  # seconds beyond the grace of requests until a worker that does not end is killed
RECENT_S = 60.0  # deaths within so many seconds count together
MOST_RECENT = 5  # of them are borne while no worker answers
SLOWEST_S = 30.0  # between a death and the next start, at most
_PROGRAM = "from webui.workers import main; main()"
_SAY_READY = b"ready"


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker is told. `open_app` opens what answers, in the worker; it must be picklable."""

    open_app: OpenApp
    threads: int
    queue: int
    max_request_bytes: int


class Workers:
    """So many processes that follow an order; `ended` is told the process id of each that has ended."""

    def __init__(
        self,
        order: Order,
        sockets: Sequence[socket],
        count: int,
        *,
        environment: Mapping[str, str] | None = None,
        ended: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`sockets` listen already and are closed when this ends; `environment` is added to the workers' own."""
        self._order = order
        self._sockets = sockets
        self._count = count
        self._environment = {**os.environ, **_share_of_cores(count), **(environment or {})}
        self._ended = ended
        self._running: list[_Worker] = []
        self._deaths: deque[float] = deque()
        self._start_at: list[float] = [0.0] * count  # when each that is missing may be started

    def run(self, stop: Event, ready: Event) -> None:
        """Until `stop` is set; `ready` is set as soon as all answer.

        Raises what kept the first workers from starting, and Unavailable where none is left and new ones end as well.
        """
        try:
            while not stop.is_set():
                self._start_missing()
                self._see_who_ended(ready)
                if all(worker.is_ready() for worker in self._running) and len(self._running) == self._count:
                    ready.set()
                stop.wait(LOOK_EVERY_S)
        finally:
            close_all(self._sockets)
            self._end()

    @property
    def process_ids(self) -> list[int]:
        """Of the workers that run."""
        return [worker.process.pid for worker in self._running]

    def _start_missing(self) -> None:
        now = monotonic()
        due = [at for at in self._start_at if at <= now]
        for at in due:
            self._start_at.remove(at)
            self._running.append(_Worker(self._order, self._sockets, self._environment))

    def _see_who_ended(self, ready: Event) -> None:
        for worker in [one for one in self._running if one.process.poll() is not None]:
            self._running.remove(worker)
            self._ended(worker.process.pid)
            if not ready.is_set():
                raise worker.failure()
            now = monotonic()
            self._deaths.append(now)
            while now - self._deaths[0] > RECENT_S:
                self._deaths.popleft()
            recent = len(self._deaths)
            if not self._running and recent > MOST_RECENT:
                raise Unavailable(f"No worker is left, and {recent} ended within {RECENT_S:.0f} s; {worker.failure()}")
            delay = 0.0 if recent == 1 else min(2.0 ** (recent - 2), SLOWEST_S)
            log.warning("%s Another one is started in %.0f s.", worker.failure(), delay)
            self._start_at.append(now + delay)

    def _end(self) -> None:
        for worker in self._running:
            worker.process.terminate()
        deadline = monotonic() + GRACE_S + AFTER_GRACE_S
        for worker in self._running:
            worker.end(max(deadline - monotonic(), 0.0))
            self._ended(worker.process.pid)
        self._running.clear()


class _Worker:
    """A process that answers. It ends when its standard input does, so never outlives the one that started it."""

    def __init__(self, order: Order, sockets: Sequence[socket], environment: Mapping[str, str]) -> None:
        self._heard = b""
        self._mouth, its_mouth = os.pipe()
        numbers = [one.fileno() for one in sockets]
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            pass_fds=(*numbers, its_mouth),
            env=environment,
            start_new_session=True,  # Ctrl-C in a terminal reaches only this process, which then ends the worker
        )
        os.close(its_mouth)
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it ended at once; its exit code tells
            for told in (sys.path, (order, numbers, its_mouth)):
                pickle.dump(told, self.process.stdin)
            self.process.stdin.flush()

    def is_ready(self) -> bool:
        """Whether it answers; listens, so a failure is heard as well."""
        while self._mouth >= 0 and select([self._mouth], [], [], 0)[0]:
            said = os.read(self._mouth, 65536)
            self._heard += said
            if not said:
                self._close()
        return self._heard.startswith(_SAY_READY)

    def failure(self) -> LookalikeError:
        """Why it ended, in a sentence."""
        if not self.is_ready() and self._heard:
            with suppress(Exception):
                error = pickle.loads(self._heard)
                assert isinstance(error, LookalikeError)
                return error
        code = self.process.returncode
        return Unavailable(f"A worker ended by itself (exit code {code}); see the lines above for why.")

    def end(self, timeout_s: float) -> None:
        """Waits until it has ended as it was told, and kills it where it does not."""
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            log.warning("A worker did not end within %.0f s and was killed.", timeout_s)
            self.process.kill()
            self.process.wait()
        self._close()

    def _close(self) -> None:
        if self._mouth >= 0:
            os.close(self._mouth)
            self._mouth = -1
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):
                self.process.stdin.close()


def _share_of_cores(count: int) -> dict[str, str]:
    """As many threads for each worker as keep all of them from having more than there are cores."""
    each = str(max(1, cores() // count))
    return {name: each for name in ("LOOKALIKE_THREADS", "OMP_NUM_THREADS") if name not in os.environ}


# --- In the worker's process -----------------------------------------------------------------------------------------


def main() -> NoReturn:
    """Follows the order that comes on standard input, until that ends or a signal comes."""
    sys.path[:] = pickle.load(sys.stdin.buffer)
    order, numbers, mouth = pickle.load(sys.stdin.buffer)
    lifeline = _keep_to_itself(numbers, mouth)
    stop = Event()
    with stopping(stop):
        Thread(target=_stop_with_parent, args=(lifeline, stop), name="parent", daemon=True).start()
        try:
            _answer(order, [socket(fileno=number) for number in numbers], mouth, stop)
        except LookalikeError as error:
            os.write(mouth, _picklable(error))
            _leave(1)
    _leave(0)


def _keep_to_itself(numbers: Sequence[int], mouth: int) -> int:
    """Hides from processes that this one starts what it was given by its own; where its order came from is returned."""
    for number in (*numbers, mouth):
        os.set_inheritable(number, False)
    lifeline = os.dup(sys.stdin.fileno())
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())
    os.close(nothing)
    return lifeline


def _answer(order: Order, sockets: Sequence[socket], mouth: int, stop: Event) -> None:
    with order.open_app() as app:
        server = HttpServer(
            app,
            sockets=sockets,
            threads=order.threads,
            queue=order.queue,
            max_request_bytes=order.max_request_bytes,
        )
        os.write(mouth, _SAY_READY)
        server.run(stop)


def _stop_with_parent(lifeline: int, stop: Event) -> None:
    os.read(lifeline, 1)  # nothing more is ever written
    stop.set()


def _picklable(error: LookalikeError) -> bytes:
    try:
        data = pickle.dumps(error)
        pickle.loads(data)
    except Exception:
        return pickle.dumps(Unavailable(str(error)))
    return data


def _leave(code: int) -> NoReturn:
    """Ends the process without waiting for threads that still answer what was given up."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
