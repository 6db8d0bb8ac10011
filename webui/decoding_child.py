"""What runs inside a decoder process: one order after the other, under limits, until it is told to end or is killed.

The process reads orders from its socket, a pickle each, for they come from the server. What it sends back is a byte
that says how it went and then bare bytes, never a pickle: a photo that took this process over could otherwise run its
own code in the server. It keeps no photo longer than its order, cannot write a file and leaves no core dump.
"""

import os
import pickle
import signal
import socket
import struct
import traceback
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Protocol

# imported for being there already when a process is forked: Pillow would load them with the first photo of each kind
from PIL import JpegImagePlugin, PngImagePlugin, WebPImagePlugin  # noqa: F401

from engine.errors import BadImage
from engine.settings import settings
from engine.vision.preprocess import Corners, Preprocess, load_pixels
from webui.thumbnails import thumbnail

ORDER = struct.Struct("!II")  # bytes of the pickled job and name, bytes of the photo
ANSWER = struct.Struct("!BI")  # how it went, bytes of what follows
THUMBNAIL_BYTES = 16 * 1024 * 1024  # more than a JPEG of the largest side has
SENTENCE_BYTES = 4096
OPEN_FILES = 32  # a decoder needs its socket and whatever Python has open


class Outcome(IntEnum):
    """How an order went; after the last two the process ends, since nobody knows what state it is in."""

    READY = 0  # sent once, before the first order
    DONE = 1  # the result follows
    REFUSED = 2  # a sentence follows: no picture that is accepted
    OUT_OF_MEMORY = 3
    FAILED = 4  # a traceback follows: a mistake of ours, or of a library


class Job(Protocol):
    """What to do with a photo's bytes; can be pickled."""

    @property
    def sizes(self) -> range:
        """How many bytes a result may have."""

    def __call__(self, data: bytes, name: str) -> bytes:
        """Raises BadImage."""


@dataclass(frozen=True, slots=True)
class PixelsJob:
    """A photo -> uint8 [size, size, 3], what `Preprocess.normalised` takes."""

    preprocess: Preprocess
    box: Corners | None = None

    @property
    def sizes(self) -> range:
        exactly = self.preprocess.size**2 * 3
        return range(exactly, exactly + 1)

    def __call__(self, data: bytes, name: str) -> bytes:
        return load_pixels(data, name, self.preprocess, self.box).tobytes()


@dataclass(frozen=True, slots=True)
class ThumbnailJob:
    """A photo -> a JPEG whose longer side has at most `side` pixels."""

    side: int

    @property
    def sizes(self) -> range:
        return range(1, THUMBNAIL_BYTES)

    def __call__(self, data: bytes, name: str) -> bytes:
        return thumbnail(data, name, self.side)


def follow_orders(connection: socket.socket, memory_bytes: int, environment: dict[str, str]) -> None:
    """Works until `connection` is closed; `memory_bytes` is what orders may take beside what the process has now.

    `environment` has the server's settings: they may come from other places than variables, which is all that a process
    of its own would see.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # may be sent to all processes, but the server's requests come first
        signal.signal(number, signal.SIG_IGN)
    os.environ.update(environment)
    settings.cache_clear()
    settings()  # read now: what cannot be read must not look like a photo's fault
    _confine(memory_bytes)
    connection.settimeout(None)
    connection.sendall(ANSWER.pack(Outcome.READY, 0))
    with suppress(ConnectionError):  # the server has gone
        while (order := _read(connection, ORDER.size)) is not None:
            pickled, photo = (_read(connection, size) for size in ORDER.unpack(order))
            if pickled is None or photo is None:
                return
            outcome, result = _carry_out(pickled, photo)
            connection.sendall(ANSWER.pack(outcome, len(result)) + result)
            if outcome > Outcome.REFUSED:
                return


def _carry_out(pickled: bytes, photo: bytes) -> tuple[Outcome, bytes]:
    try:
        job, name = pickle.loads(pickled)
        return Outcome.DONE, job(photo, name)
    except BadImage as error:
        return Outcome.REFUSED, str(error).encode(errors="replace")[:SENTENCE_BYTES]
    except MemoryError:
        return Outcome.OUT_OF_MEMORY, b""
    except Exception:
        return Outcome.FAILED, traceback.format_exc().encode(errors="replace")[-SENTENCE_BYTES:]


def _read(connection: socket.socket, size: int) -> bytes | None:
    """Exactly so many bytes, None where the other side has closed."""
    data = bytearray(size)
    view, filled = memoryview(data), 0
    while filled < size:
        count = connection.recv_into(view[filled:])
        if count == 0:
            return None
        filled += count
    return bytes(data)


def _confine(memory_bytes: int) -> None:
    """Limits this process, once it has all it needs."""
    import resource

    def limit(what: int, amount: int) -> None:
        _, most = resource.getrlimit(what)
        least = amount if most == resource.RLIM_INFINITY else min(amount, most)
        resource.setrlimit(what, (least, least))

    with suppress(OSError):  # where the machine itself runs out of memory, this process should go before the server
        Path("/proc/self/oom_score_adj").write_text("1000")
    limit(resource.RLIMIT_CORE, 0)  # a core dump would be a photo on a disk
    limit(resource.RLIMIT_FSIZE, 0)
    limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    with suppress(OSError):  # only Linux tells what is taken already, and only there the limit is kept
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit(resource.RLIMIT_AS, pages * resource.getpagesize() + memory_bytes)
