"""Work cut into parts, one thread a core: for work that is worth handing over.

A part goes through all its steps on one core, so that what one step leaves in the core's cache is there for the next,
and no step waits for the slowest of several threads.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from engine.storage.ivf import THREADS, one_thread

T = TypeVar("T")


def in_parts(count: int, size: int, work: Callable[[int, int], T]) -> list[T]:
    """`work(start, end)` for consecutive parts of `count` things, at most `size` each; the results in order.

    A single part is done here, with all threads that FAISS likes. `work` must not come here again: the threads might
    all be waiting for one.
    """

    def alone(start: int) -> T:
        with one_thread():
            return work(start, min(start + size, count))

    starts = range(0, count, size)
    if len(starts) <= 1:
        return [work(start, count) for start in starts]
    return list(_threads().map(alone, starts))


def share(count: int) -> int:
    """The size of a part where every core takes one."""
    return max(1, -(-count // THREADS))


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="search")
