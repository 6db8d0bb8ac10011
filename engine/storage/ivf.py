"""The one wrapper round FAISS: a quantizer shared by all shards, and the PQ codes of one shard.

Codes are IVF with residual 4-bit PQ in fast-scan layout. Vectors are L2-normalised and everything is an inner product,
so similarities of shards compare directly and the coarse step is done once for all of them.

The vectors of a shard are added in the order of their lists, so that FAISS's ids are the row numbers and no map is
needed. FAISS loads the codes into memory (fast-scan lists cannot be mapped); vectors and rows are mapped by others.
"""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import DamagedFile
from engine.storage.files import replacing

# OpenMP reads this once, as it loads: its threads must not spin on cores that others (decoders, the encoder) want
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import faiss

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

THREADS: int = faiss.omp_get_max_threads()
BLOCK = 16384  # vectors assigned at a time: bounds the memory of float32 copies


class Quantizer:
    """The coarse centroids of the inverted lists and the trained codec; immutable and shared between threads."""

    def __init__(self, trained: faiss.IndexIVFPQFastScan, codec: str) -> None:
        assert trained.is_trained and trained.ntotal == 0 and trained.by_residual
        self._trained = trained
        self.codec = codec
        self.dim: int = trained.d
        self.lists: int = trained.nlist

    @classmethod
    def open(cls, path: Path, codec: str) -> "Quantizer":
        """Reads `quantizer.faiss`. Raises DamagedFile."""
        try:
            return cls(faiss.read_index(str(path)), codec)
        except (RuntimeError, AttributeError, AssertionError) as wrong:
            raise _damaged(path, wrong) from None

    def save(self, path: Path) -> None:
        """Writes `quantizer.faiss`."""
        with replacing(path) as partial:
            faiss.write_index(self._trained, str(partial))

    def nearest(self, queries: Floats, n: int) -> tuple[Floats, Ints]:
        """[q, dim] -> similarities [q, n], lists [q, n], nearest first; n is cut to the number of lists."""
        _use_threads(len(queries))
        similarities, lists = self._trained.quantizer.search(_rows(queries), min(n, self.lists))
        return similarities, lists

    def assign(self, vectors: NDArray[np.floating]) -> Ints:
        """[n, dim] -> the list of each vector, [n]; float16 and mapped arrays are read a block at a time."""
        lists = np.empty(len(vectors), np.int64)
        for start in range(0, len(vectors), BLOCK):
            block = slice(start, start + BLOCK)
            lists[block] = self.nearest(np.asarray(vectors[block], np.float32), 1)[1][:, 0]
        return lists

    def empty_codes(self) -> "ShardCodes":
        """Codes of a shard without rows, to be filled with `add` and saved."""
        return ShardCodes(self)


class ShardCodes:
    """The inverted lists of one shard: PQ codes whose ids are the rows 0..n-1."""

    def __init__(self, quantizer: Quantizer) -> None:
        trained = quantizer._trained
        index = faiss.IndexIVFPQFastScan(
            trained.quantizer, trained.d, trained.nlist, trained.pq.M, 4, faiss.METRIC_INNER_PRODUCT, trained.bbs
        )
        index.by_residual = True
        index.pq = trained.pq
        index.is_trained = True
        self._index = index
        self._quantizer = quantizer  # the index points at its centroids without owning them

    @classmethod
    def open(cls, path: Path, quantizer: Quantizer) -> "ShardCodes":
        """Reads `shard-NNNN.faiss` into memory. Raises DamagedFile."""
        codes = cls(quantizer)
        try:
            lists = faiss.downcast_InvertedLists(faiss.read_InvertedLists(faiss.FileIOReader(str(path))))
        except RuntimeError as wrong:
            raise _damaged(path, wrong) from None
        if lists.nlist != quantizer.lists or lists.code_size != codes._index.invlists.code_size:
            raise _damaged(path, "its lists are those of another quantizer")
        codes._index.replace_invlists(lists, True)
        lists.this.disown()  # the index frees them now
        codes._index.ntotal = lists.compute_ntotal()
        return codes

    def save(self, path: Path) -> None:
        """Writes `shard-NNNN.faiss`: the lists alone, since the quantizer is in a file of its own."""
        with replacing(path) as partial:
            writer = faiss.FileIOWriter(str(partial))
            faiss.write_InvertedLists(self._index.invlists, writer)
            del writer  # closes the file

    @property
    def rows(self) -> int:
        """The number of photos."""
        rows: int = self._index.ntotal
        return rows

    def list_sizes(self) -> Ints:
        """[lists] rows in each list."""
        lists = self._index.invlists
        return np.array([lists.list_size(number) for number in range(lists.nlist)], np.int64)

    def ids(self, number: int) -> Ints:
        """The rows of one list; consecutive by construction."""
        lists = self._index.invlists
        size = lists.list_size(number)
        return faiss.rev_swig_ptr(lists.get_ids(number), size).copy() if size else np.empty(0, np.int64)

    def add(self, vectors: Floats) -> None:
        """Appends [n, dim] as the next n rows. They must come in list order over all calls."""
        _use_threads(len(vectors))
        self._index.add(_rows(vectors))

    def scan(
        self,
        queries: Floats,
        lists: Ints,
        similarities: Floats,
        depth: int,
        allowed: NDArray[np.bool_] | None = None,
    ) -> tuple[Floats, Ints]:
        """The `depth` rows with the best codes in the given lists of each query, best first.

        `queries` [q, dim]; `lists` [q, n], -1 for a list to skip; `similarities` [q, n] of the queries to those
        lists' centroids, both as `Quantizer.nearest` gives them; `allowed` [rows] leaves only rows that are True.
        Returns scores [q, depth], the inner products with the coded vectors, and rows [q, depth]; -1 pads the rows
        where fewer were found. Safe from many threads at once.
        """
        queries, lists, similarities = _rows(queries), np.ascontiguousarray(lists, np.int64), _rows(similarities)
        count, nprobe = lists.shape
        assert queries.shape == (count, self._index.d) and similarities.shape == lists.shape
        if depth == 0:
            return np.empty((count, 0), np.float32), np.empty((count, 0), np.int64)
        scores = np.empty((count, depth), np.float32)
        rows = np.empty((count, depth), np.int64)
        bits = None if allowed is None else np.packbits(allowed, bitorder="little")
        selector = None if bits is None else faiss.IDSelectorBitmap(bits)
        _use_threads(count)
        # the Python `search_preassigned` takes no parameters, and setting nprobe on the shared index would race
        self._index.search_preassigned_c(
            count,
            faiss.swig_ptr(queries),
            depth,
            faiss.swig_ptr(lists),
            faiss.swig_ptr(similarities),
            faiss.swig_ptr(scores),
            faiss.swig_ptr(rows),
            False,
            faiss.SearchParametersIVF(nprobe=nprobe, sel=selector),
            None,
        )
        return scores, rows


def _use_threads(queries: int) -> None:
    """OpenMP's setting is per calling thread; one query is done sooner than handed over to another thread."""
    faiss.omp_set_num_threads(1 if queries == 1 else THREADS)


def _rows(vectors: NDArray[np.floating]) -> Floats:
    return np.ascontiguousarray(vectors, np.float32)


def _damaged(path: Path, wrong: object) -> DamagedFile:
    reason = str(wrong).rsplit("Error: ", maxsplit=1)[-1]
    return DamagedFile(f"{path} cannot be read ({reason}); rebuild the index with `lookalike index`.")
