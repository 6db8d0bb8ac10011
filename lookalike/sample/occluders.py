"""Things that get in the way: fingers that hold a product, a plant's leaves, a price tag, a scarf's edge."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from lookalike.sample.family import Rng, pick
from lookalike.sample.mesh import smooth
from lookalike.sample.palette import COLOURS, colour


def draw(kind: str, side: int, rng: Rng) -> Image.Image:
    """An RGBA picture [side, side] to lay over a photo."""
    layer = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    {"leaves": _leaves, "fingers": _fingers, "tag": _tag, "cloth": _cloth}[kind](layer, rng)
    return layer


def _leaves(layer: Image.Image, rng: Rng) -> None:
    """A few long leaves that reach in from one corner, soft as near things are."""
    side = layer.width
    root = np.array([pick(rng, [-0.05, 1.05]), rng.uniform(0.5, 1.1)]) * side
    draw = ImageDraw.Draw(layer)
    for _ in range(int(rng.integers(4, 8))):
        aim = np.array([0.5, 0.5]) * side + rng.normal(0, 0.22, 2) * side
        tip = root + (aim - root) * rng.uniform(0.55, 0.95)
        way = tip - root
        across = np.array([-way[1], way[0]]) * rng.uniform(0.07, 0.13)
        bend = across * rng.uniform(-2, 2)
        rim = [root, root + way * 0.45 + across + bend, tip, root + way * 0.45 - across + bend, root]
        tone = np.array([52, 104, 56]) * rng.uniform(0.6, 1.4)
        draw.polygon([tuple(p) for p in smooth(rim, 40)], fill=(*(int(c) for c in tone), 255))
        rib = smooth([root, root + way * 0.45 + bend, tip], 12)
        draw.line([tuple(p) for p in rib], fill=(*(int(min(c * 1.35, 255)) for c in tone), 255), width=2)
    layer.paste(layer.filter(ImageFilter.GaussianBlur(rng.uniform(0.6, 1.8))))


def _fingers(layer: Image.Image, rng: Rng) -> None:
    """Four fingers from the side, each shaded by strokes that grow thinner and lighter."""
    side = layer.width
    skin = np.array(pick(rng, [(226, 178, 148), (198, 140, 106), (141, 92, 66), (92, 60, 44), (240, 200, 176)]))
    left = rng.random() < 0.5
    width = side * rng.uniform(0.055, 0.075)
    top, reach = rng.uniform(0.45, 0.68) * side, rng.uniform(0.26, 0.42) * side
    draw = ImageDraw.Draw(layer)
    for finger in range(4):
        y = top + finger * width * 1.02
        tip = reach * (1 - 0.09 * abs(finger - 1.2))
        for shade in np.linspace(0, 1, 7):
            thick = width * (1 - 0.75 * shade)
            fill = (*(int(c) for c in skin * (0.68 + 0.36 * shade)), 255)
            keys = [(-width, y + width * 0.6), (tip * 0.55, y - shade * 1.5), (tip, y + width * 0.12 - shade * 1.5)]
            line = smooth([(x if left else side - x, h) for x, h in keys], 14)
            draw.line([tuple(p) for p in line], fill=fill, width=int(thick), joint="curve")
            x, h = line[-1]
            draw.ellipse((x - thick / 2, h - thick / 2, x + thick / 2, h + thick / 2), fill=fill)
    layer.paste(layer.filter(ImageFilter.GaussianBlur(0.8)))


def _tag(layer: Image.Image, rng: Rng) -> None:
    """A price tag hanging into the picture."""
    side = layer.width
    tag = Image.new("RGBA", (int(side * 0.17), int(side * 0.26)), (0, 0, 0, 0))
    pen = ImageDraw.Draw(tag)
    w, h = tag.size
    pen.rounded_rectangle((0, 0, w - 1, h - 1), radius=w // 8, fill=(248, 244, 232, 255), outline=(190, 184, 170, 255))
    pen.ellipse((w * 0.43, h * 0.05, w * 0.57, h * 0.05 + w * 0.14), fill=(120, 116, 108, 255))
    for line in range(4):
        y = h * (0.3 + 0.14 * line)
        pen.line((w * 0.16, y, w * rng.uniform(0.5, 0.85), y), fill=(70, 70, 76, 255), width=3 if line == 0 else 2)
    tag = tag.rotate(rng.uniform(-28, 28), Image.Resampling.BILINEAR, expand=True)
    x, y = int(side * rng.uniform(0.2, 0.62)), int(side * rng.uniform(0.25, 0.6))
    ImageDraw.Draw(layer).line((x + tag.width / 2, y + 10, x + tag.width * 0.8, -5), fill=(150, 130, 100, 255), width=2)
    layer.alpha_composite(tag, (x, y))


def _cloth(layer: Image.Image, rng: Rng) -> None:
    """The edge of a curtain or sleeve along one side, with folds."""
    side = layer.width
    tone = np.array(colour(pick(rng, list(COLOURS)))) * 255
    y = np.arange(side)
    edge = side * rng.uniform(0.16, 0.34) + side * 0.03 * np.sin(y / side * rng.uniform(4, 11) + rng.uniform(0, 6))
    x = np.arange(side)[None, :]
    folds = 0.8 + 0.22 * np.sin(x / side * rng.uniform(40, 80) + 0.008 * y[:, None])
    pixels = np.zeros((side, side, 4), np.uint8)
    pixels[..., :3] = np.clip(tone * folds[..., None], 0, 255)
    pixels[..., 3] = np.clip((edge[:, None] - x) * 40, 0, 255)
    picture = Image.fromarray(pixels, "RGBA").filter(ImageFilter.GaussianBlur(1))
    turned = {0: None, 1: Image.Transpose.FLIP_LEFT_RIGHT, 2: Image.Transpose.ROTATE_90}[int(rng.integers(3))]
    layer.alpha_composite(picture if turned is None else picture.transpose(turned))
