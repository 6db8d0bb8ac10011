"""Chairs: a seat, one of five backs, one of five undercarriages, sometimes arms."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.sample.arrays import Floats, floats
from lookalike.sample.family import Draft, Family, Look, Model, Rng, any_colour, between, contrast, pick
from lookalike.sample.mesh import (
    Mesh,
    bar,
    box,
    circle,
    cushion,
    grid,
    join,
    prism,
    rounded_rectangle,
    smooth,
    tube,
)
from lookalike.sample.palette import METALS, WOODS, Finish, rgb

BODY, LEGS, PAD = 0, 1, 2
STYLES = {
    "slats": "Classic",
    "ladder": "Rustic",
    "panel": "Modern",
    "shell": "Scandinavian",
    "spindles": "Classic",
    "upholstered": "Modern",
    "hoop": "Scandinavian",
}


@dataclass(frozen=True)
class Shape:
    back: str
    legs: str
    seat: str
    width: float
    depth: float
    seat_height: float
    back_height: float
    splay: float
    bars: int
    lean: float
    arms: bool
    leg_wood: str
    leg_metal: str


def draft(rng: Rng) -> Draft:
    back = pick(rng, list(STYLES))
    legs = pick(rng, ["tapered", "square", "hairpin", "pedestal", "sled"])
    if back in ("ladder", "spindles", "slats"):
        legs = pick(rng, ["tapered", "square"])
    arms = bool(rng.random() < 0.3) and back not in ("ladder",)
    shape = Shape(
        back=back,
        legs=legs,
        seat="round" if back in ("spindles", "hoop") and rng.random() < 0.7 else "square",
        width=between(rng, 0.42, 0.56),
        depth=between(rng, 0.4, 0.5),
        seat_height=between(rng, 0.4, 0.48),
        back_height=between(rng, 0.34, 0.58),
        splay=between(rng, 0.0, 0.09) if legs != "square" else 0.0,
        bars=int(rng.integers(3, 8)),
        lean=between(rng, 0.08, 0.22),
        arms=arms,
        leg_wood=pick(rng, list(WOODS)),
        leg_metal=pick(rng, ["steel", "black", "brass"]),
    )
    noun = "armchair" if arms else pick(rng, ["chair", "dining chair", "side chair"])
    style = "Industrial" if legs in ("hairpin", "sled") and rng.random() < 0.6 else STYLES[back]
    return Draft(shape, noun, style, between(rng, 59, 340) + 60 * arms)


def dress(shape: Shape, rng: Rng) -> Look:
    if shape.back in ("slats", "ladder", "spindles", "hoop"):
        return Look(any_colour(rng), "Wood")
    if shape.back == "shell":
        return Look(any_colour(rng), pick(rng, ["Plastic", "Plastic", "Leather", "Velvet"]))
    material = pick(rng, ["Fabric", "Fabric", "Velvet", "Leather"])
    name = any_colour(rng)
    pattern = "plain"
    if material == "Fabric":
        pattern = pick(rng, ["plain", "striped", "checked", "floral", "chevron", "dotted"])
    return Look(name, material, pattern, contrast(name, rng))


def model(shape: Shape, look: Look) -> Model:
    parts = [_seat(shape), *_back(shape), *_legs(shape)]
    if shape.arms:
        parts += _arms(shape)
    rendered = {"Wood": "wood", "Plastic": "plastic", "Leather": "leather", "Velvet": "velvet", "Fabric": "fabric"}
    main = look.finish(rendered[look.material], 0.13)
    if look.material == "Wood" and look.colour in ("Brown", "Beige"):
        main = Finish("wood", rgb(WOODS["walnut" if look.colour == "Brown" else "oak"]))
    metal_legs = shape.legs in ("hairpin", "sled", "pedestal")
    legs = Finish("metal", rgb(METALS[shape.leg_metal])) if metal_legs else Finish("wood", rgb(WOODS[shape.leg_wood]))
    if look.material == "Wood":
        legs = main
    return Model(join(parts), (main, legs))


def _seat(shape: Shape) -> Mesh:
    soft = shape.back in ("upholstered", "panel")
    if soft:
        thick = 0.12
        return cushion(shape.width, shape.depth, thick, BODY, power=5).moved(z=shape.seat_height - 0.02)
    if shape.seat == "round":
        outline = circle(32, 2.5) * floats([shape.width / 2, shape.depth / 2])
    else:
        outline = rounded_rectangle(shape.width, shape.depth, 0.06)
    return prism(outline, 0.04, BODY, bevel=0.015).moved(z=shape.seat_height - 0.02)


def _back(shape: Shape) -> list[Mesh]:
    """Built upright at the seat's rear edge, then leaned back."""
    w, h = shape.width, shape.back_height
    rear = shape.depth / 2 - 0.03
    x = w / 2 - 0.035
    posts = [bar((side * x, 0, -0.02), (side * x, 0, h), [0.02, 0.016], LEGS) for side in (-1, 1)]
    parts: list[Mesh]
    if shape.back == "slats":
        parts = [*posts, _rail(w - 0.04, h - 0.04, 0.08), _rail(w - 0.07, 0.08, 0.03)]
        for at in np.linspace(-x + 0.07, x - 0.07, shape.bars):
            parts.append(box(0.028, 0.014, h - 0.1, BODY, bevel=0.004).moved(x=float(at), z=0.08))
    elif shape.back == "ladder":
        levels = np.linspace(0.12, h - 0.03, min(shape.bars, 5))
        parts = posts + [_rail(w - 0.05, float(level), 0.055) for level in levels]
    elif shape.back == "spindles":
        parts = [_rail(w * 0.98, h, 0.06)]
        for at in np.linspace(-x, x, shape.bars + 2):
            parts.append(bar((float(at) * 0.82, 0, 0), (float(at), -0.0, h), [0.011, 0.009], BODY, segments=8))
    elif shape.back == "hoop":
        arch = smooth(
            [
                (x * np.cos(a) * (1.06 if 0.3 < a < 2.8 else 1), 0, h * 1.05 * np.sin(a) ** 0.7)
                for a in np.linspace(np.pi, 0, 11)
            ],
            30,
        )
        parts = [tube(arch, 0.018, BODY, segments=8)]
        for at in np.linspace(-0.62 * x, 0.62 * x, shape.bars):
            top = h * (1.04 - 0.5 * (float(at) / x) ** 2)
            parts.append(bar((float(at) * 0.7, 0, 0), (float(at), 0, top), 0.008, BODY, segments=8))
    elif shape.back == "shell":
        parts = [_shell(shape)]
        rear -= 0.02
    else:
        thick = 0.09 if shape.back == "upholstered" else 0.05
        pad = cushion(w * 0.98, h, thick, BODY, power=5).turned("x", 90).moved(z=h / 2 + 0.05)
        parts = [pad]
        if shape.back == "panel":
            pad = cushion(w * 0.95, h * 0.6, thick, BODY, power=5).turned("x", 90).moved(z=h * 0.7)
            parts = [pad, *posts]
    return [part.sheared(y_by_z=shape.lean).moved(y=rear, z=shape.seat_height) for part in parts]


def _rail(width: float, level: float, height: float) -> Mesh:
    """A gently bowed board across the back."""
    across = np.linspace(-width / 2, width / 2, 12)
    bow = 0.045 * (1 - (2 * across / width) ** 2)
    return _bent_board(across, bow, level - height / 2, level + height / 2, 0.018)


def _bent_board(x: NDArray[np.floating], y: NDArray[np.floating], low: float, high: float, thick: float) -> Mesh:
    ring = rounded_rectangle(thick, high - low, thick * 0.4, arc=3, side=2)
    sections = [
        np.stack([np.full(len(ring), a), b + ring[:, 0], (low + high) / 2 + ring[:, 1]], 1)
        for a, b in zip(x, y, strict=True)
    ]
    return grid(np.stack(sections), BODY)


def _shell(shape: Shape) -> Mesh:
    """A moulded bucket: an upright bowl whose front is cut low."""
    w, h = shape.width / 2, shape.back_height
    turns = np.radians(np.linspace(-35, 215, 30))
    levels = np.linspace(0, 1, 10)
    outer = np.empty((10, 30, 3), np.float32)
    for row, level in enumerate(levels):
        top = 0.1 + (h - 0.1) * np.clip((np.sin(turns) + 0.3) / 1.3, 0, 1) ** 0.8
        radius = w * (0.75 + 0.32 * level**0.6)
        outer[row, :, 0] = radius * np.cos(turns)
        outer[row, :, 1] = radius * 0.8 * np.sin(turns) - shape.depth / 2 + 0.06
        outer[row, :, 2] = top * level
    return _thick_sheet(outer, 0.02)


def _thick_sheet(sheet: Floats, thick: float) -> Mesh:
    """An open sheet [r, c, 3] with a second skin inside, closed along its edges."""
    across, along = np.gradient(sheet, axis=1), np.gradient(sheet, axis=0)
    normal = np.cross(across, along)
    normal /= np.maximum(np.linalg.norm(normal, axis=2, keepdims=True), 1e-9)
    inner = sheet - normal * thick
    loop = np.concatenate([sheet, inner[::-1]], axis=0)  # up the outside, down the inside
    loop = np.concatenate([loop, loop[:1]], axis=0)
    skin = grid(loop, BODY, ring=False)
    ends = [grid(np.stack([inner[:, 0], sheet[:, 0]], 1), BODY, ring=False)]
    ends.append(grid(np.stack([sheet[:, -1], inner[:, -1]], 1), BODY, ring=False))
    return join([skin, *ends])


def _legs(shape: Shape) -> list[Mesh]:
    x, y, top = shape.width / 2 - 0.04, shape.depth / 2 - 0.045, shape.seat_height - 0.01
    feet = [(sx * x, sy * y) for sx in (-1, 1) for sy in (-1, 1)]
    out = 1 + shape.splay / 0.2
    if shape.legs == "pedestal":
        stem = bar((0, 0, 0.06), (0, 0, top), 0.028, LEGS, segments=14)
        angles = np.radians(np.arange(5) * 72 + 18)
        star = [bar((0, 0, 0.08), (0.27 * np.cos(a), 0.27 * np.sin(a), 0.03), [0.026, 0.016], LEGS) for a in angles]
        return [stem, *star]
    if shape.legs == "sled":
        runs = []
        for side in (-1, 1):
            a = side * x
            path = smooth([(a, -y, top), (a, -y * 1.1, 0.05), (a, -y * 1.05, 0.014), (a, y * 1.05, 0.014)], 20)
            up = smooth([(a, y * 1.05, 0.014), (a, y * 1.1, 0.05), (a, y * 0.9, top)], 12)
            runs += [tube(path, 0.013, LEGS, segments=8), tube(up, 0.013, LEGS, segments=8)]
        return runs
    parts: list[Mesh] = []
    for a, b in feet:
        foot = (a * out, b * out, 0.0)
        if shape.legs == "hairpin":
            parts.append(bar((a - 0.035, b, top), foot, 0.008, LEGS, segments=8))
            parts.append(bar((a + 0.035, b, top), foot, 0.008, LEGS, segments=8))
        elif shape.legs == "square":
            parts.append(box(0.042, 0.042, top, LEGS, bevel=0.005).moved(a, b))
        else:
            parts.append(bar((a, b, top), foot, [0.025, 0.014], LEGS))
    if shape.legs == "square" or shape.back in ("spindles", "ladder"):
        level = 0.35 * top
        for side in (-1, 1):
            reach = 1 + (out - 1) * 0.65
            ends = [(side * x * reach, s * y * reach, level) for s in (-1, 1)]
            parts.append(bar(ends[0], ends[1], 0.011, LEGS, segments=8))
    return parts


def _arms(shape: Shape) -> list[Mesh]:
    x, level = shape.width / 2 + 0.01, shape.seat_height + 0.2
    rear, front = shape.depth / 2, -shape.depth / 2 + 0.08
    parts = []
    for side in (-1, 1):
        rest = smooth([(side * x, rear, level + 0.02), (side * x * 1.06, 0, level), (side * x, front, level)], 12)
        parts.append(tube(rest, 0.02, LEGS, segments=10))
        parts.append(
            bar((side * x, front + 0.02, shape.seat_height - 0.02), (side * x, front + 0.02, level), 0.014, LEGS)
        )
    return parts


FAMILY = Family("Chairs", 50, draft, dress, model)
