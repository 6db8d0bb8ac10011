"""Groceries: what each part of the recipe brings (ablation), and products that training never saw (unseen).

python -m benchmarks.grocery_runs ablation --shared ../shared --out runs/ [--only recipe] [--seed 0] [--minutes 60]
python -m benchmarks.grocery_runs unseen   --shared ../shared --out runs/ [--seed 0] [--minutes 60]
python -m benchmarks.grocery_runs table

Trainings are resumable and stop after --minutes, as in `benchmarks.unified`; each finished one leaves a JSON.

**ablation** trains recipes/grocery.toml and variants of it in which one thing is otherwise. **unseen** leaves a third
of the products (by the hash of their id) out of training, indexes all of them, and asks with the `val` photos of the
unseen third; beside it stands the trunk as it was before any training, by the cosine of its pooled features.
"""

import argparse
import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measuring import machine
from benchmarks.runs import changed, train_for, training_figures, write_run
from engine.metrics import Differences, paired_bootstrap, wilson_interval
from engine.sources.tables import read_rows
from engine.vision.encoder import OpenVinoEncoder
from engine.vision.model import Model
from trainer import training
from trainer.photos import embed, read_photos
from trainer.recipe import Recipe, parse_recipe
from trainer.tables import ValidationData, read_training_data

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "grocery"
RECIPE = HERE.parent / "recipes" / "grocery.toml"

CATEGORY = """[[task]]
name = "category"
dataset = "grocery"
label = "category"
on = "trunk"
loss = "softmax"
weight = 0.5
label_smoothing = 0.1

"""
VARIANTS: dict[str, tuple[tuple[str, str], ...]] = {
    "recipe": (),
    "batch norm trained": (("freeze_batch_norm = true", "freeze_batch_norm = false"),),
    "batch norm taken anew, then frozen": (
        ("freeze_batch_norm = true", "freeze_batch_norm = true\nbatch_norm_photos = 2000"),
    ),
    "average pooling": (('pooling = "gem"', 'pooling = "average"'),),
    "measured at 192 px": (("eval_size = 224", "eval_size = 192"),),
    "no auto-augment": (('auto_augment = "rand-m7-mstd0.5-inc1-tweights"', ""),),
    "no erasing": (("erasing = 0.2", "erasing = 0.0"),),
    "no average of weights": (("ema = 0.998", "ema = 0.0"),),
    "falling rate": (('scheduler = "constant"', 'scheduler = "cosine"'),),
    "no category": ((CATEGORY, ""),),
    "ArcFace": (
        (
            'label = "product_id"\non = "embedding"\nloss = "softmax"',
            'label = "product_id"\non = "embedding"\nloss = "arcface"',
        ),
    ),
    "new layers first": (("warmup_epochs = 1", "warmup_epochs = 1\nnew_layers_epochs = 1"),),
}


def ablation(options: argparse.Namespace) -> None:
    """Trains and measures the variants that are asked for."""
    data = options.shared / "data" / "grocery"
    for seed in options.seed or [0]:
        for variant in options.only or VARIANTS:
            recipe = _recipe(seed, options.epochs, VARIANTS[variant])
            name = f"{variant.replace(' ', '-').replace(',', '')}-{seed}"
            _run(f"ablation-{name}", recipe, data, options, {"kind": "ablation", "variant": variant, "seed": seed})


def unseen(options: argparse.Namespace) -> None:
    """Trains without a third of the products and asks for them; the untrained trunk is asked as well."""
    data = options.shared / "data" / "grocery"
    products = sorted({str(row["product_id"]) for _, row in read_rows(data / "photos.csv")})
    hidden = [product for product in products if is_hidden(product)]
    without = ('where = "split=train"', f'where = ["split=train", "!product_id={"|".join(hidden)}"]')
    untrained = options.results / "unseen-untrained.json"
    if not untrained.is_file():
        recipe = _recipe(0, 1, ())
        weights = str(options.weights or options.shared / "weights" / "mobilenetv2_100.safetensors")
        answers = _answers(training.read_validations(recipe, data)[0], *_features(recipe, data, weights, options.limit))
        write_run(untrained, {"kind": "unseen", "variant": "untrained", "hidden": hidden, "answers": answers})
    for seed in options.seed or [0]:
        what = {"kind": "unseen", "variant": "trained", "seed": seed, "hidden": hidden}
        _run(f"unseen-trained-{seed}", _recipe(seed, options.epochs, (without,)), data, options, what)


def is_hidden(product_id: str) -> bool:
    """Whether a product is of the third that training does not see, by the hash of its id."""
    return int.from_bytes(sha256(f"unseen {product_id}".encode()).digest()[:8], "big") % 3 == 0


def _recipe(seed: int, epochs: int | None, changes: Sequence[tuple[str, str]]) -> Recipe:
    text = changed(RECIPE.read_text(encoding="utf-8"), ("seed = 0", f"seed = {seed}"), *changes)
    text = changed(text, ("clip = 5.0", "clip = 5.0\ncheckpoint_minutes = 1"))
    if epochs is not None:
        text = changed(text, ("epochs = 24", f"epochs = {epochs}"), ("every = 4", f"every = {epochs}"))
    return parse_recipe(text, str(RECIPE))


def _run(name: str, recipe: Recipe, data: Path, options: argparse.Namespace, what: dict[str, Any]) -> None:
    weights = str(options.weights or options.shared / "weights" / "mobilenetv2_100.safetensors")
    folder, written = options.out / name, options.results / f"{name}.json"
    print(name, flush=True)
    if not train_for(recipe, data, folder, weights, options.minutes):
        return
    model = Model.open(folder)
    if written.is_file() and json.loads(written.read_text())["model"] == model.spec.model_id:
        return
    validation = training.read_validations(recipe, data)[0]
    encoder = OpenVinoEncoder(model)
    queries, gallery = (embed(uris, encoder) for uris in _some(validation, options.limit))
    figures = {**what, "model": model.spec.model_id, "machine": machine(), **training_figures(recipe, folder)}
    write_run(written, {**figures, "answers": _answers(validation, queries, gallery)})


def _some(validation: ValidationData, limit: int | None) -> tuple[Sequence[str], Sequence[str]]:
    return validation.queries[:limit], validation.gallery[:limit]


def _features(recipe: Recipe, data: Path, weights: str, limit: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The untrained trunk's pooled features of length 1: queries, gallery."""
    network = training.make_network(recipe, read_training_data(recipe, data), weights=weights).eval()
    preprocess = training.serving_preprocess(network, recipe)
    found = []
    for uris in _some(training.read_validations(recipe, data)[0], limit):
        parts = []
        for start in range(0, len(uris), 32):
            with torch.inference_mode():
                parts.append(network(torch.from_numpy(read_photos(uris[start : start + 32], preprocess)[0])).features)
        found.append(torch.nn.functional.normalize(torch.cat(parts), dim=1).numpy())
    return found[0], found[1]


def _answers(validation: ValidationData, queries: np.ndarray, gallery: np.ndarray) -> dict[str, Any]:
    """The queries' products, and 0 or 1 by label for each: whether its nearest photo has the label."""
    nearest = (queries @ gallery.T).argmax(axis=1).tolist()
    return {
        "products": list(validation.query_labels["product_id"][: len(queries)]),
        **{
            label: [
                int(want == validation.gallery_labels[label][place])
                for want, place in zip(texts, nearest, strict=False)
            ]
            for label, texts in validation.query_labels.items()
        },
    }


# --- The table ---------------------------------------------------------------------------------------------------


def table(options: argparse.Namespace) -> None:
    """Prints what was measured: each variant beside the recipe, and the unseen third beside the untrained trunk."""
    runs = [json.loads(path.read_text()) for path in sorted(options.results.glob("*.json"))]
    print(
        "| variant | seeds | product | category | product less the recipe's (95 %) |\n| --- | --- | --- | --- | --- |"
    )
    whole = _mean_answers(runs, "ablation", "recipe")
    for variant in VARIANTS:
        found = _mean_answers(runs, "ablation", variant)
        if found is not None:
            difference = "" if whole is None or variant == "recipe" else _difference(found, whole)
            figures = " | ".join(_figure(found[label]) for label in ("product_id", "category"))
            print(f"| {variant} | {found['seeds']} | {figures} | {difference} |")
    print("\n| unseen third | queries | product | product less untrained (95 %) |\n| --- | --- | --- | --- |")
    before = _mean_answers(runs, "unseen", "untrained", hidden=True)
    for variant in ("untrained", "trained"):
        found = _mean_answers(runs, "unseen", variant, hidden=True)
        if found is not None:
            difference = "" if before is None or variant == "untrained" else _difference(found, before)
            print(f"| {variant} | {len(found['products'])} | {_figure(found['product_id'])} | {difference} |")


def _mean_answers(
    runs: Sequence[dict[str, Any]], kind: str, variant: str, hidden: bool = False
) -> dict[str, Any] | None:
    """Answers by query, the mean over seeds; with `hidden` only to queries of products that training did not see."""
    mine = [run for run in runs if (run["kind"], run["variant"]) == (kind, variant)]
    if not mine:
        return None
    products = np.array(mine[0]["answers"]["products"])
    kept = np.isin(products, mine[0]["hidden"]) if hidden else np.ones(len(products), bool)
    labels = {
        label: np.mean([run["answers"][label] for run in mine], axis=0)[kept] for label in ("product_id", "category")
    }
    return {"seeds": len(mine), "products": products[kept], **labels}


def _figure(right: np.ndarray) -> str:
    low, high = wilson_interval(float(right.mean()), len(right))
    return f"{right.mean():.3f} ({low:.3f} to {high:.3f})"


def _difference(one: dict[str, Any], other: dict[str, Any]) -> str:
    differences = one["product_id"] - other["product_id"]
    _, clusters = np.unique(one["products"], return_inverse=True)
    means = paired_bootstrap([Differences(differences, clusters)], np.random.default_rng(0))
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{100 * differences.mean():+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, run in (("ablation", ablation), ("unseen", unseen)):
        command = commands.add_parser(name)
        command.add_argument("--shared", type=Path, default=Path("../shared"), help="photos and weights")
        command.add_argument("--weights", type=Path)
        command.add_argument("--out", type=Path, required=True, help="folder for the trainings")
        command.add_argument("--results", type=Path, default=RESULTS)
        command.add_argument("--seed", action="append", type=int)
        command.add_argument("--minutes", type=float, default=60.0, help="for every training")
        command.add_argument("--epochs", type=int, help="instead of the recipe's")
        command.add_argument("--limit", type=int, help="queries and gallery photos at most, to try it out")
        command.set_defaults(run=run, only=None)
        if run is ablation:
            command.add_argument("--only", action="append", choices=list(VARIANTS))
    comparing = commands.add_parser("table")
    comparing.add_argument("--results", type=Path, default=RESULTS)
    comparing.set_defaults(run=table)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
