"""What `benchmarks.grocery_runs` measured, as tables: the ablation, and the products that training never saw.

python -m benchmarks.grocery_table [--results benchmarks/results/grocery]

Intervals are bootstraps over products, since photos of a product stand or fall together: they tell of these trained
networks and other shoppers' products, not of other seeds. A variant is compared with the recipe by the seeds that both
have; so are trained networks with what is no training's result and so has one seed for all.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.grocery_runs import RESULTS, VARIANTS
from engine.metrics import Differences, paired_bootstrap

LABELS = ("product_id", "category")
UNTRAINED = ("untrained, gem", "untrained, average")
Run = Mapping[str, Any]


@dataclass(frozen=True)
class Answers:
    """Of one variant by seed: `products` [queries], and by label 0 or 1 for each query."""

    products: np.ndarray
    by_seed: Mapping[int, Mapping[str, np.ndarray]]

    def mean(self, label: str, seeds: Sequence[int] = ()) -> np.ndarray:
        """[queries] the share of the seeds, of all unless some are given, that answered right."""
        share: np.ndarray = np.mean([self.by_seed[seed][label] for seed in seeds or self.by_seed], axis=0)
        return share


def main() -> None:
    """Prints both tables."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--results", type=Path, default=RESULTS)
    results = options.parse_args().results
    runs = [json.loads(path.read_text()) for path in sorted(results.glob("*.json"))]
    if any(run["measured"]["limit"] is not None for run in runs):
        raise SystemExit(f"{results} has runs that were measured on some photos only; measure them anew.")
    print(tables(runs))


def tables(runs: Sequence[Run]) -> str:
    """Both tables in Markdown: the ablation by all queries, the unseen by those of products kept from training."""
    lines = [
        "| variant | seeds | steps | product | category | product less the recipe's |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    whole = read_answers(runs, "ablation", "recipe")
    for variant in VARIANTS:
        found = read_answers(runs, "ablation", variant)
        if found is not None:
            steps = sorted({run["steps"] for run in runs if (run["kind"], run["variant"]) == ("ablation", variant)})
            figures = " | ".join(figure(found, label) for label in LABELS)
            less = "" if whole is None or variant == "recipe" else difference(found, whole)
            shown = ", ".join(map(str, steps))
            lines.append(f"| {variant} | {len(found.by_seed)} | {shown} | {figures} | {less} |")
    untrained = [each for name in UNTRAINED if (each := read_answers(runs, "unseen", name, hidden=True))]
    best = max(untrained, key=lambda each: each.mean("product_id").mean(), default=None)
    lines += [
        "",
        "| unseen third | seeds | queries | product | category | product less the best untrained's |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for variant in (*UNTRAINED, "trained"):
        found = read_answers(runs, "unseen", variant, hidden=True)
        if found is not None:
            figures = " | ".join(figure(found, label) for label in LABELS)
            less = difference(found, best) if best is not None and variant == "trained" else ""
            lines.append(f"| {variant} | {len(found.by_seed)} | {len(found.products)} | {figures} | {less} |")
    return "\n".join(lines)


def read_answers(runs: Sequence[Run], kind: str, variant: str, *, hidden: bool = False) -> Answers | None:
    """A variant's answers; with `hidden` only to queries of products that training did not see. None: not run."""
    mine = [run for run in runs if (run["kind"], run["variant"]) == (kind, variant)]
    if not mine:
        return None
    products = np.array(mine[0]["answers"]["products"])
    kept = np.isin(products, mine[0]["hidden"]) if hidden else np.ones(len(products), bool)
    by_seed = {
        run["seed"]: {label: np.array(run["answers"][label], np.float64)[kept] for label in LABELS} for run in mine
    }
    return Answers(products[kept], by_seed)


def figure(answers: Answers, label: str) -> str:
    """The share of right answers with its 95 % interval."""
    share = answers.mean(label)
    return f"{share.mean():.3f} ({_interval(share, answers.products)})"


def difference(one: Answers, other: Answers) -> str:
    """Points of a hundred that `one` has over `other` by product; "-" where they have no seed in common."""
    seeds = [seed for seed in one.by_seed if seed in other.by_seed]
    if not seeds and len(other.by_seed) > 1:
        return "-"
    values = one.mean("product_id", seeds) - other.mean("product_id", seeds)
    return f"{100 * values.mean():+.1f} ({_interval(values, one.products, 100)})"


def _interval(values: np.ndarray, products: np.ndarray, times: float = 1) -> str:
    _, clusters = np.unique(products, return_inverse=True)
    means = paired_bootstrap([Differences(values, clusters)], np.random.default_rng(0))
    low, high = times * np.quantile(means, [0.025, 0.975])
    return f"{low:+.1f} to {high:+.1f}" if times > 1 else f"{low:.3f} to {high:.3f}"


if __name__ == "__main__":
    main()
