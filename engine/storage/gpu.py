"""What FAISS does on a GPU, where it was built for one and there is one."""

from collections.abc import Iterable
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from engine.errors import Unavailable
from engine.storage.halves import widen
from engine.storage.ivf import Floats, Ints

import faiss  # isort: skip - after engine.storage.ivf, which says how its threads wait

MOST = 2048  # rows that FAISS finds for a query on a GPU
ERROR = 1e-3  # of a cosine that is computed from a query in float16: half a unit in its eleventh bit, and a sum's own
BLOCK = 65536  # rows copied at a time


class DeviceRows:
    """All rows of an index as float16 on a GPU, which compares every one of them with a query; safe to share between
    threads, who take turns."""

    def __init__(self, index: faiss.Index, shards: Iterable[NDArray[np.float16]]) -> None:
        """`index` is an empty one of inner products; the `shards`, [n, dim] each, follow one another in it."""
        self._index = index
        self._turn = Lock()
        for rows in shards:
            for start in range(0, len(rows), BLOCK):
                self._index.add(widen(np.asarray(rows[start : start + BLOCK])))

    @classmethod
    def on_gpu(cls, dim: int, shards: Iterable[NDArray[np.float16]]) -> "DeviceRows":
        """Copies the rows to the first GPU. Raises Unavailable where there is none, or too little memory on it."""
        if not faiss.get_num_gpus():
            raise Unavailable(
                "FAISS sees no GPU; install lookalike[gpu] in place of [cpu] on a machine that has one, or go without."
            )
        config = faiss.GpuIndexFlatConfig()
        config.useFloat16 = True
        try:
            return cls(faiss.GpuIndexFlatIP(faiss.StandardGpuResources(), dim, config), shards)
        except RuntimeError as wrong:
            raise Unavailable(f"The index does not fit on the GPU ({wrong}); leave it out.") from None

    def search(self, queries: Floats, depth: int) -> tuple[Floats, Ints]:
        """The `depth` <= MOST nearest rows of each of `queries` [q, dim]: cosines [q, depth], falling and within ERROR
        of the true ones, and rows [q, depth]; -1 where there are fewer."""
        with self._turn:
            scores, rows = self._index.search(np.ascontiguousarray(queries), depth)
        return scores, rows

    def best_photos(self, queries: Floats, depth: int, alive: NDArray[np.bool_] | None) -> list[tuple[Floats, Ints]]:
        """As `search`, a pair for each query, without rows that are not `alive` [rows]."""
        found = [
            (scores[rows >= 0], rows[rows >= 0]) for scores, rows in zip(*self.search(queries, depth), strict=True)
        ]
        return found if alive is None else [(scores[alive[rows]], rows[alive[rows]]) for scores, rows in found]
