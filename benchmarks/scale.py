"""How an index grows: building, opening and searching one of every size, and what a photo more costs.

python -m benchmarks.scale [--rows 1000000 --rows 10000000] [--work DIR]

Vectors are made as in `benchmarks.vectors`. Building, opening and searching are processes of their own. What a build
takes is the anonymous memory of all its processes together, sampled while it runs; what is mapped is the kernel's to
keep or to drop. An index is opened twice: with none of its files in the page cache, and again. Recall is of the ten
best products, ties with the tenth included, against exact search, with the settings that the index chose itself. With
two sizes or more, what grows with the photos is told from what does not, by least squares.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.family import Peak
from benchmarks.measuring import anonymous_bytes, forget_cached, machine, rate, write_json
from benchmarks.model import bare_model
from benchmarks.vectors import Floats, Ints, made

HERE = Path(__file__).parent
K = 10
QUERIES = 1000
CHECKED = 200  # queries whose answers are compared with exact search
BLOCK = 65536
TIE = 1e-5


def main() -> None:
    """Measures, writes JSON and prints a table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, action="append", default=[])
    options.add_argument("--dim", type=int, default=256)
    options.add_argument("--work", type=Path, help="for files, removed at the end; a temporary directory if not given")
    options.add_argument("--json", type=Path, default=HERE / "results" / "scale.json")
    options.add_argument("--step", choices=[*STEP], help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.step:
        print(json.dumps(STEP[given.step](given.work, *given.rows, given.dim)))
        return
    figures: dict[str, Any] = {"machine": machine(), "dim": given.dim, "runs": []}
    for rows in given.rows or [1_000_000, 10_000_000]:
        with tempfile.TemporaryDirectory(dir=given.work, prefix="lookalike-scale-") as work:
            run: dict[str, Any] = {"rows": rows}
            for step in STEP:
                run |= child(step, Path(work), rows, given.dim)
            figures["runs"].append(run)
            print(json.dumps(run), flush=True)
    if len(figures["runs"]) > 1:
        figures["per_photo"] = per_photo(figures["runs"])
    write_json(given.json, figures)
    print(table(figures["runs"]))


def child(step: str, work: Path, rows: int, dim: int) -> dict[str, Any]:
    """One step in a process of its own; its figures and the most anonymous memory it took."""
    command = [sys.executable, "-m", "benchmarks.scale", "--step", step, "--work", str(work)]
    command += ["--rows", str(rows), "--dim", str(dim)]
    start = perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE.parent) as process:
        peak = Peak(process.pid)
        assert process.stdout is not None
        said = process.stdout.read().strip().splitlines()
    most = peak.stop()
    if process.returncode:
        raise SystemExit(f"{step} ended with exit code {process.returncode}")
    print(f"  {rows:,} rows, {step}: {perf_counter() - start:.0f} s", flush=True)
    figures: dict[str, Any] = json.loads(said[-1])
    return figures | ({"build_peak_anonymous_mib": round(most / 2**20)} if step == "build" else {})


def draw(work: Path, rows: int, dim: int) -> dict[str, Any]:
    """Makes the vectors, and finds the tenth best product's cosine of the queries that are checked."""
    vectors = made(rows, QUERIES, dim)
    np.save(work / "rows.npy", vectors.rows)
    np.save(work / "owners.npy", vectors.owners)
    np.save(work / "queries.npy", vectors.queries)
    np.save(work / "tenth.npy", tenth_best(vectors.rows, vectors.owners, vectors.queries[:CHECKED]))
    return {"products": vectors.products}


def tenth_best(rows: NDArray[np.float16], owners: Ints, queries: Floats) -> Floats:
    """[q] the cosine of the tenth best product, a product's being that of its best photo; -1 where there are fewer."""
    best = np.full((len(queries), K), -1, np.float32)
    start = 0
    while start < len(rows):
        end = min(start + BLOCK, len(rows))
        while end < len(rows) and owners[end] == owners[end - 1]:
            end += 1
        cosines = queries @ rows[start:end].astype(np.float32).T
        first = np.flatnonzero(np.diff(owners[start:end], prepend=-1))
        products = np.maximum.reduceat(cosines, first, axis=1)
        best = -np.partition(-np.concatenate([best, products], axis=1), K - 1, axis=1)[:, :K]
        start = end
    tenth: Floats = best.min(axis=1)
    return tenth


def build(work: Path, _rows: int, dim: int) -> dict[str, Any]:
    """From mapped vectors to an index that answers."""
    from indexer.build import build_from_vectors

    owners = np.load(work / "owners.npy", mmap_mode="r")
    start = perf_counter()
    report = build_from_vectors(work / "rows.npy", owners, bare_model(work, dim), work / "index")
    seconds = perf_counter() - start
    manifest = report.manifest
    return {
        "build_seconds": round(seconds, 1),
        "build_seconds_by_stage": {stage: round(part, 1) for stage, part in report.seconds.items()},
        "shards": manifest.shards,
        "lists": manifest.lists,
        "codec": manifest.codec,
        "nprobe": manifest.nprobe,
        "depth": manifest.depth,
        "recall_told": manifest.recall.value,
        "bytes_on_disk_per_photo": round(manifest.bytes_per_photo, 1),
    }


def search(work: Path, _rows: int, _dim: int) -> dict[str, Any]:
    """Opens the index and asks it."""
    from engine.search.query import Query
    from engine.search.search_engine import SearchEngine

    queries, tenth = np.load(work / "queries.npy"), np.load(work / "tenth.npy")
    index = work / "index"
    before = anonymous_bytes()
    forget_cached(index.rglob("*"))
    cold = _opening(index)
    warm = _opening(index)
    with SearchEngine.open(index) as engine:
        first = perf_counter()
        engine.nearest(queries[:1], K)
        first_ms = 1000 * (perf_counter() - first)
        for query in queries:  # what they touch is in the page cache from here on
            engine.search(Query(vector=query, k=K, mode="exact"))
        times: list[float] = []
        recalls: list[float] = []
        for number, query in enumerate(queries):
            start = perf_counter()
            answer = engine.search(Query(vector=query, k=K, mode="exact"))
            times.append(perf_counter() - start)
            if number < CHECKED:
                assert answer.exact is not None
                recalls.append(float(np.mean([hit.score >= tenth[number] - TIE for hit in answer.exact.hits])))
        batched = rate(lambda: engine.nearest(queries, K), len(queries), 5.0)
        grown = anonymous_bytes() - before
    return {
        "open_seconds_cold": round(cold, 2),
        "open_seconds": round(warm, 2),
        "first_query_ms": round(first_ms, 1),
        "anonymous_mib": round(grown / 2**20),
        "recall_at_10": round(float(np.mean(recalls)), 4),
        "recall_at_10_half_interval_95": round(1.96 * float(np.std(recalls)) / len(recalls) ** 0.5, 4),
        "p50_ms": round(1000 * float(np.percentile(times, 50)), 2),
        "p95_ms": round(1000 * float(np.percentile(times, 95)), 2),
        "p99_ms": round(1000 * float(np.percentile(times, 99)), 2),
        "batched_per_second": round(batched),
        "load_average": os.getloadavg()[0],
    }


def _opening(index: Path) -> float:
    """Seconds until an engine is ready."""
    from engine.search.search_engine import SearchEngine

    start = perf_counter()
    with SearchEngine.open(index):
        return perf_counter() - start


STEP = {"draw": draw, "build": build, "search": search}


def per_photo(runs: Sequence[dict[str, Any]]) -> dict[str, float]:
    """What one photo more takes."""

    def slope(values: Sequence[float]) -> float:
        return float(np.polyfit([run["rows"] for run in runs], values, 1)[0])

    return {
        "build_bytes": round(slope([run["build_peak_anonymous_mib"] * 2**20 for run in runs]), 1),
        "build_microseconds": round(slope([run["build_seconds"] * 1e6 for run in runs]), 2),
        "serving_bytes": round(slope([run["anonymous_mib"] * 2**20 for run in runs]), 1),
        "disk_bytes": round(runs[-1]["bytes_on_disk_per_photo"], 1),
    }


SHOWN = (
    ("build, s", "build_seconds"),
    ("its memory, MiB", "build_peak_anonymous_mib"),
    ("disk, bytes a photo", "bytes_on_disk_per_photo"),
    ("open, s (cold)", "open_seconds_cold"),
    ("open, s", "open_seconds"),
    ("memory, MiB", "anonymous_mib"),
    ("recall@10", "recall_at_10"),
    ("p50, ms", "p50_ms"),
    ("p95, ms", "p95_ms"),
    ("batched, queries/s", "batched_per_second"),
)


def table(runs: Sequence[dict[str, Any]]) -> str:
    """The figures as Markdown."""
    lines = ["| photos | " + " | ".join(heading for heading, _ in SHOWN) + " |", "| --- |" + " --- |" * len(SHOWN)]
    lines += [f"| {run['rows']:,} | " + " | ".join(f"{run[key]:,}" for _, key in SHOWN) + " |" for run in runs]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
