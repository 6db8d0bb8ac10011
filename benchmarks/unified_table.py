"""The unified model beside the specialists, from what `benchmarks.unified` measured.

python -m benchmarks.unified_table [--results benchmarks/results/unified]

A row is a task, judged by the nearest photo on the embedding or by the head. Figures are means over the seeds for which
both models were measured. The interval is a paired bootstrap over products, of these trained networks: what another
seed would have given is told by the differences seed by seed.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.measuring import write_json
from benchmarks.unified import RESULTS, TASKS, Task
from engine.metrics import Differences, paired_bootstrap

Judge = Literal["nearest", "head"]
JUDGES: dict[Judge, str] = {"nearest": "nearest photo", "head": "head"}
Runs = Mapping[str, Mapping[str, Any]]
"""What a run's JSON holds, by its file's stem."""


@dataclass(frozen=True)
class Compared:
    """One task by one judge: figures in [0, 1], differences by seed, and by query that of the means over seeds."""

    task: Task
    judge: Judge
    seeds: tuple[int, ...]
    specialist: float
    unified: float
    by_seed: tuple[float, ...]
    differences: Differences


def main() -> None:
    """Reads the runs, writes `table.json` beside them and prints the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--results", type=Path, default=RESULTS)
    results = options.parse_args().results
    runs = {path.stem: json.loads(path.read_text()) for path in sorted(results.glob("*-[0-9]*.json"))}
    check_alike(runs)
    compared = [each for judge in JUDGES for task in TASKS if (each := compare(task, judge, runs))]
    if not compared:
        raise SystemExit(f"{results} has no task with both models measured; run benchmarks.unified first.")
    figures = figures_of(compared)
    write_json(results / "table.json", figures)
    print(as_markdown(figures))


def check_alike(runs: Runs) -> None:
    """Raises SystemExit where runs were not measured on the same, or on some photos only, as when trying it out."""
    ways = {json.dumps({**run["measured"], "model": None}, sort_keys=True) for run in runs.values()}
    if len(ways) > 1 or any(run["measured"]["limit"] is not None for run in runs.values()):
        raise SystemExit(f"The runs were measured differently ({'; '.join(sorted(ways))}); measure them anew.")


def compare(task: Task, judge: Judge, runs: Runs) -> Compared | None:
    """Specialist and unified model on the queries of one task; None where no seed has both, or this judge."""
    name = task.name.replace(" ", "-")
    both = {
        seed: [_scores(runs[stem], task, judge) for stem in (f"{name}-{seed}", f"unified-{seed}")]
        for seed in range(100)
        if f"{name}-{seed}" in runs and f"unified-{seed}" in runs
    }
    found = {seed: (one, other) for seed, (one, other) in both.items() if one is not None and other is not None}
    if not found:
        return None
    products = runs[f"unified-{next(iter(found))}"]["answers"][f"{task.dataset}/{task.labels[0]}"]["products"]
    specialist, unified = np.mean([*found.values()], axis=0)
    known = ~np.isnan(specialist)
    # numbered before queries without a label go: then a product has one number in all tasks of its dataset
    _, clusters = np.unique(products, return_inverse=True)
    return Compared(
        task,
        judge,
        tuple(found),
        float(specialist[known].mean()),
        float(unified[known].mean()),
        tuple(float((other - one)[known].mean()) for one, other in found.values()),
        Differences((unified - specialist)[known], clusters[known], task.dataset),
    )


def _scores(run: Mapping[str, Any], task: Task, judge: Judge) -> np.ndarray | None:
    """[queries] the mean over the task's labels that a query has; not-a-number where it has none."""
    answers = [run["answers"][f"{task.dataset}/{label}"] for label in task.labels]
    if any(judge not in answer for answer in answers):
        return None
    scores = np.array([[np.nan if right is None else right for right in answer[judge]] for answer in answers], float)
    counts = (~np.isnan(scores)).sum(axis=0)
    return np.where(counts > 0, np.nansum(scores, axis=0) / np.maximum(counts, 1), np.nan)


def figures_of(compared: list[Compared]) -> dict[str, Any]:
    """The table's figures, JSON-able; the mean over the tasks by each judge."""
    means = paired_bootstrap([each.differences for each in compared], np.random.default_rng(0))
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    rows = [
        {
            "task": each.task.name,
            "judge": each.judge,
            "seeds": list(each.seeds),
            "queries": len(each.differences.values),
            "specialist": round(each.specialist, 4),
            "unified": round(each.unified, 4),
            "difference": round(each.unified - each.specialist, 4),
            "interval_95": [round(float(low[place]), 4), round(float(high[place]), 4)],
            "difference_by_seed": [round(value, 4) for value in each.by_seed],
        }
        for place, each in enumerate(compared)
    ]
    whole = {}
    for judge in JUDGES:
        columns = [place for place, each in enumerate(compared) if each.judge == judge]
        if columns:
            ends = np.quantile(means[:, columns].mean(axis=1), [0.025, 0.975])
            mean = float(np.mean([compared[place].unified - compared[place].specialist for place in columns]))
            whole[judge] = {"difference": round(mean, 4), "interval_95": [round(float(end), 4) for end in ends]}
    return {"tasks": rows, "mean": whole}


def as_markdown(figures: Mapping[str, Any]) -> str:
    """The table as the README has it, differences in points of a hundred."""
    lines = [
        "| task | judged by | queries | specialist | unified | unified less specialist (95 %) | by seed |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for each in figures["tasks"]:
        by_seed = ", ".join(f"{100 * value:+.1f}" for value in each["difference_by_seed"])
        lines.append(
            f"| {each['task']} | {JUDGES[each['judge']]} | {each['queries']} | {each['specialist']:.3f} "
            f"| {each['unified']:.3f} | {_points(each)} | {by_seed} |"
        )
    for judge, each in figures["mean"].items():
        lines.append(f"| **mean** | {JUDGES[judge]} | | | | **{_points(each)}** | |")
    return "\n".join(lines)


def _points(each: Mapping[str, Any]) -> str:
    low, high = each["interval_95"]
    return f"{100 * each['difference']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


if __name__ == "__main__":
    main()
