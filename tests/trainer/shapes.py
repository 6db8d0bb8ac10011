"""Drawn photos of coloured shapes with a table, and a recipe that trains on them in a second."""

import csv
import random
from pathlib import Path

from PIL import Image, ImageDraw

from trainer.recipe import Recipe, parse_recipe

COLOURS = ("red", "green", "blue", "yellow", "purple", "orange")
SPLITS = ("train", "train", "train", "catalogue", "val", "train")  # of each product's photos, in turn

RECIPE = """
name = "shapes"
seed = 3

[trunk]
name = "test_resnet"
weights = "none"
image_size = 32

[embedding]
dim = 8

[[dataset]]
name = "shapes"
table = "photos.csv"
images = "images"
where = "split=train"
quota = 8

[[task]]
name = "product"
dataset = "shapes"
label = "product_id"
on = "embedding"

[[task]]
name = "shape"
dataset = "shapes"
label = "category"
weight = 0.5

[[task]]
name = "tags"
dataset = "shapes"
label = "tags"
loss = "multilabel_softmax"

[augment]
auto_augment = "rand-m6-mstd0.5-inc1"
erasing = 0.3
mixup = 0.3
cutmix = 0.3

[schedule]
epochs = 3
ema = 0.9

[[validation]]
dataset = "shapes"
queries = "split=val"
gallery = "split=catalogue|train"
labels = ["product_id", "category"]
every = 2
"""


def shapes_recipe(*changes: tuple[str, str]) -> Recipe:
    """The recipe above with texts replaced by others."""
    text = RECIPE
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return parse_recipe(text, "shapes.toml")


def draw_shapes(folder: Path) -> Path:
    """36 photos of 6 products: a disc or a square in one of 6 colours; every other photo has tags, the rest none."""
    (folder / "images").mkdir(parents=True)
    rng = random.Random(0)
    with (folder / "photos.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "product_id", "category", "tags", "split"])
        for product, colour in enumerate(COLOURS):
            for photo, split in enumerate(SPLITS):
                name = f"{product}-{photo}.png"
                _draw(rng, colour, round_one=product % 2 == 1).save(folder / "images" / name)
                tags = f"{colour}|drawn" if photo % 2 else ""
                table.writerow([name, f"p{product}", "disc" if product % 2 else "square", tags, split])
    return folder


def _draw(rng: random.Random, colour: str, *, round_one: bool) -> Image.Image:
    image = Image.new("RGB", (48, 40), tuple(rng.randrange(180, 255) for _ in range(3)))
    pen, left, top = ImageDraw.Draw(image), rng.randrange(4, 12), rng.randrange(4, 12)
    (pen.ellipse if round_one else pen.rectangle)((left, top, left + 22, top + 22), fill=colour)
    return image
