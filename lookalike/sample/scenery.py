"""What lies under and behind a product: floors and walls as tiles, drawn once per process.

A floor tile repeats without a seam and covers two product heights; a wall tile covers four. Makers work in
sRGB 0..1, finished tiles are bytes.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from lookalike.sample import patterns
from lookalike.sample.arrays import Floats, floats
from lookalike.sample.palette import COLOURS, rgb

SIDE = 512  # pixels of a tile
VARIANTS = 6  # tiles drawn of each kind


def _coordinates() -> tuple[Floats, Floats]:
    at = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE
    x, y = np.meshgrid(at, at)
    return floats(x), floats(y)


def _between(low: str, high: str, share: Floats) -> Floats:
    one, two = floats(rgb(low)), floats(rgb(high))
    return floats(one + (two - one) * share[..., None])


def _planks(rng: np.random.Generator) -> Floats:
    x, y = _coordinates()
    rows = int(rng.integers(4, 8))
    row = np.floor(y * rows).astype(int)
    offset = rng.random(rows)[row]
    along = x + offset
    board = np.floor(along * 2).astype(int) % 2
    tone = rng.uniform(-0.5, 0.5, (rows, 2))[row, board]
    grain = patterns.noise(along.astype(np.float32), (y * 9 + tone).astype(np.float32)) - 0.5
    low, high = [("#8a5a34", "#c08a55"), ("#5a3a24", "#8a6040"), ("#b08a5c", "#dabb8c"), ("#a9a39a", "#cfcac2")][
        int(rng.integers(4))
    ]
    wood = _between(low, high, np.clip(0.5 + 0.55 * tone + 0.5 * grain, 0, 1).astype(np.float32))
    gap = np.minimum(np.abs(y * rows - np.round(y * rows)) / rows, np.abs(along * 2 - np.round(along * 2)) / 2)
    return floats(wood * np.clip(gap * 220, 0.45, 1)[..., None])


def _tiles(rng: np.random.Generator) -> Floats:
    x, y = _coordinates()
    count = int(rng.integers(2, 5))
    column, row = np.floor(x * count).astype(int), np.floor(y * count).astype(int)
    checker = ((column + row) % 2) * float(rng.choice([0.0, 0.25]))
    tone = rng.uniform(-0.04, 0.04, (count, count))[row, column]
    level = float(rng.uniform(0.6, 0.85)) - checker + tone + 0.06 * patterns.noise(x, y)
    seam = np.minimum(np.abs(x * count - np.round(x * count)), np.abs(y * count - np.round(y * count))) / count
    tint = floats(rng.uniform(0.94, 1.03, 3))
    return floats((level * np.clip(seam * 160, 0.75, 1))[..., None] * tint)


def _stone(rng: np.random.Generator) -> Floats:
    """Asphalt, concrete: a grey with fine and coarse grain."""
    x, y = _coordinates()
    fine = rng.normal(0, 0.05, (SIDE, SIDE)).astype(np.float32)
    level = float(rng.uniform(0.32, 0.68)) + 0.14 * (patterns.noise(x, y) - 0.5) + fine
    return floats(np.clip(level, 0, 1)[..., None] * floats(rng.uniform(0.95, 1.04, 3)))


def _marble(rng: np.random.Generator) -> Floats:
    x, y = _coordinates()
    bend = patterns.noise(x, y)
    vein = np.clip(1 - 5 * np.abs(np.sin(2 * np.pi * (x + y + bend * 1.4))), 0, 1)
    dark = bool(rng.random() < 0.3)
    stone, streak = ("#3a3b3f", "#c9c7c2") if dark else ("#eceae6", "#9b9a9a")
    return _between(stone, streak, floats(vein * 0.6 + 0.12 * bend))


def _cloth(rng: np.random.Generator) -> Floats:
    """Rug, tablecloth, bedding."""
    x, y = _coordinates()
    names = list(COLOURS)
    base, second = rgb(COLOURS[names[int(rng.integers(len(names)))]]), rgb(COLOURS["Cream"])
    kind = ["plain", "striped", "checked", "plain", "chevron"][int(rng.integers(5))]
    share = patterns.draw(kind, x, y, 1 / int(rng.integers(3, 7)), 0.0) * 0.8 + 0.2
    colour = floats(base) + (floats(second) - floats(base)) * share[..., None]
    thread = 0.92 + 0.1 * patterns.noise(x * 3, y * 3) + rng.normal(0, 0.03, (SIDE, SIDE))
    return floats(colour * thread[..., None])


def _grass(rng: np.random.Generator) -> Floats:
    x, y = _coordinates()
    blade = patterns.noise(x * 5, y * 2) * 0.6 + patterns.noise(x, y) * 0.4
    return _between("#2f4a20", "#8fae58", floats(blade + rng.normal(0, 0.06, blade.shape)))


def _paint(rng: np.random.Generator) -> Floats:
    """A painted wall with a skirting board; some have wallpaper."""
    x, y = _coordinates()
    base = floats(rng.uniform(0.55, 0.93)) * floats(rng.uniform(0.9, 1.05, 3))
    wall = np.broadcast_to(base, (SIDE, SIDE, 3)) * (0.97 + 0.05 * patterns.noise(x, y))[..., None]
    if rng.random() < 0.35:
        paper = patterns.draw(["striped", "dotted", "chevron", "floral"][int(rng.integers(4))], y, x, 0.06, 0.0)
        wall = wall * (1 - 0.13 * paper)[..., None]
    board = (y > 0.965)[..., None]
    return floats(np.where(board, 0.9, wall))


def _bricks(rng: np.random.Generator) -> Floats:
    x, y = _coordinates()
    rows, columns = 26, 11
    row = np.floor(y * rows).astype(int)
    along = x * columns + 0.5 * (row % 2)
    tone = rng.uniform(0, 1, (rows, columns + 1))[row, np.floor(along).astype(int) % columns]
    brick = _between("#7d4030", "#b56b50", floats(tone * 0.8 + 0.2 * patterns.noise(x * 2, y * 2)))
    joint = np.minimum(np.abs(y * rows - np.round(y * rows)), np.abs(along - np.round(along)) * 2) < 0.07
    return floats(np.where(joint[..., None], 0.68, brick))


def _shelves(rng: np.random.Generator) -> Floats:
    """Boards full of books, boxes and pots."""
    wall = tuple(int(v) for v in rng.uniform(150, 225, 3))
    picture = Image.new("RGB", (SIDE, SIDE), wall)
    draw = ImageDraw.Draw(picture)
    names = list(COLOURS.values())
    for floor in range(SIDE, 0, -128):
        x = 4.0
        while x < SIDE - 20:
            width, height = float(rng.uniform(12, 60)), float(rng.uniform(40, 108))
            fill = tuple(int(255 * c * rng.uniform(0.6, 1)) for c in rgb(names[int(rng.integers(len(names)))]))
            body = (x, floor - 10 - height, x + width, floor - 10)
            if width > 30 and rng.random() < 0.4:
                draw.ellipse(body, fill=fill)
            else:
                draw.rectangle(body, fill=fill)
                draw.line((x + width * 0.2, body[1], x + width * 0.2, body[3]), fill=(240, 240, 235), width=2)
            x += width + float(rng.choice([0, 2, 25]))
        draw.rectangle((0, floor - 10, SIDE, floor), fill=(112, 82, 54))
    return floats(picture.filter(ImageFilter.GaussianBlur(3))) / np.float32(255)


def _street(rng: np.random.Generator) -> Floats:
    """House fronts with windows, a tree, a strip of sky, out of focus."""
    picture = Image.new("RGB", (SIDE, SIDE), (190, 205, 222))
    draw = ImageDraw.Draw(picture)
    x = -20.0
    while x < SIDE:
        width, top = float(rng.uniform(90, 190)), float(rng.uniform(0, 160))
        tone = tuple(int(v) for v in rng.uniform(90, 215) * rng.uniform(0.85, 1.05, 3))
        draw.rectangle((x, top, x + width, SIDE), fill=tone)
        for wy in np.arange(top + 24, SIDE - 40, 64):
            for wx in np.arange(x + 16, x + width - 28, 44):
                draw.rectangle((wx, wy, wx + 24, wy + 38), fill=(60, 70, 84))
        x += width
    for _ in range(3):
        cx, cy = rng.uniform(0, SIDE), rng.uniform(200, 420)
        draw.rectangle((cx - 6, cy, cx + 6, SIDE), fill=(70, 52, 38))
        for _ in range(14):
            dx, dy, r = rng.uniform(-60, 60), rng.uniform(-70, 30), rng.uniform(18, 38)
            green = tuple(int(v) for v in np.array([70, 110, 50]) * rng.uniform(0.7, 1.3))
            draw.ellipse((cx + dx - r, cy + dy - r, cx + dx + r, cy + dy + r), fill=green)
    return floats(picture.filter(ImageFilter.GaussianBlur(7))) / np.float32(255)


FLOORS: dict[str, Callable[[np.random.Generator], Floats]] = {
    "planks": _planks,
    "tiles": _tiles,
    "stone": _stone,
    "marble": _marble,
    "cloth": _cloth,
    "grass": _grass,
}
WALLS: dict[str, Callable[[np.random.Generator], Floats]] = {
    "paint": _paint,
    "bricks": _bricks,
    "shelves": _shelves,
    "street": _street,
}


@cache
def tile(kind: str, variant: int) -> NDArray[np.uint8]:
    """One of the `VARIANTS` tiles of a kind, [512, 512, 3]; the same in every process."""
    make = FLOORS.get(kind) or WALLS[kind]
    drawn = make(np.random.default_rng([sum(kind.encode()), variant]))
    return np.asarray(np.clip(drawn * 255, 0, 255), dtype=np.uint8)


def sample(picture: NDArray[np.uint8], u: Floats, v: Floats) -> NDArray[np.uint8]:
    """The tile's colour at u, v (1 = once across; it repeats), nearest pixel."""
    column = (u * SIDE).astype(np.int32) & (SIDE - 1)
    row = (v * SIDE).astype(np.int32) & (SIDE - 1)
    return picture.reshape(-1, 3).take(row * SIDE + column, axis=0)
