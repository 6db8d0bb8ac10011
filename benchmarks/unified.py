"""One unified model against five specialists: the same trunk, photos' size, seeds, and photos seen per task.

python -m benchmarks.unified --shared ../shared --out runs/ [--only unified] [--seed 0] [--minutes 10]
python -m benchmarks.unified_table

Every training is a folder in --out and stops after --minutes; started again, those that are unfinished go on. A
finished one is measured and leaves a JSON with what it answered to every query; `benchmarks.unified_table` compares
those.

**Same photos per task.** A task's dataset has the same quota in every model that learns it, and all train for as many
steps: so each task sees as many labelled photos whoever learns it, and the unified model, which has both quotas in its
batch, costs two specialists' time and stands for five. **Same losses.** Each label has a softmax on the embedding and,
but for the product, a head on the features, with the same weights in either model. The trunk has one learning rate
in all of them, since what it knew before is worth as much to each; that of new layers grows with the square root of the
batch, as Adam's should (Malladi et al., arXiv:2205.10287).

**Measured** are the exported models, every label by the query's nearest photo on the embedding (precision@1), and all
but the product by its head as well. Groceries: `val` against catalogue and train. Fashion: products are split by a hash
of their id into 80 % train, 10 % val (looked at while choosing) and 10 % test (reported); the nearest is sought among
--gallery photos of train.
"""

import argparse
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measuring import machine
from benchmarks.runs import is_measured, train_for, training_figures, write_run
from engine.sources.photos import open_photos
from engine.sources.tables import read_rows
from engine.vision.encoder import OpenVinoEncoder
from engine.vision.heads import Heads
from engine.vision.model import Model
from trainer.photos import encode_in_batches
from trainer.recipe import Recipe, parse_recipe

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "unified"
SEEDS = (0, 1, 2)
QUOTAS = {"grocery": 32, "fashion": 48}
WEIGHTS = {"article_type": 2.0}  # 1 for other labels; its many classes are what learning them with others costs most
HEAD_WEIGHT = 0.5  # of a label's head beside its softmax on the embedding
RATE, HEAD_RATE = 3e-4, 2e-3  # of the trunk in all models; of what is new for HEAD_RATE_BATCH photos
HEAD_RATE_BATCH = 32


@dataclass(frozen=True)
class Task:
    """One specialist's work: a dataset, and the labels it learns there. Its figure is the mean over the labels."""

    name: str
    dataset: str
    labels: tuple[str, ...]


TASKS = (
    Task("grocery product", "grocery", ("product_id",)),
    Task("grocery category", "grocery", ("category",)),
    Task("fashion article type", "fashion", ("article_type",)),
    Task("fashion colour", "fashion", ("colour",)),
    Task("fashion gender and usage", "fashion", ("gender", "usage")),
)
MODELS: dict[str, tuple[Task, ...]] = {"unified": TASKS} | {task.name.replace(" ", "-"): (task,) for task in TASKS}

HEAD = """
name = "{name}"
seed = {seed}
[trunk]
name = "mobilenetv2_100"
image_size = {size}
freeze_batch_norm = true
[embedding]
dim = 256
[augment]
scale = [0.35, 1.0]
erasing = 0.2
[schedule]
epochs = 1
epoch_steps = {steps}
learning_rate = {rate:.3g}
head_learning_rate = {head_rate:.3g}
warmup_epochs = 0.1
checkpoint_minutes = 1
"""
DATASETS = {
    "grocery": 'name = "grocery"\ntable = "grocery/photos.csv"\nimages = "grocery/images"\nwhere = "split=train"',
    "fashion": 'name = "fashion"\ntable = "fashion.parquet"\nwhere = "split=train"',
}


def recipe_for(name: str, tasks: Sequence[Task], seed: int, steps: int, size: int) -> Recipe:
    """The recipe of one model: the datasets and labels of its tasks, all else the same."""
    datasets = dict.fromkeys(task.dataset for task in tasks)
    head_rate = HEAD_RATE * math.sqrt(sum(QUOTAS[dataset] for dataset in datasets) / HEAD_RATE_BATCH)
    parts = [HEAD.format(name=name, seed=seed, steps=steps, size=size, rate=RATE, head_rate=head_rate)]
    parts += [f"[[dataset]]\n{DATASETS[dataset]}\nquota = {QUOTAS[dataset]}\n" for dataset in datasets]
    for task in tasks:
        for label in task.labels:
            weight = WEIGHTS.get(label, 1.0)
            common = f'dataset = "{task.dataset}"\nlabel = "{label}"\nlabel_smoothing = 0.1'
            on_embedding = f'on = "embedding"\nweight = {weight}'
            parts.append(f'[[task]]\nname = "{label} on the embedding"\n{common}\n{on_embedding}\n')
            if label != "product_id":
                parts.append(f'[[task]]\nname = "{label}"\n{common}\nweight = {HEAD_WEIGHT * weight}\n')
    return parse_recipe("\n".join(parts), f"the recipe of {name}")


def split_of(product_id: str) -> str:
    """train, val or test: 80, 10 and 10 of a hundred products, by the hash of their id, for ever."""
    place = int.from_bytes(sha256(product_id.encode()).digest()[:8], "big") % 100
    return "train" if place < 80 else "val" if place < 90 else "test"


def prepare(shared: Path, out: Path) -> Path:
    """A data folder in `out`: a link to the groceries, and the fashion table with its split; made once."""
    data = out / "data"
    data.mkdir(parents=True, exist_ok=True)
    grocery, fashion = data / "grocery", data / "fashion.parquet"
    if not grocery.exists():
        grocery.symlink_to((shared / "data" / "grocery").resolve())
    if not fashion.exists():
        table = pq.read_table(shared / "data" / "fashion" / "products.parquet")
        split = pa.array([split_of(each) for each in table["product_id"].to_pylist()])
        partial = fashion.with_suffix(".partial")
        pq.write_table(table.append_column("split", split), partial, row_group_size=512)
        partial.replace(fashion)
    return data


def train(options: argparse.Namespace) -> None:
    """Trains and measures the models that are asked for, as far as time goes."""
    data = prepare(options.shared, options.out)
    weights = str(options.weights or options.shared / "weights" / "mobilenetv2_100.safetensors")
    for seed in options.seed or SEEDS:
        for name in options.only or MODELS:
            recipe = recipe_for(name, MODELS[name], seed, options.steps, options.size)
            folder = options.out / f"{name}-{seed}"
            print(f"{name}, seed {seed}", flush=True)
            if not train_for(recipe, data, folder, weights, options.minutes):
                continue
            model = Model.open(folder)
            measured = {
                "model": model.spec.model_id,
                "fashion_split": options.fashion_split,
                "gallery": options.gallery,
                "limit": options.limit,
            }
            written = options.results / f"{name}-{seed}.json"
            if not is_measured(written, measured):
                answers = measure(model, MODELS[name], data, options)
                figures = {"name": name, "seed": seed, "machine": machine(), **training_figures(recipe, folder)}
                write_run(written, {**figures, "measured": measured, "answers": answers})


def measure(model: Model, tasks: Sequence[Task], data: Path, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """By "dataset/label": the queries' products, and 0 or 1 for each by nearest photo and by head; None: no label."""
    encoder, heads = OpenVinoEncoder(model), Heads.open(model)
    answers: dict[str, dict[str, Any]] = {}
    for dataset in dict.fromkeys(task.dataset for task in tasks):
        labels = [label for task in tasks if task.dataset == dataset for label in task.labels]
        split, gallery_size = {"grocery": ("val", None), "fashion": (options.fashion_split, options.gallery)}[dataset]
        queries = _photos(data, dataset, split, options.limit)
        gallery = _photos(data, dataset, "train", options.limit or gallery_size)
        embeddings, features = _encode(encoder, [uri for _, uri in queries])
        stored, _ = _encode(encoder, [uri for _, uri in gallery])
        nearest = [gallery[place][0] for place in (embeddings @ stored.T).argmax(axis=1).tolist()]
        predicted = {head: tables.argmax(axis=1) for head, tables in heads.probabilities(features).items()}
        classes = {head.name: head.classes for head in model.spec.heads}
        for label in labels:
            wanted = [row[label] for row, _ in queries]
            answer: dict[str, Any] = {
                "products": [row["product_id"] for row, _ in queries],
                "nearest": _right(wanted, [row[label] for row in nearest]),
            }
            if label in classes:
                answer["head"] = _right(wanted, [classes[label][place] for place in predicted[label].tolist()])
            answers[f"{dataset}/{label}"] = answer
    return answers


def _photos(data: Path, dataset: str, split: str, limit: int | None) -> list[tuple[dict[str, Any], str]]:
    """Cells and URI of a dataset's photos of one split; catalogue photos belong to the gallery, as train does."""
    table, images = (
        (data / "grocery" / "photos.csv", data / "grocery" / "images")
        if dataset == "grocery"
        else (data / "fashion.parquet", None)
    )
    source = open_photos(table, images)
    wanted = {split, "catalogue"} if split == "train" else {split}
    rows = [(row, source.locate(row, number)) for number, row in read_rows(table) if row["split"] in wanted]
    # spread over the table, which lies in the order of its products
    return rows if limit is None else rows[:: max(1, len(rows) // limit)][:limit]


def _encode(encoder: OpenVinoEncoder, uris: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    parts = list(encode_in_batches(uris, encoder))
    return tuple(np.concatenate([getattr(part.encoded, what) for part in parts]) for what in ("embeddings", "features"))


def _right(wanted: Iterable[str | None], found: Iterable[str | None]) -> list[int | None]:
    return [None if want is None else int(want == find) for want, find in zip(wanted, found, strict=True)]


def main() -> None:
    """Reads the command line."""
    training = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    training.add_argument("--shared", type=Path, default=Path("../shared"), help="photos and weights")
    training.add_argument("--weights", type=Path)
    training.add_argument("--out", type=Path, required=True, help="folder for the trainings")
    training.add_argument("--results", type=Path, default=RESULTS)
    training.add_argument("--only", action="append", choices=list(MODELS))
    training.add_argument("--seed", action="append", type=int)
    training.add_argument("--minutes", type=float, default=10.0, help="for every training")
    training.add_argument("--steps", type=int, default=700)
    training.add_argument("--size", type=int, default=96, help="side of the photos, pixels")
    training.add_argument("--fashion-split", choices=["val", "test"], default="test")
    training.add_argument("--gallery", type=int, default=2000, help="fashion photos among which the nearest is sought")
    training.add_argument("--limit", type=int, help="queries and gallery photos at most, to try it out")
    train(training.parse_args())


if __name__ == "__main__":
    main()
