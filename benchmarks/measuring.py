"""What every comparison needs: rates that last, memory as the kernel counts it, and speed at equal recall."""

import json
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

CGROUPS = (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup"))  # version 1, then 2
LIMIT_FILES = ("memory.limit_in_bytes", "memory.max")


@dataclass(frozen=True, slots=True)
class Point:
    """One setting of an engine: its recall@10 and its queries a second."""

    setting: str
    recall: float
    rate: float


def rate(work: Callable[[], object], count: int, seconds: float) -> float:
    """How often a second `count` things are done: the median over passes of `work`, which take `seconds` in all."""
    work()
    passes: list[float] = []
    begin = perf_counter()
    while not passes or perf_counter() - begin < seconds:
        start = perf_counter()
        work()
        passes.append(count / (perf_counter() - start))
    return float(np.median(passes))


def frontier(points: Sequence[Point]) -> list[Point]:
    """The settings that no other beats in both recall and rate, by rising recall."""
    best: list[Point] = []
    for point in sorted(points, key=lambda point: (-point.recall, -point.rate)):
        if not best or point.rate > best[-1].rate:
            best.append(point)
    return best[::-1]


def rate_at(points: Sequence[Point], recall: float) -> float | None:
    """Queries a second at a recall, from the two settings of the frontier round it; None where none reaches it.

    Between two settings the logarithm of the rate is taken to fall evenly with recall. Where every setting has more
    recall than asked for, the fastest one counts as it is.
    """
    best = frontier(points)
    above = next((number for number, point in enumerate(best) if point.recall >= recall), None)
    if above is None:
        return None
    high = best[above]
    if above == 0 or high.recall == recall:
        return high.rate
    low = best[above - 1]
    part = (recall - low.recall) / (high.recall - low.recall)
    return float(np.exp((1 - part) * np.log(low.rate) + part * np.log(high.rate)))


def recall_of(found: NDArray[np.integer], true: NDArray[np.integer]) -> float:
    """Of the true neighbours [q, k], the share among those found [q, >= k]."""
    k = true.shape[1]
    return float(np.mean([len(np.intersect1d(mine[:k], wanted)) / k for mine, wanted in zip(found, true, strict=True)]))


def true_neighbours(rows: NDArray[np.float16], queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """[q, k] the rows with the greatest inner products, best first, a block of rows at a time."""
    best = np.full((len(queries), 0), -np.inf, np.float32)
    places = np.empty((len(queries), 0), np.int64)
    for start in range(0, len(rows), 16384):
        scores = queries @ np.asarray(rows[start : start + 16384], np.float32).T
        near = np.argpartition(-scores, min(k, scores.shape[1]) - 1, axis=1)[:, :k]
        best = np.concatenate([best, np.take_along_axis(scores, near, axis=1)], axis=1)
        places = np.concatenate([places, near + start], axis=1)
        order = np.argsort(-best, axis=1, kind="stable")[:, :k]
        best, places = np.take_along_axis(best, order, axis=1), np.take_along_axis(places, order, axis=1)
    return places


def anonymous_bytes() -> int:
    """Memory of this process that no file stands behind (RssAnon)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


@contextmanager
def memory_limit(limit: int, name: str) -> Iterator[None]:
    """Holds this process, its page cache included, to `limit` bytes. Raises OSError where this machine does not let us.

    A process that needs more than that for itself is killed by the kernel.
    """
    group = _limited_group(limit, name)
    (group / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield
    finally:
        (group.parent / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()


def _limited_group(limit: int, name: str) -> Path:
    for root, limit_file in zip(CGROUPS, LIMIT_FILES, strict=True):
        if (root / "cgroup.procs").exists():
            group = root / f"lookalike-{name}"
            group.mkdir(exist_ok=True)
            (group / limit_file).write_text(str(limit))
            return group
    raise OSError("no control groups")


def forget_cached(paths: Iterator[Path]) -> None:
    """Asks the kernel to drop files from its cache, so that whoever reads them next is charged for them."""
    for path in paths:
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpu = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    cores = len(os.sched_getaffinity(0))
    return {"cpu": cpu, "cores": cores, "memory_gib": round(memory / 2**20, 1), "python": platform.python_version()}


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def write_json(path: Path, figures: dict[str, Any]) -> None:
    """Writes figures where they are committed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"wrote {path}")
