"""Table lamps: a turned, arched or three-legged base under one of five shades."""

from dataclasses import dataclass

import numpy as np

from lookalike.sample.arrays import floats
from lookalike.sample.family import Draft, Family, Look, Model, Rng, any_colour, between, contrast, pick
from lookalike.sample.mesh import Mesh, bar, bevelled, box, join, lathe, smooth, tube
from lookalike.sample.palette import METALS, WOODS, Finish, rgb

SHADE, BASE, STEM, BULB = 0, 1, 2, 3


@dataclass(frozen=True)
class Shape:
    base: str
    shade: str
    height: float
    width: float
    shade_height: float
    shade_width: float
    metal: str
    wood: str
    base_colour: str
    base_material: str


def draft(rng: Rng) -> Draft:
    base = pick(rng, ["bottle", "ball", "column", "tripod", "arc", "block", "gourd"])
    shade = pick(rng, ["drum", "cone", "dome", "pleated", "globe"])
    if base == "arc":
        shade = "dome"
    material = {"tripod": "wood", "arc": "metal", "block": pick(rng, ["wood", "stoneware"])}.get(base)
    shape = Shape(
        base=base,
        shade=shade,
        height=between(rng, 0.42, 0.72),
        width=between(rng, 0.13, 0.24),
        shade_height=between(rng, 0.22, 0.36),
        shade_width=between(rng, 0.22, 0.36),
        metal=pick(rng, list(METALS)),
        wood=pick(rng, list(WOODS)),
        base_colour=any_colour(rng),
        base_material=material or pick(rng, ["ceramic", "metal", "ceramic", "glass"]),
    )
    style = {"tripod": "Scandinavian", "arc": "Industrial", "block": "Modern", "gourd": "Classic"}.get(base)
    noun = {"arc": "desk lamp", "tripod": "tripod lamp"}.get(base, "table lamp")
    return Draft(shape, noun, style or pick(rng, ["Classic", "Modern"]), between(rng, 24, 180))


def dress(shape: Shape, rng: Rng) -> Look:
    name = any_colour(rng)
    if shape.shade == "globe":
        return Look(pick(rng, ["White", "Cream", "Yellow", "Orange", "Pink", "Teal"]), "Glass")
    if shape.shade == "dome":
        return Look(name, "Metal")
    material = pick(rng, ["Fabric", "Fabric", "Paper"])
    patterns = ["plain", "plain", "striped", "dotted", "floral", "chevron", "checked"]
    return Look(name, material, "plain" if shape.shade == "pleated" else pick(rng, patterns), contrast(name, rng))


def model(shape: Shape, look: Look) -> Model:
    parts, top, x = _base(shape)
    parts += [part.moved(x=x) for part in _shade(shape, top)]
    rendered = {"Fabric": "fabric", "Paper": "paper", "Metal": "lacquer", "Glass": "ceramic"}[look.material]
    scale = {"floral": 0.13, "striped": 0.1}.get(look.pattern, 0.085)
    cover = look.finish(rendered, scale, turn=90.0 if look.pattern == "striped" and shape.shade == "cone" else 0.0)
    glow = {"Metal": 0.0, "Glass": 0.55}.get(look.material, 0.3)
    cover = Finish(rendered, cover.colour, cover.pattern, cover.second, cover.scale, cover.turn, glow)
    metal = Finish("metal", rgb(METALS[shape.metal]))
    base = {
        "wood": Finish("wood", rgb(WOODS[shape.wood])),
        "metal": metal,
    }.get(shape.base_material, Look(shape.base_colour, "").finish(shape.base_material, 0.1))
    bulb = Finish("paper", (1.0, 0.93, 0.78), glow=1.2)
    return Model(join(parts), (cover, base, metal, bulb))


def _base(shape: Shape) -> tuple[list[Mesh], float, float]:
    """Its parts, the height at which the shade hangs, and how far to the side."""
    h, w = shape.height, shape.width
    neck = [(0.022, h - 0.04), (0.018, h + 0.05), (0, h + 0.05)]
    turned = {
        "bottle": [(w * 0.8, 0), (w * 0.95, 0.04), (w * 0.95, h * 0.4), (w * 0.5, h * 0.66), (0.035, h * 0.78)],
        "ball": [(w * 0.5, 0), (w * 0.95, h * 0.22), (w * 1.15, h * 0.42), (w * 0.8, h * 0.68), (0.035, h * 0.84)],
        "gourd": [(w * 0.7, 0), (w, h * 0.2), (w * 0.5, h * 0.45), (w * 0.7, h * 0.62), (0.04, h * 0.84)],
        "column": [(w * 0.95, 0), (w * 0.95, 0.03), (w * 0.3, 0.07), (w * 0.24, h * 0.5), (w * 0.3, h * 0.9)],
    }
    if shape.base in turned:
        body = np.concatenate([[(0, 0)], smooth(turned[shape.base], 24)])
        return [lathe(body, BASE), lathe([(0.03, h * 0.78), *neck], STEM, segments=14)], h, 0.0
    if shape.base == "block":
        parts = [box(w * 1.5, w * 1.5, h * 0.7, BASE, bevel=0.02), bar((0, 0, h * 0.65), (0, 0, h + 0.05), 0.016, STEM)]
        return parts, h, 0.0
    if shape.base == "tripod":
        angles = np.radians(np.array([90, 210, 330]))
        legs = [
            bar(
                (0.02 * np.cos(a), 0.02 * np.sin(a), h),
                (w * 1.3 * np.cos(a), w * 1.3 * np.sin(a), 0),
                [0.02, 0.014],
                BASE,
            )
            for a in angles
        ]
        hub = bevelled([(0, h - 0.05), (0.04, h - 0.05), (0.04, h + 0.03), (0, h + 0.03)], 0.01)
        return [*legs, lathe(hub, STEM)], h, 0.0
    reach = w * 1.6
    foot = lathe(bevelled([(0, 0), (w * 0.85, 0), (w * 0.85, 0.035), (0.02, 0.045), (0, 0.045)], 0.012), BASE)
    keys = [(0, 0, 0.03), (0, 0, h * 0.8), (reach * 0.3, 0, h * 1.2), (reach * 0.85, 0, h * 1.22), (reach, 0, h * 1.02)]
    return [foot, tube(smooth(keys, 30), 0.015, STEM, segments=8)], h * 0.72, reach


def _shade(shape: Shape, top: float) -> list[Mesh]:
    """The shade, open below, and the bulb inside it."""
    h, w = shape.shade_height, shape.shade_width
    low = top - 0.02
    bulb = lathe(
        smooth([(0.0, low + 0.02), (0.05, low + 0.07), (0.025, low + 0.16), (0, low + 0.17)], 10), BULB, segments=14
    )
    if shape.shade == "globe":
        r = min(h, w) * 0.72
        angle = np.linspace(-np.pi / 2, np.pi / 2, 20)
        return [lathe(np.stack([r * np.cos(angle), low + r + r * np.sin(angle)], 1), SHADE)]
    if shape.shade == "dome":
        angle = np.linspace(0, np.pi / 2, 12)
        outer = np.stack([w * np.cos(angle) + 0.012, low + h * 0.85 * np.sin(angle)], 1)
    else:
        upper = {"drum": 0.9, "cone": 0.42, "pleated": 0.55}[shape.shade]
        rise = np.linspace(0, 1, 10)[:, None]
        outer = np.concatenate([w + (w * upper - w) * rise, low + h * rise], axis=1)
    inner = outer[::-1] - floats([0.012, 0])
    inner[:, 0] = np.maximum(inner[:, 0], 0.0)
    skin = np.concatenate([outer, inner, outer[:1]])
    ribs = 26 if shape.shade == "pleated" else 0
    shade = lathe(skin, SHADE, segments=44, ribs=ribs, caps=False)
    return [shade, bulb]


FAMILY = Family("Lamps", 42, draft, dress, model, yaws=(-70, 70), pitches=(2, 22))
