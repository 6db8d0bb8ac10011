"""The rows of all shards as one gallery that is searched exactly: the oracle that `tune` measures against.

However many rows there are, every vector is read once for all questions together, and whoever has to compare each of
them takes a `Sample`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.storage.halves import widen
from engine.storage.ivf import Floats, Ints, Quantizer, allow
from engine.storage.shard import Shard

ROWS = 16384  # brought to float32 at a time: few enough to stay near a core
SAMPLE = 2**20  # photos that stand for all of them where every one is compared
COSINES = 2**25  # held at a time: 128 MiB, whatever the catalogue's size
TIE = 1e-5  # cosines nearer than this are the same: sums are taken in different orders


class Gallery:
    """All rows of all shards, numbered through: those of shard s begin at `starts[s]`."""

    def __init__(self, quantizer: Quantizer, shards: Sequence[Shard], products: int) -> None:
        self.quantizer = quantizer
        self.shards = shards
        self.products = products
        self.starts: Ints = np.cumsum([0] + [shard.rows for shard in shards])
        self.rows = int(self.starts[-1])
        self.ordinals: NDArray[np.int32] = np.concatenate([shard.ordinals for shard in shards])
        numbers = np.arange(quantizer.lists, dtype=np.int32)
        self.lists: NDArray[np.int32] = np.concatenate(
            [np.repeat(numbers, np.diff(shard.list_offsets)) for shard in shards]
        )

    def vectors(self, rows: Ints) -> Floats:
        """[n] rows -> [n, dim]."""
        found = np.empty((len(rows), self.quantizer.dim), np.float32)
        owners = np.searchsorted(self.starts, rows, side="right") - 1
        for number, shard in enumerate(self.shards):
            mine = owners == number
            found[mine] = widen(np.asarray(shard.vectors[rows[mine] - self.starts[number]]))
        return found

    def _blocks(self) -> Iterator[tuple[int, Floats]]:
        """All vectors in blocks, each with the number of its first row."""
        for begin, shard in zip(self.starts, self.shards, strict=False):
            for start in range(0, shard.rows, ROWS):
                yield int(begin) + start, widen(shard.read_through(start, start + ROWS))

    def best_products(self, queries: Floats, without: Ints, at: int) -> Floats:
        """[q, dim] -> [q, at], falling: the cosines of the best photos of the best `at` products, -inf where there are
        fewer; the row `without` [q] is left out of each query's gallery.

        The vectors are read once, a block at a time: of every block only the best products stay.
        """
        best = [(np.empty(0, np.float32), np.empty(0, np.int32)) for _ in queries]
        worst = np.full(len(queries), -np.inf, np.float32)  # of the best so far: little of a block is better
        for start, block in self._blocks():
            cosines = queries @ block.T
            inside = np.flatnonzero((without >= start) & (without < start + len(block)))
            cosines[inside, without[inside] - start] = -np.inf
            ordinals = self.ordinals[start : start + len(block)]
            for number in np.flatnonzero(cosines.max(axis=1) > worst):
                near = np.flatnonzero(cosines[number] > worst[number])
                known, owners = best[number]
                known = np.concatenate([known, cosines[number, near]])
                known, owners = _best_distinct(known, np.concatenate([owners, ordinals[near]]), at)
                best[number] = known, owners
                if len(known) == at:
                    worst[number] = known[-1]
        found = np.full((len(queries), at), -np.inf, np.float32)
        for row, (known, _) in zip(found, best, strict=True):
            row[: len(known)] = known
        return found

    def scan(self, queries: Floats, nprobe: int, depth: int) -> Ints:
        """[q, dim] -> [q, depth]: the rows with the best codes in the nearest lists, best first; -1 pads."""
        similarities, lists = self.quantizer.nearest(queries, nprobe)
        scores, rows = [], []
        for begin, shard in zip(self.starts, self.shards, strict=False):
            shard_scores, shard_rows = shard.codes.scan(queries, lists, similarities, depth)
            scores.append(np.where(shard_rows < 0, -np.inf, shard_scores))
            rows.append(np.where(shard_rows < 0, -1, shard_rows + begin))
        best = np.argsort(-np.concatenate(scores, axis=1), axis=1, kind="stable")[:, :depth]
        return np.take_along_axis(np.concatenate(rows, axis=1), best, axis=1)

    def scores(self, query: Floats, rows: Ints) -> tuple[Floats, Ints]:
        """What the codes of these rows say about one query [1, dim]: scores [n] and the rows [n], in another order."""
        lists = np.unique(self.lists[rows])[None].astype(np.int64)
        similarities = self.quantizer.similarities(query)[:, lists[0]]
        scores, found = [], []
        for begin, shard in zip(self.starts, self.shards, strict=False):
            mine = rows[(rows >= begin) & (rows < begin + shard.rows)] - begin
            allowed = np.zeros(shard.rows, np.bool_)
            allowed[mine] = True
            shard_scores, shard_rows = shard.codes.scan(query, lists, similarities, len(mine), allow(allowed))
            scores.append(shard_scores[shard_rows >= 0])
            found.append(shard_rows[shard_rows >= 0] + begin)
        return np.concatenate(scores), np.concatenate(found)


class Sample:
    """Photos of a gallery, all those of some products: enough of them to calibrate on, however many there are.

    `rows` [n] of the gallery, rising; `lists` [n] they are in; `owners` [n] their products, numbered 0 to `products`.
    """

    def __init__(self, gallery: Gallery, rows: Ints) -> None:
        self.gallery = gallery
        self.rows = rows
        self.lists: NDArray[np.int32] = gallery.lists[rows]
        ordinals, owners = np.unique(gallery.ordinals[rows], return_inverse=True)
        self.products = len(ordinals)
        self.owners: NDArray[np.int32] = owners.astype(np.int32)
        self._by_product = np.argsort(self.owners, kind="stable")
        self._first = np.searchsorted(self.owners, np.arange(self.products), sorter=self._by_product)

    @classmethod
    def draw(cls, gallery: Gallery, rng: np.random.Generator, size: int = SAMPLE) -> "Sample":
        """About `size` photos, or all where there are no more; of products drawn at random."""
        chosen = rng.random(gallery.products) < size / max(gallery.rows, 1)
        return cls(gallery, np.flatnonzero(chosen[gallery.ordinals]))

    def __len__(self) -> int:
        return len(self.rows)

    def cosines(self, queries: Floats) -> Iterator[Floats]:
        """[q, dim] -> the exact cosines [n] of each query in turn."""
        at_once = max(1, COSINES // max(len(self), 1))
        for first in range(0, len(queries), at_once):
            asked = queries[first : first + at_once]
            found = np.empty((len(asked), len(self)), np.float32)
            for start in range(0, len(self), ROWS):
                block = self.gallery.vectors(self.rows[start : start + ROWS])
                np.matmul(asked, block.T, out=found[:, start : start + ROWS])
            yield from found

    def best_by_product(self, cosines: Floats) -> Floats:
        """[n] -> [products]: the cosine of each product's best photo."""
        best: Floats = np.maximum.reduceat(cosines[self._by_product], self._first)
        return best


def _best_distinct(cosines: Floats, ordinals: NDArray[np.int32], at: int) -> tuple[Floats, NDArray[np.int32]]:
    """The best photos of the best `at` products among [n] photos, best first, and those products."""
    look = 4 * at
    while True:
        nearest = np.argpartition(-cosines, look - 1)[:look] if look < len(cosines) else np.arange(len(cosines))
        nearest = nearest[np.argsort(-cosines[nearest], kind="stable")]
        nearest = nearest[np.isfinite(cosines[nearest])]
        first = np.sort(np.unique(ordinals[nearest], return_index=True)[1])
        if len(first) >= at or look >= len(cosines):
            chosen = nearest[first[:at]]
            return cosines[chosen], ordinals[chosen]
        look *= 4


@dataclass(frozen=True, slots=True)
class Truth:
    """The exact answer to one query: the `wanted` best products have their best photos at `floor` or nearer."""

    wanted: int
    floor: float

    @classmethod
    def of(cls, best: Floats, at: int) -> "Truth":
        """From the cosines of the products, or of the best of them, [n], -inf where one does not count."""
        wanted = min(at, int(np.isfinite(best).sum()))
        return cls(wanted, float(-np.partition(-best, wanted - 1)[wanted - 1]) if wanted else np.inf)

    def recall(self, cosines: Floats, ordinals: NDArray[np.int32]) -> float:
        """The share of the wanted products among the photos found: their cosines and products, [n]."""
        found = np.unique(ordinals[cosines >= self.floor - TIE])
        return min(len(found), self.wanted) / self.wanted


@dataclass(frozen=True, slots=True, eq=False)
class Questions:
    """Photos of the gallery that ask, each left out of its own gallery: rows [q], vectors [q, dim], exact answers."""

    rows: Ints
    vectors: Floats
    truths: tuple[Truth, ...]

    @classmethod
    def ask(cls, gallery: Gallery, rows: Ints, at: int) -> "Questions":
        """Answers `rows` exactly; photos without any other to find are left out."""
        vectors = gallery.vectors(rows)
        truths = [Truth.of(best, at) for best in gallery.best_products(vectors, rows, at)]
        asked = np.array([truth.wanted > 0 for truth in truths], bool)
        return cls(rows[asked], vectors[asked], tuple(truth for truth in truths if truth.wanted))

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, begin: int, end: int) -> "Questions":
        """The questions from `begin` to before `end`."""
        return Questions(self.rows[begin:end], self.vectors[begin:end], self.truths[begin:end])
