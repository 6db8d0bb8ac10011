"""float16 rows compared with queries by FAISS's kernel, where they lie: mapped from a file, or gathered.

It widens and multiplies in registers, which is several times as fast a row as widening them in numpy first.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.storage.ivf import Floats, Ints, use_threads

import faiss  # isort: skip - after engine.storage.ivf, which says how its threads wait

CHUNK = 131_072  # rows, a multiple of 8: what one core takes at a time


class FlatRows:
    """The rows of one shard, float16 [n, dim] of norm 1 in one piece of memory, which must stay as they are."""

    def __init__(self, vectors: NDArray[np.float16]) -> None:
        self._vectors = np.asarray(vectors)  # kept: FAISS is only told where they are
        self.starts = range(0, len(self._vectors), CHUNK)

    def search(self, queries: Floats, start: int, depth: int, allowed: NDArray[np.uint8]) -> tuple[Floats, Ints]:
        """The `depth` best rows among the `CHUNK` from `start` on, one of `starts`, for each of `queries` [q, dim].

        `allowed`, made by `engine.storage.ivf.allow` of all rows, says which may be found. Returns cosines [q, depth]
        and rows [q, depth], -1 where there are fewer. Safe from many threads at once.
        """
        rows = self._vectors[start : start + CHUNK]
        # the filter is asked for every row: this is for filters that many rows pass
        scores, found = best_rows(rows, queries, depth, allowed[start // 8 : -(-(start + len(rows)) // 8)])
        found[found >= 0] += start
        return scores, found


def best_rows(
    rows: NDArray[np.float16], queries: Floats, depth: int, allowed: NDArray[np.uint8] | None = None
) -> tuple[Floats, Ints]:
    """Of float16 rows [n, dim] in one piece the `depth` with the greatest inner products with each of `queries`
    [q, dim]: these [q, depth], falling, and the rows [q, depth], -1 where there are fewer. `allowed` as `allow` makes
    it leaves only some."""
    index = faiss.IndexScalarQuantizer(rows.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    place = faiss.swig_ptr(rows.view(np.uint8))
    index.codes = faiss.MaybeOwnedVectorUInt8.create_view(place, rows.nbytes, _borrower()[0].codes.owner)
    index.ntotal, index.is_trained = len(rows), True
    use_threads(len(queries))
    some = None if allowed is None else faiss.SearchParameters(sel=faiss.IDSelectorBitmap(allowed))
    scores, found = index.search(np.ascontiguousarray(queries), depth, params=some)
    return scores, found


@cache
def _borrower() -> tuple[Any, NDArray[np.uint8]]:
    """An index that borrows memory, and that memory: FAISS asks whose it is, and lets nobody say so from Python."""
    empty = faiss.IndexScalarQuantizer(1, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    empty.is_trained = True
    empty.add(np.zeros((1, 1), np.float32))
    written = faiss.serialize_index(empty)
    return faiss.read_index(faiss.ZeroCopyIOReader(faiss.swig_ptr(written), len(written))), written
