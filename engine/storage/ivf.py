"""FAISS wrapped (its scan of mapped rows is in `flat.py`): a quantizer that all shards share, and one shard's codes.

Codes are IVF with residuals: 4-bit PQ in fast-scan layout by default, or another of `indexer.quantizer.Representation`.
Vectors are L2-normalised and everything is an inner product, so similarities of shards compare directly and the coarse
step is done once for all of them.

The vectors of a shard are added in the order of their lists, so that FAISS's ids are the row numbers and no map is
needed. FAISS loads the codes into memory (fast-scan lists cannot be mapped); vectors and rows are mapped by others.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from pathlib import Path
from threading import local

import numpy as np
from numpy.typing import NDArray

from engine.errors import DamagedFile
from engine.storage.files import replacing
from engine.storage.halves import widen

# OpenMP reads this once, as it loads: its threads must not spin on cores that others (decoders, the encoder) want
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import faiss

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

THREADS: int = faiss.omp_get_max_threads()
BLOCK = 16384  # vectors assigned at a time: bounds the memory of float32 copies


class Quantizer:
    """The coarse centroids of the inverted lists and the trained codec; immutable and shared between threads."""

    def __init__(self, trained: faiss.Index, codec: str) -> None:
        """`trained` is an empty IVF index of inner products, with or without a rotation before it."""
        assert trained.is_trained and trained.ntotal == 0
        self._whole = trained
        self._rotation = None
        if isinstance(trained, faiss.IndexPreTransform):
            self._rotation = faiss.downcast_VectorTransform(trained.chain.at(0))
            trained = faiss.downcast_index(trained.index)
        self.trained = trained
        self._centroids = _centroids(trained)
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
            faiss.write_index(self._whole, str(partial))

    def nearest(self, queries: Floats, n: int) -> tuple[Floats, Ints]:
        """[q, dim] -> similarities [q, n], lists [q, n], nearest first; n is cut to the number of lists."""
        n = min(n, self.lists)
        if len(queries) == 1:
            similarities = self.similarities(queries)[0]
            best = similarities.argpartition(self.lists - n)[self.lists - n :]
            best = best[similarities[best].argsort()[::-1]]
            return similarities[best][None], best[None]
        use_threads(len(queries))
        found, lists = self.trained.quantizer.search(self.turned(queries), n)
        return found, lists

    def similarities(self, queries: Floats) -> Floats:
        """[q, dim] -> [q, lists], of every query to every centroid."""
        turned = self.turned(queries)
        if len(queries) > 1:
            several: Floats = turned @ self._centroids.T
            return several
        # one dot product a centroid: for a single query BLAS would wait for its threads longer than the work takes
        one: Floats = np.vecdot(self._centroids, turned[0])[None]
        return one

    def assign(self, vectors: NDArray[np.floating]) -> Ints:
        """[n, dim] -> the list of each vector, [n]; float16 and mapped arrays are read a block at a time.

        On a GPU where FAISS has one.
        """
        lists = np.empty(len(vectors), np.int64)
        use_threads(len(vectors))
        for start in range(0, len(vectors), BLOCK):
            block = slice(start, start + BLOCK)
            lists[block] = self._assigner.search(self.turned(vectors[block]), 1)[1][:, 0]
        return lists

    @cached_property
    def _assigner(self) -> faiss.Index:
        coarse = self.trained.quantizer
        # codes of one bit are added by FAISS's own assignment, from which a GPU's may differ where two are as near
        on_processor = isinstance(self.trained, faiss.IndexIVFRaBitQFastScan) or not faiss.get_num_gpus()
        return coarse if on_processor else faiss.index_cpu_to_all_gpus(coarse)

    def turned(self, vectors: NDArray[np.floating]) -> Floats:
        """Vectors as the codes have them, float32: rotated where the codec asks for it."""
        rows = _rows(vectors)
        if self._rotation is None:
            return rows
        turned: Floats = self._rotation.apply(rows)
        return turned


class ShardCodes:
    """The inverted lists of one shard: codes whose ids are the rows 0..n-1."""

    def __init__(self, quantizer: Quantizer) -> None:
        self._index = empty_like(quantizer.trained)
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
        codes.take(lists)
        lists.this.disown()
        return codes

    def take(self, lists: faiss.InvertedLists) -> None:
        """Makes these lists the shard's own, which the index frees in the end."""
        self._index.replace_invlists(lists, True)
        self._index.ntotal = lists.compute_ntotal()

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

    @property
    def bytes_per_row(self) -> int:
        """What a photo's code takes in memory, its eight bytes of id apart."""
        size: int = self._index.code_size
        return size

    def list_sizes(self) -> Ints:
        """[lists] rows in each list."""
        lists = self._index.invlists
        return np.array([lists.list_size(number) for number in range(lists.nlist)], np.int64)

    def ids(self, number: int) -> Ints:
        """The rows of one list; consecutive by construction."""
        lists = self._index.invlists
        size = lists.list_size(number)
        return faiss.rev_swig_ptr(lists.get_ids(number), size).copy() if size else np.empty(0, np.int64)

    def search(self, query: Floats, nprobe: int, depth: int) -> tuple[Floats, Ints]:
        """`scan` of the `nprobe` nearest lists, which are found on the way: [1, dim] -> scores and rows [1, depth].

        For one query, two calls from Python and what lies between them take a third of the time.
        """
        turned = self._quantizer.turned(query)
        scores, rows = np.empty((1, depth), np.float32), np.empty((1, depth), np.int64)
        pointers = (faiss.swig_ptr(scores), faiss.swig_ptr(rows))
        use_threads(1)
        self._index.search_c(1, faiss.swig_ptr(turned), depth, *pointers, _visiting(nprobe))
        return scores, rows

    def scan(
        self,
        queries: Floats,
        lists: Ints,
        similarities: Floats,
        depth: int,
        allowed: NDArray[np.uint8] | None = None,
    ) -> tuple[Floats, Ints]:
        """The `depth` rows with the best codes in the given lists of each query, best first.

        `queries` [q, dim]; `lists` [q, n], -1 for a list to skip; `similarities` [q, n] of the queries to those
        lists' centroids, both as `Quantizer.nearest` gives them; `allowed`, made by `allow`, leaves only some rows.
        Returns scores [q, depth], the inner products with the coded vectors, and rows [q, depth]; -1 pads the rows
        where fewer were found. Safe from many threads at once.
        """
        queries, lists = self._quantizer.turned(queries), np.ascontiguousarray(lists, np.int64)
        similarities = _rows(similarities)
        count, nprobe = lists.shape
        assert queries.shape == (count, self._index.d) and similarities.shape == lists.shape
        if depth == 0:
            return np.empty((count, 0), np.float32), np.empty((count, 0), np.int64)
        scores = np.empty((count, depth), np.float32)
        rows = np.empty((count, depth), np.int64)
        if allowed is None:
            parameters = _visiting(nprobe)
        else:
            selector = faiss.IDSelectorBitmap(allowed)
            parameters = faiss.SearchParametersIVF(nprobe=nprobe, sel=selector)
        use_threads(count)
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
            parameters,
            None,
        )
        return scores, rows


@cache
def _visiting(lists: int) -> faiss.SearchParametersIVF:
    """Making these takes as long as scanning a list; they are only read."""
    return faiss.SearchParametersIVF(nprobe=lists)


def allow(rows: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """[rows] which of a shard's rows may be found -> what `ShardCodes.scan` takes, an eighth of the size."""
    return np.packbits(rows, bitorder="little")


@contextmanager
def one_thread() -> Iterator[None]:
    """Within, the calling thread does its FAISS work alone: for callers that share the work out themselves."""
    _alone.yes = True
    try:
        yield
    finally:
        _alone.yes = False


class _Alone(local):
    yes = False


_alone = _Alone()


def use_threads(queries: int) -> None:
    """How many threads FAISS may take in this one; OpenMP's setting is per calling thread.

    One query is done sooner than handed over to another thread."""
    faiss.omp_set_num_threads(1 if queries == 1 or _alone.yes else THREADS)


def _centroids(index: faiss.IndexIVF) -> Floats:
    """[lists, dim], a view into the index."""
    flat = faiss.downcast_index(index.quantizer)
    centroids: Floats = faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d).reshape(flat.ntotal, flat.d)
    return centroids


def empty_like(trained: faiss.IndexIVF) -> faiss.IndexIVF:
    """An index without rows that shares the centroids of a trained one, and has its codec.

    `clone_index` would copy the centroids for every shard.
    """
    coarse, dim, lists = trained.quantizer, trained.d, trained.nlist
    inner = faiss.METRIC_INNER_PRODUCT
    match trained:
        case faiss.IndexIVFPQFastScan():
            index = faiss.IndexIVFPQFastScan(coarse, dim, lists, trained.pq.M, 4, inner, trained.bbs)
            index.pq = trained.pq
        case faiss.IndexIVFScalarQuantizer():
            index = faiss.IndexIVFScalarQuantizer(coarse, dim, lists, trained.sq.qtype, inner, trained.by_residual)
            index.sq = trained.sq
        case faiss.IndexIVFRaBitQFastScan():
            index = faiss.IndexIVFRaBitQFastScan(coarse, dim, lists, inner, trained.bbs)
            index.rabitq = trained.rabitq
        case _:
            raise AssertionError(f"no codec of ours: {type(trained)}")
    index.by_residual = trained.by_residual
    index.is_trained = True
    return index


def _rows(vectors: NDArray[np.floating]) -> Floats:
    if vectors.dtype == np.float16:
        return widen(np.ascontiguousarray(vectors, np.float16))
    return np.ascontiguousarray(vectors, np.float32)


def _damaged(path: Path, wrong: object) -> DamagedFile:
    reason = str(wrong).rsplit("Error: ", maxsplit=1)[-1]
    return DamagedFile(f"{path} cannot be read ({reason}); rebuild the index with `lookalike index`.")
