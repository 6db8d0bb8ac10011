"""Vectors that exist already, by the sha256 of their photo: left in the files that hold them and found by bisection.

A content costs 16 bytes of memory, whatever its vector weighs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from indexer.journal import read_journal

Ints = NDArray[np.int64]
Contents = NDArray[np.uint8]

UNKNOWN = -1
AT_ONCE = 65536  # contents looked up together


@dataclass(frozen=True, slots=True)
class VectorFile:
    """A file of `rows` vectors float16 [rows, dim]: a `.npy`, or a journal. It can be sent to another process."""

    path: Path
    layout: Literal["npy", "journal"]
    rows: int
    dim: int

    def open(self) -> NDArray[np.float16]:
        """Maps the vectors."""
        if self.layout == "npy":
            vectors: NDArray[np.float16] = np.load(self.path, mmap_mode="r")
        else:
            vectors = read_journal(self.path, self.dim, checked=False)[: self.rows]["vector"]
        assert vectors.shape == (self.rows, self.dim), (self, vectors.shape)
        return vectors


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Known vectors: their contents, uint8 [rows, 32], mapped, and the file of the vectors in the same order."""

    contents: Contents
    file: VectorFile


@dataclass(frozen=True, slots=True)
class Known:
    """All sources; of a content that several have, the first one's vector counts."""

    sources: tuple[Source, ...] = ()

    @property
    def files(self) -> tuple[VectorFile, ...]:
        return tuple(source.file for source in self.sources)


def journal_source(path: Path, dim: int) -> Source:
    """What a journal holds, up to the first record that is not whole."""
    records = read_journal(path, dim)
    return Source(records["content"], VectorFile(path, "journal", len(records), dim))


class ContentIndex:
    """Which place, counted over all `parts`, a content has; parts are uint8 [n, 32] and stay where they are."""

    def __init__(self, parts: Sequence[Contents]) -> None:
        self._parts = tuple(parts)
        self._starts = np.cumsum([0, *map(len, parts)])
        keys = np.concatenate([np.empty(0, np.uint64), *map(_keys, parts)])
        self._places = np.argsort(keys, kind="stable")
        self._keys = keys[self._places]

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, wanted: Contents) -> Ints:
        """[n, 32] -> [n] places, -1 for contents that are unknown; the first place of one that comes twice."""
        places = np.full(len(wanted), UNKNOWN, np.int64)
        for start in range(0, len(wanted), AT_ONCE):
            block = slice(start, start + AT_ONCE)
            places[block] = self._find(np.asarray(wanted[block]))
        return places

    def _find(self, wanted: Contents) -> Ints:
        places = np.full(len(wanted), UNKNOWN, np.int64)
        keys = _keys(wanted)
        at = np.searchsorted(self._keys, keys)
        open_ = np.flatnonzero(at < len(self._keys))
        # eight bytes may be alike by chance or by somebody's effort, so those after them are looked at too
        while len(open_):
            open_ = open_[self._keys[at[open_]] == keys[open_]]
            candidates = self._places[at[open_]]
            same = (self._contents(candidates) == wanted[open_]).all(axis=1)
            places[open_[same]] = candidates[same]
            open_ = open_[~same]
            at[open_] += 1
            open_ = open_[at[open_] < len(self._keys)]
        return places

    def _contents(self, places: Ints) -> Contents:
        found = np.empty((len(places), 32), np.uint8)
        owners = np.searchsorted(self._starts, places, side="right") - 1
        for number in np.unique(owners):
            mine = owners == number
            found[mine] = self._parts[number][places[mine] - self._starts[number]]
        return found


@dataclass(frozen=True, eq=False)
class ScatteredVectors:
    """Rows of several files as if they were one array: row i is at `places[i]`, counted over all `files`."""

    files: tuple[VectorFile, ...]
    places: Ints

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, rows: slice | Ints) -> NDArray[np.float16]:
        places = np.asarray(self.places[rows])
        found = np.empty((len(places), self.files[0].dim), np.float16)
        owners = np.searchsorted(self._starts, places, side="right") - 1
        for number in np.unique(owners):
            mine = owners == number
            found[mine] = self._opened[number][places[mine] - self._starts[number]]
        return found

    def floats(self) -> NDArray[np.float32]:
        """All of them in float32, without a copy in between."""
        found = np.empty((len(self), self.files[0].dim), np.float32)
        for start in range(0, len(self), AT_ONCE):
            block = slice(start, start + AT_ONCE)
            found[block] = self[block]
        return found

    @cached_property
    def _starts(self) -> Ints:
        return np.cumsum([0, *(file.rows for file in self.files)])

    @cached_property
    def _opened(self) -> tuple[NDArray[np.float16], ...]:
        return tuple(file.open() for file in self.files)


def first_of_each(contents: Contents, positions: Ints) -> Ints:
    """Of `positions` into `contents` those with no equal content before them, rising.

    Contents that share their first eight bytes may all stay.
    """
    keys = np.concatenate([np.empty(0, np.uint64), *(_keys(contents[block]) for block in _pieces(positions))])
    order = np.argsort(keys, kind="stable")
    again = keys[order][1:] == keys[order][:-1]
    doubtful = np.flatnonzero(again)
    again[doubtful] = (contents[positions[order[doubtful + 1]]] == contents[positions[order[doubtful]]]).all(axis=1)
    kept = np.ones(len(positions), np.bool_)
    kept[order[1:][again]] = False
    return positions[kept]


def _pieces(positions: Ints) -> list[Ints]:
    return [positions[start : start + AT_ONCE] for start in range(0, len(positions), AT_ONCE)]


def _keys(contents: Contents) -> NDArray[np.uint64]:
    """The first eight bytes of each content as a number."""
    keys: NDArray[np.uint64] = np.ascontiguousarray(contents[:, :8]).view(">u8").ravel().astype(np.uint64)
    return keys
