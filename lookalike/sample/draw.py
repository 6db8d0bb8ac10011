"""Draws the sample: a folder with images/ and photos.csv, the same for the same seed on any number of processes."""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from PIL import Image

from engine.telemetry import SILENT, Progress
from lookalike.sample import catalogue, render, scene
from lookalike.sample.catalogue import Item
from lookalike.sample.families import FAMILIES

TABLE = "photos.csv"
IMAGES = "images"


@dataclass(frozen=True)
class Drawn:
    """What a folder of the sample holds."""

    products: int
    photos: int


def draw_sample(
    out: Path,
    *,
    seed: int = 0,
    products: Sequence[Item] | None = None,
    processes: int = 0,
    progress: Progress = SILENT,
) -> Drawn:
    """Draws the photos of the products (None: of all) into out/images and then writes out/photos.csv.

    The table comes last, so a folder that has it is whole. `processes` 0: one for every core.
    """
    products = catalogue.items(seed) if products is None else products
    (out / TABLE).unlink(missing_ok=True)
    images = out / IMAGES
    for family in FAMILIES:
        (images / family.category.lower().replace(" ", "-")).mkdir(parents=True, exist_ok=True)
    progress.start("draw photos", len(products) * catalogue.PHOTOS)
    workers = processes or os.cpu_count() or 1
    # spawned, not forked: the caller may have threads (progress bars) that a fork would copy half
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(draw_item, item, images, seed) for item in products]
        for job in as_completed(jobs):
            progress.advance(job.result())
    (out / TABLE).write_text(catalogue.table_text(products, seed), encoding="utf-8")
    progress.finish()
    return Drawn(len(products), len(products) * catalogue.PHOTOS)


def draw_item(item: Item, images: Path, seed: int) -> int:
    """Draws every photo of one product; returns how many."""
    model = FAMILIES[item.family].model(item.shape, item.look)
    openness = render.occlusion(model.mesh)
    taken = catalogue.shots(item, seed)
    for shot in taken:
        photo = scene.photograph(model, openness, shot.setting, catalogue.generator(item, 1000 + shot.number, seed))
        photo.save(images / catalogue.image_name(item, shot), quality=shot.setting.quality)
    return len(taken)


def contact_sheet(
    folder: Path, products: list[Item], seed: int = 0, *, columns: int = 20, side: int = 128
) -> Image.Image:
    """A sheet of drawn photos: a row per product, or the catalogue photos of all when there are many."""
    names = [catalogue.image_name(item, shot) for item in products for shot in catalogue.shots(item, seed)]
    sheet = Image.new("RGB", (columns * side, -(-len(names) // columns) * side), "white")
    for position, name in enumerate(names):
        with Image.open(folder / IMAGES / name) as photo:
            sheet.paste(photo.resize((side, side)), (position % columns * side, position // columns * side))
    return sheet
