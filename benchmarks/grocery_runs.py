"""Groceries: what each part of the recipe brings (ablation), and products that training never saw (unseen).

python -m benchmarks.grocery_runs ablation --shared ../shared --out runs/ [--only recipe] [--seed 0] [--minutes 60]
python -m benchmarks.grocery_runs unseen   --shared ../shared --out runs/ [--seed 0] [--minutes 60]
python -m benchmarks.grocery_table

Trainings are resumable and stop after --minutes, as in `benchmarks.unified`; each finished one leaves a JSON.

**ablation** trains recipes/grocery.toml and variants of it in which one thing is otherwise. **unseen** leaves a third
of the products (by the hash of their id) out of training, indexes all of them, and asks with the `val` photos of the
unseen third; beside it stands the trunk as it was before any training, by the cosine of its pooled features, with GeM
(p = 3) and with the average.

The recipe was chosen on these `val` photos, the unseen third's among them, which flatters it.
"""

import argparse
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measuring import machine
from benchmarks.runs import changed, is_measured, train_for, training_figures, write_run
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
    weights = options.weights or options.shared / "weights" / "mobilenetv2_100.safetensors"
    for pooling in ("gem", "average"):
        untrained = options.results / f"unseen-untrained-{pooling}.json"
        recipe = _recipe(0, 1, () if pooling == "gem" else VARIANTS["average pooling"])
        measured = {"model": sha256(weights.read_bytes()).hexdigest(), "limit": options.limit}
        if not is_measured(untrained, measured):
            found = _pooled(recipe, data, str(weights), options.limit)
            answers = _answers(training.read_validations(recipe, data)[0], *found)
            what = {"kind": "unseen", "variant": f"untrained, {pooling}", "seed": 0, "hidden": hidden}
            write_run(untrained, {**what, "measured": measured, "answers": answers})
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
    measured = {"model": model.spec.model_id, "limit": options.limit}
    if is_measured(written, measured):
        return
    validation = training.read_validations(recipe, data)[0]
    encoder = OpenVinoEncoder(model)
    queries, gallery = (embed(uris, encoder) for uris in _some(validation, options.limit))
    figures = {**what, "machine": machine(), **training_figures(recipe, folder), "measured": measured}
    write_run(written, {**figures, "answers": _answers(validation, queries, gallery)})


def _some(validation: ValidationData, limit: int | None) -> tuple[Sequence[str], Sequence[str]]:
    return validation.queries[:limit], validation.gallery[:limit]


def _pooled(recipe: Recipe, data: Path, weights: str, limit: int | None) -> tuple[np.ndarray, np.ndarray]:
    """What the untrained trunk's feature maps are when pooled, of length 1: queries, gallery."""
    network = training.make_network(recipe, read_training_data(recipe, data), weights=weights).eval()
    preprocess = training.serving_preprocess(network, recipe)
    pooled: list[torch.Tensor] = []
    network.pool.register_forward_hook(lambda _module, _given, result: pooled.append(result))
    found = []
    for uris in _some(training.read_validations(recipe, data)[0], limit):
        pooled.clear()
        for start in range(0, len(uris), 32):
            with torch.inference_mode():
                network(torch.from_numpy(read_photos(uris[start : start + 32], preprocess)[0]))
        found.append(torch.nn.functional.normalize(torch.cat(pooled), dim=1).numpy())
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
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
