"""Vases: a turned profile from four numbers, glazed or of glass."""

from dataclasses import dataclass

import numpy as np

from lookalike.sample.arrays import floats
from lookalike.sample.family import Draft, Family, Look, Model, Rng, any_colour, between, contrast, pick
from lookalike.sample.mesh import join, lathe, smooth, tube
from lookalike.sample.palette import Finish, colour, mix

BODY, INSIDE = 0, 1


@dataclass(frozen=True)
class Shape:
    foot: float
    belly: float
    belly_at: float
    neck: float
    neck_at: float
    mouth: float
    ribs: int
    squareness: float
    handles: bool


def draft(rng: Rng) -> Draft:
    shape = Shape(
        foot=between(rng, 0.13, 0.24),
        belly=between(rng, 0.2, 0.42),
        belly_at=between(rng, 0.25, 0.62),
        neck=between(rng, 0.06, 0.19),
        neck_at=between(rng, 0.72, 0.9),
        mouth=between(rng, 0.09, 0.24),
        ribs=int(pick(rng, [0, 0, 0, 16, 22])),
        squareness=pick(rng, [2.0, 2.0, 2.0, 4.0]),
        handles=bool(rng.random() < 0.2),
    )
    style = "Modern" if shape.squareness > 2 else pick(rng, ["Classic", "Scandinavian", "Rustic"])
    noun = "amphora" if shape.handles else "bottle vase" if shape.neck < 0.1 else pick(rng, ["vase", "flower vase"])
    return Draft(shape, noun, style, between(rng, 12, 95))


def dress(_shape: Shape, rng: Rng) -> Look:
    name = any_colour(rng)
    material = pick(rng, ["Ceramic", "Stoneware", "Glass"])
    pattern = "plain"
    if material != "Glass":
        pattern = pick(rng, ["plain", "striped", "waves", "marbled", "floral", "two-tone", "speckled", "triangles"])
    return Look(name, material, pattern, contrast(name, rng))


def model(shape: Shape, look: Look) -> Model:
    keys = [
        (shape.foot, 0.0),
        (shape.belly * 0.9 + shape.foot * 0.1, shape.belly_at * 0.55),
        (shape.belly, shape.belly_at),
        (shape.neck, shape.neck_at),
        (shape.mouth, 1.0),
    ]
    outside = smooth(keys, 34)
    outside[:, 0] = np.maximum(outside[:, 0], 0.05)
    inside = outside[::-1][:14] - floats([0.022, 0])
    inside = np.concatenate([[outside[-1]], [outside[-1] + floats([-0.011, 0.009])], inside, [(0, inside[-1, 1])]])
    inside[:, 0] = np.maximum(inside[:, 0], 0.0)
    wall = lathe(
        np.concatenate([[(0, 0)], outside]), BODY, segments=44, power=shape.squareness, ribs=shape.ribs, caps=False
    )
    parts = [
        wall.mapped_upright(),
        lathe(inside, INSIDE, segments=44, power=shape.squareness, ribs=shape.ribs, caps=False),
    ]
    if shape.handles:
        at = float(np.interp(shape.belly_at + 0.05, outside[:, 1], outside[:, 0]))
        path = smooth(
            [(at, 0, shape.belly_at + 0.05), (at + 0.1, 0, shape.neck_at - 0.08), (shape.neck, 0, shape.neck_at)], 16
        )
        ear = tube(path, 0.025, BODY)
        parts += [ear, ear.scaled(x=-1)]
    rendered = {"Ceramic": "ceramic", "Stoneware": "stoneware", "Glass": "glass"}[look.material]
    scale = {"two-tone": 0.6, "marbled": 0.35, "floral": 0.22}.get(look.pattern, 0.16)
    return Model(
        join(parts), (look.finish(rendered, scale), Finish(rendered, mix(colour(look.colour), (0.0, 0.0, 0.0), 0.25)))
    )


FAMILY = Family("Vases", 28, draft, dress, model, yaws=(-80, 80), pitches=(4, 28))
