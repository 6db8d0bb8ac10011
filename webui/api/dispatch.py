"""Which thread answers what: so many requests at a time, so many that wait, and what is more is refused at once.

Refusals, and questions after the server's health, are answered by a thread of their own: a server that is busy must go
on saying so.
"""

import logging
from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING

from waitress.task import ThreadedTaskDispatcher

if TYPE_CHECKING:
    from webui.api.channel import Channel

log = logging.getLogger(__name__)

TELL_EVERY_S = 60.0  # seconds between two lines of the log about refusals


class _Threads(ThreadedTaskDispatcher):  # type: ignore[misc]  # waitress has no types
    """So many threads that answer; how many requests wait is nothing to tell of, since they are bounded."""

    queue_logger = logging.Logger("silent", logging.CRITICAL)

    def __init__(self, count: int) -> None:
        super().__init__()
        self.set_thread_count(count)

    def take_waiting(self) -> list["_Task"]:
        """What no thread has begun, which is from now on the caller's."""
        with self.lock:
            tasks = list(self.queue)
            self.queue.clear()
            return tasks


class Dispatcher:
    """Hands the requests of channels to threads: `threads` are answered at once, `queue` more may wait.

    `urgent` tells from a path which requests never wait behind others. Only the event loop and the answering threads
    call this.
    """

    def __init__(self, threads: int, queue: int, urgent: Callable[[str], bool]) -> None:
        self._room = threads + queue
        self._urgent = urgent
        self._work = _Threads(threads)
        self._aside = _Threads(1)
        self._lock = Lock()
        self._inside = 0  # requests that wait or are being answered
        self._refused = 0
        self._told = -TELL_EVERY_S

    @property
    def inside(self) -> int:
        """Requests that wait or are being answered by the working threads."""
        return self._inside

    def add_task(self, channel: "Channel") -> None:
        """Has the first request of `channel` answered, or refused where too many wait."""
        request = channel.requests[0]
        if request.error is not None or self._urgent(request.path):
            self._aside.add_task(channel)
            return
        with self._lock:
            full = self._inside >= self._room
            if not full:
                self._inside += 1
        if full:
            self._refuse(channel)
        else:
            self._work.add_task(_Task(channel, self._left))

    def refuse_waiting(self) -> None:
        """Refuses all that no thread has begun to answer, and whatever comes from now on."""
        self._room = 0
        for task in self._work.take_waiting():
            self._left()
            self._refuse(task.channel)

    def shutdown(self, timeout_s: float) -> None:
        """Ends the threads, after what they answer now or `timeout_s`; what still waits is dropped."""
        deadline = monotonic() + timeout_s
        self._work.shutdown(timeout=timeout_s)
        self._aside.shutdown(timeout=max(deadline - monotonic(), 0.1))

    def _refuse(self, channel: "Channel") -> None:
        channel.refuse()
        self._refused += 1
        if monotonic() - self._told >= TELL_EVERY_S:
            self._told = monotonic()
            log.warning("More requests came than can be answered or wait: %d refused with 503 so far.", self._refused)
        self._aside.add_task(channel)

    def _left(self) -> None:
        with self._lock:
            self._inside -= 1


class _Task:
    """A channel's turn; `left` is called when it is over."""

    def __init__(self, channel: "Channel", left: Callable[[], None]) -> None:
        self.channel = channel
        self._left = left

    def service(self) -> None:
        try:
            self.channel.service()
        finally:
            self._left()

    def cancel(self) -> None:
        self._left()
        self.channel.cancel()
