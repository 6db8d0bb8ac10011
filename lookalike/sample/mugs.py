"""Mugs: a turned body, one of four handles, a glaze."""

from dataclasses import dataclass

import numpy as np

from lookalike.sample.arrays import Floats, floats
from lookalike.sample.family import Draft, Family, Look, Model, Rng, any_colour, between, contrast, pick
from lookalike.sample.mesh import Mesh, bevelled, join, lathe, smooth, tube
from lookalike.sample.palette import Finish, colour

BODY, INSIDE, FOOT = 0, 1, 2
WALL = 0.035


@dataclass(frozen=True)
class Shape:
    body: str
    handle: str
    radius: float
    height: float
    curve: float
    grip: float
    ribbed: bool


def draft(rng: Rng) -> Draft:
    body = pick(rng, ["straight", "tapered", "barrel", "bell", "footed", "enamel"])
    shape = Shape(
        body=body,
        handle=pick(rng, ["loop", "square", "ear", "low"]) if body != "enamel" else "loop",
        radius=between(rng, 0.33, 0.46),
        height=between(rng, 0.7, 1.05),
        curve=between(rng, 0.05, 0.16),
        grip=between(rng, 0.036, 0.055),
        ribbed=bool(rng.random() < 0.2),
    )
    noun = {"enamel": "camping mug", "footed": "latte cup", "bell": "tea cup"}.get(body, "mug")
    style = {"enamel": "Rustic", "straight": "Modern", "tapered": "Scandinavian"}.get(
        body, pick(rng, ["Classic", "Rustic"])
    )
    return Draft(shape, noun, style, between(rng, 7, 32))


def dress(shape: Shape, rng: Rng) -> Look:
    name = any_colour(rng)
    material = "Enamel" if shape.body == "enamel" else pick(rng, ["Ceramic", "Ceramic", "Stoneware"])
    options = ["plain", "striped", "dotted", "two-tone", "waves", "floral", "checked", "triangles"]
    pattern = pick(rng, ["plain", "speckled"] if material == "Enamel" else options, None)
    if material == "Stoneware":
        pattern = pick(rng, ["plain", "speckled", "two-tone", "striped"])
    return Look(name, material, pattern, contrast(name, rng))


def profile(shape: Shape) -> Floats:
    """(radius, height) of the outside, going up."""
    r, h, c = shape.radius, shape.height, shape.curve
    keys = {
        "straight": [(r * 0.96, 0), (r, 0.04), (r, h * 0.5), (r, h)],
        "tapered": [(r * 0.72, 0), (r * 0.78, 0.05), (r * 0.9, h * 0.5), (r, h)],
        "barrel": [(r * 0.8, 0), (r * 0.9, 0.08), (r * (1 + c), h * 0.45), (r * 0.92, h)],
        "bell": [(r * 0.5, 0), (r * 0.8, h * 0.15), (r * 0.92, h * 0.5), (r * 1.08, h)],
        "footed": [(r * 0.62, 0), (r * 0.55, 0.07), (r * 0.85, h * 0.3), (r, h * 0.65), (r * 1.02, h)],
        "enamel": [(r * 0.94, 0), (r, 0.05), (r, h * 0.45), (r, h * 0.84)],
    }[shape.body]
    return smooth(keys, 18)


def model(shape: Shape, look: Look) -> Model:
    outside = profile(shape)
    top, rim = float(outside[-1, 1]), float(outside[-1, 0])
    lip = [(rim - WALL * 0.2, top + 0.012), (rim - WALL * 0.8, top + 0.012)]
    inside = outside[::-1] - floats([WALL, 0])
    inside = inside[inside[:, 1] > 0.07]
    wall = lathe(np.concatenate([[(0, 0)], outside]), BODY, caps=False, segments=40, ribs=18 if shape.ribbed else 0)
    bowl = lathe(np.concatenate([[outside[-1]], lip, inside, [(0.0, 0.07)]]), INSIDE, segments=40, caps=False)
    parts = [wall.mapped_upright(), bowl, _handle(shape, outside)]
    rendered = {"Ceramic": "ceramic", "Stoneware": "stoneware", "Enamel": "enamel"}[look.material]
    scale = {"two-tone": shape.height * 0.58, "floral": 0.3, "checked": 0.22}.get(look.pattern, 0.2)
    main = look.finish(rendered, scale)
    plain = Finish(rendered, colour(look.colour))
    inner = Finish(rendered, colour("White" if look.material != "Stoneware" else look.second))
    if look.material == "Enamel":
        inner = Finish(rendered, colour("White"))
        plain = Finish(rendered, (0.12, 0.13, 0.2))
    return Model(join(parts), (main, inner, plain))


def _handle(shape: Shape, outside: Floats) -> Mesh:
    high, low = shape.height * 0.8, shape.height * 0.22
    at = np.interp([low, high], outside[:, 1], outside[:, 0]) - WALL * 0.45
    reach = at.max() + 0.26
    if shape.handle == "loop":
        keys = [
            (at[1], high),
            (reach - 0.03, high + 0.02),
            (reach, (high + low) / 2),
            (reach - 0.06, low),
            (at[0], low),
        ]
    elif shape.handle == "ear":
        keys = [
            (at[1], high),
            (reach - 0.04, high + 0.07),
            (reach + 0.03, high - 0.12),
            (reach - 0.1, low + 0.08),
            (at[0], low),
        ]
    elif shape.handle == "low":
        high *= 0.8
        keys = [
            (at[1], high),
            (reach - 0.08, high),
            (reach - 0.05, (high + low) / 2),
            (reach - 0.08, low),
            (at[0], low),
        ]
    else:
        corners = bevelled([(at[1], high), (reach, high), (reach, low), (at[0], low)], 0.07)
        keys = [tuple(corner) for corner in corners.tolist()]
    curve = smooth(keys, 26)
    path = np.stack([curve[:, 0], np.zeros(len(curve)), curve[:, 1]], axis=1)
    return tube(path, shape.grip, FOOT, segments=12, flat=1.5)


FAMILY = Family("Mugs", 40, draft, dress, model, yaws=(-55, 55), pitches=(8, 38))
