"""Shards filled side by side in processes of this machine.

What is done to a shard is `indexer.fill`; this only decides where. A worker whose builder is gone ends at once, and the
next build waits for the last of them, so that no two processes ever write to one directory.
"""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import TypeVar

from engine.errors import BuildFailed, Busy

WORKERS = "WORKERS"  # a file in the work directory that every worker holds a lock on
PATIENCE_S = 30.0  # for workers of a builder that was killed

Task = TypeVar("Task")
Result = TypeVar("Result")


def run(
    function: Callable[[Task], Result], tasks: Sequence[Task], *, workers: int, threads: int, work: Path
) -> Iterator[Result]:
    """The results of all tasks, in the order in which they are done.

    One worker is this process. More are processes of `threads // workers` threads each; they import the main module
    anew, so a script that builds this way keeps its calls under `if __name__ == "__main__":`.
    """
    if workers <= 1 or len(tasks) <= 1:
        yield from map(function, tasks)
        return
    count = min(workers, len(tasks))
    pool = ProcessPoolExecutor(
        count,
        get_context("forkserver"),
        initializer=_prepare,
        initargs=(str(work / WORKERS), max(1, threads // count)),
    )
    try:
        futures = [pool.submit(function, task) for task in tasks]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool:
        raise BuildFailed(
            "A process that filled a shard was killed, perhaps for want of memory; run the build again with fewer "
            "workers, and it goes on with the next shard."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def wait_for_workers(work: Path) -> None:
    """Returns when the workers of a builder that was killed have ended. Raises Busy where they do not."""
    work.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + PATIENCE_S
    with (work / WORKERS).open("ab") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Busy(f"Processes of a killed build still write to {work}; wait until they end.") from None
                time.sleep(0.05)


def _prepare(lock: str, threads: int) -> None:
    """What a worker does first. FAISS is not loaded yet and reads its number of threads when it is."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    held = os.open(lock, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_SH)  # held until the process ends
    threading.Thread(target=_end_with_builder, daemon=True).start()


def _end_with_builder() -> None:
    builder = parent_process()
    assert builder is not None
    connection.wait([builder.sentinel])
    os._exit(1)
