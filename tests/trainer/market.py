"""Small tables of the shape that `recipes/groknet.toml` asks for, with photos of noise, and that recipe made small."""

import csv
import random
import re
from pathlib import Path

import numpy as np
from PIL import Image

from trainer.recipe import Recipe, Task

GROKNET = Path(__file__).parents[2] / "recipes" / "groknet.toml"
SPLITS = ("train",) * 8 + ("val", "catalogue") * 2
PRODUCTS = 4


def small_groknet() -> str:
    """The recipe with all its datasets, losses and its trunk, for photos of 32 px, four of each dataset a batch."""
    text = GROKNET.read_text()
    for key, value in {"image_size": 32, "quota": 4, "per_product": 2, "epochs": 1}.items():
        text, count = re.subn(rf"{key} = \d+", f"{key} = {value}", text)
        assert count, key
    return text


def draw_market(folder: Path, recipe: Recipe) -> Path:
    """A table for each dataset, its labels drawn at random, a third of them missing; eight photos serve all tables."""
    (folder / "images").mkdir(parents=True)
    rng, noise = random.Random(0), np.random.default_rng(0)
    names = [f"{number}.png" for number in range(8)]
    for name in names:
        Image.fromarray(noise.integers(0, 256, (40, 40, 3), np.uint8)).save(folder / "images" / name)
    for dataset in recipe.dataset:
        tasks = [task for task in recipe.task if dataset.name in task.dataset]
        columns = [column for task in tasks for _, column in task.heads if column != "product_id"]
        with (folder / dataset.table).open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["image", "product_id", "split", *columns])
            for row, split in enumerate(SPLITS):
                cells = [_label(rng, row, tasks[0]) for _ in columns]
                table.writerow([rng.choice(names), f"p{row % PRODUCTS}", split, *cells])
    return folder


def _label(rng: random.Random, row: int, task: Task) -> str:
    if row < 2:
        return f"value {row}"  # so that every column has two values that are trained on
    drawn = [f"value {rng.randrange(4)}" for _ in range(2 if task.label == "queries" else 1)]
    return "" if rng.random() < 1 / 3 else "|".join(drawn)
