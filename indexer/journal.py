"""Vectors in the order in which they were computed: a file that is only ever appended to.

Each record carries a sum of itself, so whatever a kill or a power cut left at the end is seen and left out. This is why
a build that was killed does not embed again what it had embedded.
"""

from pathlib import Path
from types import TracebackType
from typing import Self
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from engine.storage.files import sync

AT_ONCE = 4096  # records checked together


def record_type(dim: int) -> np.dtype[np.void]:
    """A record: the sha256 of the photo's file, its vector, and the CRC-32 of both."""
    return np.dtype([("content", np.uint8, (32,)), ("vector", np.float16, (dim,)), ("sum", "<u4")])


class JournalWriter:
    """Appends vectors to a new file; what `append` returned from is on the disk. Use it in a `with`."""

    def __init__(self, path: Path, dim: int) -> None:
        self._type = record_type(dim)
        self._file = path.open("xb")
        sync(path.parent)
        self._path = path

    def append(self, contents: list[bytes], vectors: NDArray[np.floating]) -> None:
        """`vectors` [n, dim] of the n contents, 32 bytes each."""
        records = np.zeros(len(contents), self._type)
        records["content"] = np.frombuffer(b"".join(contents), np.uint8).reshape(-1, 32)
        records["vector"] = vectors
        records["sum"] = _sums(records)
        self._file.write(records.tobytes())
        self._file.flush()
        sync(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def read_journal(path: Path, dim: int, *, checked: bool = True) -> NDArray[np.void]:
    """The records of a journal, mapped, up to the first that is not whole."""
    kind = record_type(dim)
    count = path.stat().st_size // kind.itemsize
    if not count:
        return np.empty(0, kind)
    records: NDArray[np.void] = np.memmap(path, kind, "r", shape=(count,))
    if checked:
        for start in range(0, count, AT_ONCE):
            block = records[start : start + AT_ONCE]
            wrong = np.flatnonzero(_sums(block) != block["sum"])
            if len(wrong):
                return records[: start + int(wrong[0])]
    return records


def _sums(records: NDArray[np.void]) -> NDArray[np.uint32]:
    size = records.dtype.itemsize - 4
    # a record of zeros, as a power cut may leave it, must not have a sum of zero
    return np.array([crc32(record.tobytes()[:size], 1) for record in records], np.uint32)
