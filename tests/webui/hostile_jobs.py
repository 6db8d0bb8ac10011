"""What a decoder process may be made to do: each is a job that a `DecodingPool` sends to a real child."""

import os
import resource
import signal
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Echo:
    """Gives the photo back."""

    sizes: range = range(1_000_000)

    def __call__(self, data: bytes, name: str) -> bytes:
        return data


@dataclass(frozen=True)
class Hang(Echo):
    """Never ends."""

    def __call__(self, data: bytes, name: str) -> bytes:
        while True:
            time.sleep(60)


@dataclass(frozen=True)
class Die(Echo):
    """Ends its process by a signal, as a decoder that writes where it must not."""

    number: int = signal.SIGKILL

    def __call__(self, data: bytes, name: str) -> bytes:
        os.kill(os.getpid(), self.number)
        time.sleep(60)
        return data


@dataclass(frozen=True)
class Leave(Echo):
    """Ends its process without a word."""

    def __call__(self, data: bytes, name: str) -> bytes:
        os._exit(0)


@dataclass(frozen=True)
class Devour(Echo):
    """Takes memory until there is none."""

    def __call__(self, data: bytes, name: str) -> bytes:
        taken = []
        while True:
            taken.append(b"x" * 1_000_000)


@dataclass(frozen=True)
class Stumble(Echo):
    """A mistake of ours."""

    def __call__(self, data: bytes, name: str) -> bytes:
        raise ZeroDivisionError(f"of {len(data)} bytes")


@dataclass(frozen=True)
class Exceed(Echo):
    """Answers with more than it may."""

    def __call__(self, data: bytes, name: str) -> bytes:
        return bytes(len(self.sizes) + 1)


@dataclass(frozen=True)
class Write(Echo):
    """Tries to leave the photo on the disk; says what came of it."""

    path: str = ""

    def __call__(self, data: bytes, name: str) -> bytes:
        try:
            Path(self.path).write_bytes(data)
        except OSError as error:
            return os.strerror(error.errno or 0).encode()
        return b"written"


@dataclass(frozen=True)
class CoreLimit(Echo):
    """Says how large a core dump may be, in bytes."""

    def __call__(self, data: bytes, name: str) -> bytes:
        return str(resource.getrlimit(resource.RLIMIT_CORE)).encode()
