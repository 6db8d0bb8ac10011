"""Approximate nearest neighbours: Lookalike against what else one would pick, on the same vectors, in one run.

python -m benchmarks.ann [--rows 500000] [--only lookalike --only hnswlib] [--seconds 1] [--vectors F.npy | --index DIR]

Every engine is built in a process of its own, opened in another, and swept over its own settings; speeds are compared
at equal recall@10, read off the settings on either side. Building takes what it takes from vectors to files from which
the engine opens; Lookalike's measuring of its own recall is told apart, since no other engine does it. Anonymous memory
is what opening adds (RssAnon): rows that a file stands behind can be dropped by the kernel at any time. With memory
limited, process and page cache together have half the bytes of the vectors as float32.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.measuring import (
    Point,
    anonymous_bytes,
    forget_cached,
    frontier,
    machine,
    memory_limit,
    rate,
    rate_at,
    recall_of,
    true_neighbours,
    write_json,
)
from benchmarks.peers import ENGINES, Engine, Floats, Ints, Knob, about
from benchmarks.picture import Curve, draw
from benchmarks.vectors import Vectors, from_file, from_index, made

HERE = Path(__file__).parent
K = 10
RECALLS = (0.98, 0.995)
SINGLES = 500  # queries asked one at a time in a pass
LIMITED = 500  # queries in a batch where memory is limited
LEAST_RECALL = 0.9  # of the settings that are timed
WORTH = 0.8  # of the frontier's rate at their recall is what settings must have at first look to be timed
STEPS = ("build", "sweep", "limited")


def main() -> None:
    """Measures, prints a table, writes JSON and a picture."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=500_000)
    options.add_argument("--dim", type=int, default=256)
    options.add_argument("--queries", type=int, default=2000)
    options.add_argument("--seconds", type=float, default=1.0, help="for every setting, batched and single")
    options.add_argument("--only", action="append", choices=[*ENGINES], default=[])
    options.add_argument("--vectors", type=Path, help="rows as .npy instead of made ones")
    options.add_argument("--index", type=Path, help="the rows of this index instead of made ones")
    options.add_argument("--no-limit", action="store_true", help="leave out the run with memory limited")
    options.add_argument("--work", type=Path, help="for files, removed at the end; a temporary directory if not given")
    options.add_argument("--json", type=Path)
    options.add_argument("--picture", type=Path)
    options.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.step:
        print(json.dumps(STEP[given.step](given.only[0], given.work, given.seconds)))
        return
    vectors = _vectors(given)
    name = f"ann-{len(vectors.rows)}" if not (given.vectors or given.index) else f"ann-{vectors.name}"
    target = given.json or HERE / "results" / f"{name}.json"
    with tempfile.TemporaryDirectory(dir=given.work) as work:
        for figures in compare(
            vectors, given.only or [*ENGINES], Path(work), given.seconds, limited=not given.no_limit
        ):
            write_json(target, figures)
    _picture(figures, given.picture or HERE.parent / "docs" / f"{name}.png")
    print(table(figures))


def _vectors(given: argparse.Namespace) -> Vectors:
    if given.vectors:
        return from_file(given.vectors, given.queries)
    if given.index:
        return from_index(given.index, given.queries)
    return made(given.rows, given.queries, given.dim)


def compare(
    vectors: Vectors, engines: Sequence[str], work: Path, seconds: float, *, limited: bool
) -> Iterator[dict[str, Any]]:
    """Builds and sweeps every engine; all figures so far after each, JSON-able."""
    np.save(work / "rows.npy", vectors.rows)
    np.save(work / "queries.npy", vectors.queries)
    np.save(work / "true.npy", true_neighbours(vectors.rows, vectors.queries, K))
    figures: dict[str, Any] = {
        "what": vectors.what,
        "k": K,
        "queries": len(vectors.queries),
        "machine": machine(),
        "load_average": os.getloadavg()[0],
        "vectors_mib_float32": round(vectors.rows.size * 4 / 2**20),
        "engines": {},
        "at_recall": {str(recall): {} for recall in RECALLS},
    }
    for name in engines:
        print(f"{name}:", flush=True)
        built = child("build", name, work, seconds)
        if "failed" not in built:
            built |= child("sweep", name, work, seconds)
            if limited and "failed" not in built:
                built["memory_limited"] = child("limited", name, work, seconds)
        figures["engines"][name] = built
        for recall in RECALLS:
            figures["at_recall"][str(recall)][name] = _at(built, recall)
        shutil.rmtree(work / name.replace(" ", "-"), ignore_errors=True)
        yield figures


def child(step: str, name: str, work: Path, seconds: float) -> dict[str, Any]:
    """One step in a process of its own; its figures, or `failed` and why."""
    command = [sys.executable, "-m", "benchmarks.ann", "--step", step, "--only", name]
    command += ["--work", str(work), "--seconds", str(seconds)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=HERE.parent)
    if done.returncode:
        reason = "killed, out of memory" if done.returncode < 0 else (done.stderr.strip().splitlines() or ["?"])[-1]
        print(f"  {step}: {reason}")
        return {"failed": reason}
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"  {step}: { ({key: value for key, value in figures.items() if key not in ('batched', 'single')}) }")
    return figures


def build(name: str, work: Path, _seconds: float) -> dict[str, Any]:
    """From mapped rows to files."""
    directory = work / name.replace(" ", "-")
    directory.mkdir()
    engine = ENGINES[name]()
    rows = np.load(work / "rows.npy", mmap_mode="r")
    start = perf_counter()
    engine.build(rows, directory)
    figures = {"build_seconds": round(perf_counter() - start, 1), **about(engine)}
    tuning = figures.get("seconds", {}).get("tune", 0.0)
    figures["build_seconds_without_measuring"] = round(figures["build_seconds"] - tuning, 1)
    figures["disk_mib"] = round(sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) / 2**20, 1)
    return figures


def sweep(name: str, work: Path, seconds: float) -> dict[str, Any]:
    """Every setting of an opened engine."""
    queries, true = np.load(work / "queries.npy"), np.load(work / "true.npy")
    engine = ENGINES[name]()
    engine.open(work / name.replace(" ", "-"))
    # an engine loads its libraries when it first opens: what a second opening adds is the index itself
    before, start = anonymous_bytes(), perf_counter()
    second = ENGINES[name]()
    second.open(work / name.replace(" ", "-"))
    second.turn(second.knobs[0])
    second.search(queries[:64], K)
    figures: dict[str, Any] = {
        "open_seconds": round(perf_counter() - start, 3),
        "anonymous_mib": round((anonymous_bytes() - before) / 2**20, 1),
        "anonymous_mib_process": round(anonymous_bytes() / 2**20, 1),
    }
    del second
    looks = _first_looks(engine, queries, true)
    worth = [point for point in looks if point.recall >= LEAST_RECALL]
    chosen = [point for point in worth if point.rate >= WORTH * (rate_at(worth, point.recall) or 0)]
    figures |= {"batched": [], "single": [], "settings_tried": len(looks)}
    singles = queries[:SINGLES]
    for point in chosen:
        engine.turn(_knob(point.setting))
        several = rate(lambda: engine.search(queries, K), len(queries), seconds)
        one_by_one = rate(
            lambda: [engine.search(singles[n : n + 1], K) for n in range(len(singles))], len(singles), seconds
        )
        figures["batched"].append((point.setting, point.recall, round(several, 1)))
        figures["single"].append((point.setting, point.recall, round(one_by_one, 1)))
    reaching = {str(recall): _cheapest(_points(figures, "batched"), recall) for recall in RECALLS}
    (work / f"{name}.settings.json").write_text(json.dumps(reaching))
    return figures


def _cheapest(points: Sequence[Point], recall: float) -> str | None:
    """The fastest setting that reaches a recall; None where none does."""
    reaching = [point for point in points if point.recall >= recall]
    return max(reaching, key=lambda point: point.rate).setting if reaching else None


def _first_looks(engine: Engine, queries: Floats, true: Ints) -> list[Point]:
    """Every setting's recall, and roughly its rate: enough to see which are worth being timed."""
    looks: list[Point] = []
    engine.turn(engine.knobs[0])
    engine.search(queries, K)  # warms up
    for knob in engine.knobs:
        engine.turn(knob)
        start = perf_counter()
        found = engine.search(queries, K)
        took = perf_counter() - start
        looks.append(Point(_setting(knob), round(recall_of(found, true), 5), len(queries) / took))
    return looks


def _setting(knob: Knob) -> str:
    return "/".join(map(str, knob))


def _knob(setting: str) -> Knob:
    return tuple(map(int, setting.split("/")))


def limited(name: str, work: Path, seconds: float) -> dict[str, Any]:
    """Batched queries a second where process and page cache have half the vectors' size, by recall.

    Each at the fastest setting that reaches the recall without a limit, and with fewer queries: they may have to wait
    for the disk.
    """
    directory = work / name.replace(" ", "-")
    queries = np.load(work / "queries.npy")[:LIMITED]
    limit = np.load(work / "rows.npy", mmap_mode="r").size * 4 // 2
    forget_cached(directory.rglob("*"))
    with memory_limit(limit, f"{os.getpid()}"):
        engine = ENGINES[name]()
        engine.open(directory)
        rates: dict[str, float] = {}
        for recall, setting in json.loads((work / f"{name}.settings.json").read_text()).items():
            if setting is not None:
                engine.turn(_knob(setting))
                rates[recall] = round(rate(lambda: engine.search(queries, K), len(queries), seconds), 1)
    return {"limit_mib": limit // 2**20} | rates


STEP = {"build": build, "sweep": sweep, "limited": limited}


def _points(engine: dict[str, Any], way: str) -> list[Point]:
    return [Point(*each) for each in engine.get(way, [])]


def _at(engine: dict[str, Any], recall: float) -> dict[str, float | None]:
    return {way: rate_at(_points(engine, way), recall) for way in ("batched", "single")}


def table(figures: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = [
        f"{figures['what']}, {figures['machine']['cores']} cores; queries a second at recall@{K}",
        "",
        "| | "
        + " | ".join(f"{way} at {recall}" for recall in RECALLS for way in ("batched", "single"))
        + " | build s | anonymous MiB | batched at .98, memory halved |",
        "| --- |" + " --- |" * (2 * len(RECALLS) + 3),
    ]
    for name, engine in figures["engines"].items():
        if "failed" in engine:
            lines.append(f"| {name} | {engine['failed']} |")
            continue
        cells = [figures["at_recall"][str(recall)][name][way] for recall in RECALLS for way in ("batched", "single")]
        cells += [engine["build_seconds_without_measuring"], engine["anonymous_mib"]]
        halved = engine.get("memory_limited", {})
        cells.append(halved.get("failed") or halved.get(str(RECALLS[0])))
        lines.append(f"| {name} | " + " | ".join(map(_shown, cells)) + " |")
    return "\n".join(lines)


def _shown(value: float | str | None) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _picture(figures: dict[str, Any], path: Path) -> None:
    panels = {
        f"{title}": [
            Curve(name, [(point.recall, point.rate) for point in frontier(_points(engine, way)) if point.recall > 0.85])
            for name, engine in figures["engines"].items()
        ]
        for way, title in (("batched", "many queries at once"), ("single", "one query at a time"))
    }
    draw(path, figures["what"], panels, x="recall@10", y="queries a second")


if __name__ == "__main__":
    main()
