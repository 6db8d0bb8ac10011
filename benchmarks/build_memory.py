"""How much memory a build takes, a photo: anonymous memory of all its processes, sampled while it runs.

    python -m benchmarks.build_memory --photos 250000 1000000 --shards 2 --workers 2 --out memory.json

Vectors are drawn from clusters, several photos a product; the index is built by `build_from_vectors`, which streams
through the same files as a catalogue does. What is mapped is the kernel's to keep or to drop and is not counted. Two or
more sizes give the bytes a photo and what a build takes whatever its size, by least squares.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from indexer.build import BuildOptions, build_from_vectors
from tests.fakes import tiny_model

SAMPLED_EVERY_S = 0.02
PHOTOS_PER_PRODUCT = 4
BLOCK = 100_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, nargs="+", default=[250_000, 1_000_000])
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--shards", type=int)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    runs = [measure(photos, options.dim, options.shards, options.workers, options.folder) for photos in options.photos]
    result: dict[str, object] = {"dim": options.dim, "cores": os.cpu_count(), "runs": runs}
    if len(runs) > 1:
        sizes, peaks = ([float(run[key]) for run in runs] for key in ("photos", "peak_anonymous_bytes"))
        slope, constant = np.polyfit(sizes, peaks, 1)
        result |= {"bytes_per_photo": round(slope, 1), "constant_bytes": round(constant)}
    text = json.dumps(result, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


def measure(photos: int, dim: int, shards: int | None, workers: int | None, parent: Path) -> dict[str, float]:
    """Builds in a process of its own; its figures."""
    folder = Path(tempfile.mkdtemp(prefix="lookalike-memory-", dir=parent))
    try:
        draw(folder / "vectors.npy", photos, dim)
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=build, args=(folder, photos, dim, shards, workers))
        begun = time.monotonic()
        process.start()
        assert process.pid is not None
        peak = Peak(process.pid)
        process.join()
        seconds = time.monotonic() - begun
        assert process.exitcode == 0, process.exitcode
        report = json.loads((folder / "report.json").read_text())
        return {"photos": photos, "peak_anonymous_bytes": peak.stop(), "seconds": round(seconds, 1)} | report
    finally:
        shutil.rmtree(folder)


def draw(path: Path, photos: int, dim: int) -> None:
    """Unit vectors of products in families, as in `tests.fakes.product_vectors`, a block at a time."""
    rng = np.random.default_rng(0)
    families = rng.standard_normal((2000, dim), np.float32)
    vectors = np.lib.format.open_memmap(path, "w+", np.float16, (photos, dim))
    for start in range(0, photos, BLOCK):
        count = min(BLOCK, photos - start)
        products = -(-count // PHOTOS_PER_PRODUCT)
        centres = families[rng.integers(len(families), size=products)]
        centres = centres + 0.5 * rng.standard_normal((products, dim), np.float32)
        block = centres.repeat(PHOTOS_PER_PRODUCT, axis=0)[:count]
        block = block + 0.25 * rng.standard_normal((count, dim), np.float32)
        vectors[start : start + count] = block / np.linalg.norm(block, axis=1, keepdims=True)
    vectors.flush()


def build(folder: Path, photos: int, dim: int, shards: int | None, workers: int | None) -> None:
    """What is measured."""
    model = tiny_model(folder / "model", dim=dim)
    owners = np.load(write_owners(folder / "owners.npy", photos), mmap_mode="r")
    report = build_from_vectors(
        folder / "vectors.npy", owners, model, folder / "index", options=BuildOptions(shards=shards, workers=workers)
    )
    manifest = report.manifest
    figures = {
        "shards": manifest.shards,
        "lists": manifest.lists,
        "nprobe": manifest.nprobe,
        "depth": manifest.depth,
        "recall_at_10": manifest.recall.value,
        "bytes_on_disk_per_photo": round(manifest.bytes_per_photo, 1),
        "stages": {stage: round(seconds, 1) for stage, seconds in report.seconds.items()},
    }
    (folder / "report.json").write_text(json.dumps(figures))


def write_owners(path: Path, photos: int) -> Path:
    """The product of each photo, as a file that is mapped."""
    np.save(path, (np.arange(photos) // PHOTOS_PER_PRODUCT).astype(np.int32))
    return path


class Peak:
    """The most anonymous memory that a process and its descendants had at once, by /proc."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peak = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        self._stopped.set()
        self._thread.join()
        return self._peak

    def _watch(self) -> None:
        while not self._stopped.wait(SAMPLED_EVERY_S):
            self._peak = max(self._peak, sum(map(anonymous_bytes, family(self._pid))))


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += [int(child) for child in task.read_text().split()]
            except OSError:
                continue
    return found


def anonymous_bytes(pid: int) -> int:
    """What a process has in memory that no file backs."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


if __name__ == "__main__":
    main()
