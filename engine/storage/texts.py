"""Many strings as two arrays, so that a million of them cost their letters and not a million objects.

The arrays may be mapped files: `TextWriter` appends strings to such files, `Texts.open` maps them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.number[Any])

SMALL_OFFSETS_BELOW = 2**31  # bytes of text that Arrow's 32-bit offsets can address
FLUSHED_AFTER = 8192  # strings kept before they are written


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """String i is `data[offsets[i]:offsets[i + 1]]` in UTF-8: offsets int64 [n + 1], data uint8 [bytes]."""

    offsets: NDArray[np.int64]
    data: NDArray[np.uint8]

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Texts":
        """Strings in memory."""
        encoded = [text.encode() for text in texts]
        offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        return cls(offsets, np.frombuffer(b"".join(encoded), np.uint8))

    @classmethod
    def open(cls, stem: Path) -> "Texts":
        """Maps what a `TextWriter` wrote."""
        offsets_path, data_path = text_files(stem)
        return cls(map_array(offsets_path, np.int64), map_array(data_path, np.uint8))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, position: int) -> str:
        return self.data[self.offsets[position] : self.offsets[position + 1]].tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        return (self[position] for position in range(len(self)))

    def take(self, positions: NDArray[np.integer]) -> "Texts":
        """The strings at these positions, in this order, in memory."""
        starts = self.offsets[positions]
        lengths = self.offsets[positions + 1] - starts
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        # every string's bytes, one after the other: a running count, moved to where its string begins
        places = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        return Texts(offsets, self.data[places])

    def to_arrow(self, small_below: int = SMALL_OFFSETS_BELOW) -> pa.Array:
        """An Arrow column over the same bytes; 64-bit offsets only where 32 bits do not reach."""
        small = int(self.offsets[-1]) < small_below
        kind, width = (pa.string(), np.int32) if small else (pa.large_string(), np.int64)
        offsets = pa.py_buffer(np.ascontiguousarray(self.offsets, width))
        return pa.Array.from_buffers(kind, len(self), [None, offsets, pa.py_buffer(self.data)])


class TextWriter:
    """Appends strings to the two files of `stem`; use it in a `with`."""

    def __init__(self, stem: Path) -> None:
        offsets_path, data_path = text_files(stem)
        self._offsets = offsets_path.open("wb")
        self._data = data_path.open("wb")
        self._waiting: list[bytes] = []
        self._end = 0
        np.zeros(1, np.int64).tofile(self._offsets)

    def append(self, text: str) -> None:
        self._waiting.append(text.encode())
        if len(self._waiting) >= FLUSHED_AFTER:
            self._flush()

    def extend(self, texts: Sequence[str]) -> None:
        for text in texts:
            self.append(text)

    def _flush(self) -> None:
        ends = self._end + np.cumsum([len(text) for text in self._waiting], dtype=np.int64)
        if len(ends):
            ends.tofile(self._offsets)
            self._data.write(b"".join(self._waiting))
            self._end = int(ends[-1])
            self._waiting.clear()

    def __enter__(self) -> "TextWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._offsets.close()
        self._data.close()


def text_files(stem: Path) -> tuple[Path, Path]:
    """The files behind `Texts.open(stem)`: offsets and letters."""
    return stem.with_name(f"{stem.name}.offsets"), stem.with_name(f"{stem.name}.text")


def map_array(path: Path, kind: type[Number], width: int | None = None) -> NDArray[Number]:
    """A raw file of numbers, mapped: [n], or [n, width]; an empty file cannot be mapped and is an empty array."""
    shape = (-1,) if width is None else (-1, width)
    if not path.stat().st_size:
        return np.empty((0,) if width is None else (0, width), kind)
    return np.memmap(path, kind, "r").reshape(shape)
