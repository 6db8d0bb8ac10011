"""Photos decoded in processes of their own: what a hostile file can do to a decoder, it does there.

A few child processes wait, each at the end of a socket pair. A thread that has a photo borrows one, sends it the bytes
and waits for pixels. A child that crashes, hangs or runs out of its memory costs that photo, which is then a BadImage,
and is replaced by a fresh one; the server and the other photos do not notice. Children are forked from the fork server
of multiprocessing, which has the decoders loaded and none of this process's threads, files or connections.
"""

import atexit
import logging
import multiprocessing
import pickle
import socket
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.context import ForkServerContext
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from time import monotonic
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from engine.errors import BadImage, Busy, LookalikeError, Unavailable
from engine.settings import settings, thread_count
from engine.vision.preprocess import Corners, Preprocess
from webui.decoding_child import ANSWER, ORDER, SENTENCE_BYTES, Job, Outcome, PixelsJob, ThumbnailJob, follow_orders

log = logging.getLogger(__name__)

Floats = NDArray[np.float32]

START_S = 120.0  # seconds until a child must be ready: its libraries may have to come from a cold disk
AGAIN_AFTER_S = 1.0  # seconds until the next try to start a child, after one that failed
NAME = "photo decoder"  # of the children, for whoever lists processes
BUFFER = 1024 * 1024  # bytes a socket may hold, if the system allows: fewer turns between the two processes


class DecodingPool:
    """A `PhotoLoader` and maker of thumbnails whose decoders are child processes; safe to share between threads.

    To be made in the process that uses it, since children do not survive a fork, and to be closed.
    """

    def __init__(
        self,
        *,
        processes: int = 0,
        timeout_s: float | None = None,
        memory_bytes: int | None = None,
        on_death: Callable[[], object] = lambda: None,
    ) -> None:
        """`processes` 0 takes one for every thread to compute with, but two at least, so that one photo that hangs does
        not stop all.

        `timeout_s` (seconds for a photo, and for waiting until a child is free) and `memory_bytes` (what decoding may
        take) are by default what the settings say. `on_death` is called for each child that a photo, or somebody else,
        has ended, by the thread that noticed. Returns when all children are ready; raises Unavailable where they
        cannot be started.
        """
        found = settings()
        self.processes = processes or max(2, thread_count())
        self._on_death = on_death
        self._timeout_s = found.decode_timeout_s if timeout_s is None else timeout_s
        self._memory_bytes = found.decode_memory_bytes if memory_bytes is None else memory_bytes
        self._environment = {
            "LOOKALIKE_MAX_PHOTO_BYTES": str(found.max_photo_bytes),
            "LOOKALIKE_MAX_PHOTO_PIXELS": str(found.max_photo_pixels),
        }
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([follow_orders.__module__])
        self._idle: SimpleQueue[_Child] = SimpleQueue()
        self._children: set[_Child] = set()
        self._lock = Lock()
        self._closed = Event()
        atexit.register(self.close)  # before multiprocessing's own, which would wait for children that wait for orders
        try:
            for child in [self._start() for _ in range(self.processes)]:
                child.await_ready()
                self._idle.put(child)
        except (OSError, EOFError) as error:
            self.close()
            raise Unavailable(
                f"Photo decoders cannot be started ({error}); see what limits processes here, and that TMPDIR, where "
                "their socket lies, is a short path."
            ) from error

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the children, those included that are being started."""
        with self._lock:
            return tuple(sorted(child.pid for child in self._children))

    def __call__(self, data: bytes, name: str, preprocess: Preprocess, box: Corners | None = None) -> Floats:
        """A photo file's bytes -> float32 [3, size, size]; only the part in `box` where one is given.

        Raises BadImage, naming `name`, also where the photo crashes its decoder, takes too long or too much memory;
        Busy where no decoder was free for as long as a photo may take.
        """
        pixels = self.run(PixelsJob(preprocess, box), data, name)
        return preprocess.normalised(np.frombuffer(pixels, np.uint8).reshape(preprocess.size, preprocess.size, 3))

    def thumbnail(self, data: bytes, name: str, side: int) -> bytes:
        """The picture as a JPEG whose longer side has at most `side` pixels; raises what a call does."""
        return bytes(self.run(ThumbnailJob(side), data, name))

    def run(self, job: Job, data: bytes, name: str) -> bytearray:
        """What `job` makes of a photo's bytes in a child; `name` is what errors call it. Raises what a call does."""
        child = self._borrow()
        try:
            outcome, result = child.carry_out(job, data, name, self._timeout_s)
        except BaseException as error:
            self._replace(child)
            raise self._mishap(error, name) or error from None
        if outcome in (Outcome.DONE, Outcome.REFUSED):
            self._give_back(child)
        else:
            self._replace(child)
        if outcome is Outcome.DONE:
            return result
        raise BadImage(_sentence(outcome, result, name))

    def close(self) -> None:
        """Ends the children; photos that are being decoded, and all that come later, raise Unavailable."""
        atexit.unregister(self.close)
        with self._lock:
            self._closed.set()
            for child in self._children:
                child.kill()
        with suppress(Empty):
            while True:
                self._end(self._idle.get_nowait())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _borrow(self) -> "_Child":
        deadline = monotonic() + self._timeout_s
        while not self._closed.is_set():
            try:
                child = self._idle.get(timeout=max(deadline - monotonic(), 0.001))
            except Empty:
                raise Busy(f"All {self.processes} photo decoders are taken; try again in a moment.") from None
            if child.alive():
                return child
            self._replace(child)  # ended while it had nothing to do, so not by a photo
        raise Unavailable("The photo decoders were stopped; start the server again.")

    def _mishap(self, error: BaseException, name: str) -> LookalikeError | None:
        """What the caller is told when an exchange broke off; None for what has nothing to do with the photo."""
        if not isinstance(error, (OSError, EOFError)):
            return None
        if self._closed.is_set():
            return Unavailable("The photo decoders were stopped; start the server again.")
        if isinstance(error, TimeoutError):
            limit = f"{self._timeout_s:g} seconds"
            return BadImage(f"{name} takes more than {limit} to decode; send a smaller picture, or save it anew.")
        return BadImage(f"{name} is damaged: it ends its decoder; save it anew, or send another picture.")

    def _give_back(self, child: "_Child") -> None:
        with self._lock:
            if not self._closed.is_set():
                self._idle.put(child)
                return
        self._end(child)

    def _replace(self, child: "_Child") -> None:
        """Ends a child and starts another, which joins the idle ones when it is ready; returns at once."""
        self._end(child)
        if not self._closed.is_set():
            self._on_death()
            Thread(target=self._start_another, name="start photo decoder", daemon=True).start()

    def _end(self, child: "_Child") -> None:
        with self._lock:
            self._children.discard(child)
        child.end()

    def _start_another(self) -> None:
        while not self._closed.is_set():
            try:
                child = self._start()
            except OSError as error:
                log.warning("A photo decoder cannot be started, which is tried again: %s", error)
                self._closed.wait(AGAIN_AFTER_S)
                continue
            try:
                child.await_ready()
            except (OSError, EOFError):
                self._end(child)
            else:
                self._give_back(child)
                return

    def _start(self) -> "_Child":
        with self._lock:  # multiprocessing keeps a list of its own that is not made for threads
            child = _Child(self._context, self._memory_bytes, self._environment)
            self._children.add(child)
            if self._closed.is_set():
                child.kill()  # `close` has passed by
            return child


class _Child:
    """A decoder process and this side of its socket. For one thread at a time, but for `kill`."""

    def __init__(self, context: ForkServerContext, memory_bytes: int, environment: dict[str, str]) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            for end in (self._socket, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            arguments = (theirs, memory_bytes, environment)
            self._process = context.Process(target=follow_orders, args=arguments, name=NAME, daemon=True)
            self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None  # it was started
        return self._process.pid

    def await_ready(self) -> None:
        """Raises OSError or EOFError where the child does not get that far."""
        self._receive_answer(range(1), monotonic() + START_S)

    def alive(self) -> bool:
        return self._process.is_alive()

    def carry_out(self, job: Job, data: bytes, name: str, timeout_s: float) -> tuple[Outcome, bytearray]:
        """Raises TimeoutError, and OSError or EOFError where the child ends or answers what it cannot."""
        deadline = monotonic() + timeout_s
        order = pickle.dumps((job, name))
        self._allow_until(deadline)
        self._socket.sendall(ORDER.pack(len(order), len(data)) + order)
        self._allow_until(deadline)
        self._socket.sendall(data)
        return self._receive_answer(job.sizes, deadline)

    def kill(self) -> None:
        """Ends the process, whatever it does; who waits for its answer gets EOFError. For any thread."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        if self._process.is_alive():
            self._process.kill()

    def end(self) -> None:
        """Ends the process and lets go of it. Only for the thread that has the child."""
        self.kill()
        self._process.join()
        self._socket.close()

    def _receive_answer(self, sizes: range, deadline: float) -> tuple[Outcome, bytearray]:
        code, size = ANSWER.unpack(self._receive(ANSWER.size, deadline))
        if code not in set(Outcome):
            raise EOFError("an answer that no decoder gives")
        outcome = Outcome(code)
        if size not in (sizes if outcome is Outcome.DONE else range(SENTENCE_BYTES + 1)):
            raise EOFError("an answer of a length that it cannot have")
        return outcome, self._receive(size, deadline)

    def _receive(self, size: int, deadline: float) -> bytearray:
        data = bytearray(size)
        view, filled = memoryview(data), 0
        while filled < size:
            self._allow_until(deadline)
            count = self._socket.recv_into(view[filled:])
            if count == 0:
                raise EOFError("the decoder has ended")
            filled += count
        return data

    def _allow_until(self, deadline: float) -> None:
        left = deadline - monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)


def _sentence(outcome: Outcome, result: bytearray, name: str) -> str:
    """What the caller is told of a photo that gave no result."""
    if outcome is Outcome.REFUSED:
        return result.decode(errors="replace")
    if outcome is Outcome.OUT_OF_MEMORY:
        return f"{name} takes more memory to decode than is allowed; send a smaller picture, or save it anew."
    log.error("A photo was refused because its decoder failed:\n%s", result.decode(errors="replace"))
    return f"{name} cannot be decoded; save it anew, or send another picture."
