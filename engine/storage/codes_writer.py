"""The codes of a shard while it is written."""

import numpy as np
from numpy.typing import NDArray

from engine.storage.ivf import Quantizer, ShardCodes, empty_like, use_threads

import faiss  # isort: skip - after engine.storage.ivf, which says how its threads wait


class CodesWriter:
    """Codes of a shard that is being written."""

    def __init__(self, quantizer: Quantizer) -> None:
        self._quantizer = quantizer
        self._index = _unpacked(quantizer.trained)

    def add(self, vectors: NDArray[np.floating], lists: NDArray[np.integer]) -> None:
        """Appends [n, dim], whose `lists` [n] `Quantizer.assign` gave, as the next n rows. They must come in list order
        over all calls."""
        use_threads(len(vectors))
        turned, numbers = self._quantizer.turned(vectors), np.ascontiguousarray(lists, np.int64)
        if isinstance(self._index, faiss.IndexIVFRaBitQFastScan):
            self._index.add(turned)  # it takes nobody's word for the lists
        else:  # to assign them once more would take twice as long as to encode them
            self._index.add_core(len(turned), faiss.swig_ptr(turned), None, faiss.swig_ptr(numbers))

    def finish(self) -> ShardCodes:
        """The codes of all rows that were added; nothing may be added afterwards."""
        codes = ShardCodes(self._quantizer)
        index = self._index
        if isinstance(index, faiss.IndexIVFPQ):
            index = faiss.IndexIVFPQFastScan(index, self._quantizer.trained.bbs)
        codes.take(index.invlists)
        index.own_invlists = False
        return codes


def _unpacked(trained: faiss.IndexIVF) -> faiss.IndexIVF:
    """An index without rows that shares the centroids of a trained one and takes rows one by one: PQ as it is before it
    is laid out for fast-scan."""
    if not isinstance(trained, faiss.IndexIVFPQFastScan):
        return empty_like(trained)
    coarse, dim, lists = trained.quantizer, trained.d, trained.nlist
    index = faiss.IndexIVFPQ(coarse, dim, lists, trained.pq.M, 4, faiss.METRIC_INNER_PRODUCT)
    index.pq, index.by_residual, index.is_trained = trained.pq, trained.by_residual, True
    return index
