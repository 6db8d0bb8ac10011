"""Clocks that stand: alarm clocks, mantel clocks, cubes; the hands show ten past ten, as in every catalogue."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.sample.arrays import Floats, floats
from lookalike.sample.family import Draft, Family, Look, Model, Rng, any_colour, between, contrast, pick
from lookalike.sample.mesh import Mesh, bar, bevelled, box, circle, join, lathe, prism, rounded_rectangle, tube
from lookalike.sample.palette import METALS, Finish, colour, rgb

BODY, FACE, INK, METAL, HAND = 0, 1, 2, 3, 4
KINDS = {
    "alarm": ("alarm clock", "Classic"),
    "round": ("desk clock", "Modern"),
    "square": ("desk clock", "Modern"),
    "arch": ("mantel clock", "Classic"),
    "hexagon": ("shelf clock", "Scandinavian"),
    "drum": ("desk clock", "Industrial"),
}


@dataclass(frozen=True)
class Shape:
    kind: str
    radius: float
    depth: float
    rim: float
    marks: str
    hands: str
    face: str
    metal: str
    feet: bool


def draft(rng: Rng) -> Draft:
    kind = pick(rng, list(KINDS))
    noun, style = KINDS[kind]
    shape = Shape(
        kind=kind,
        radius=between(rng, 0.36, 0.44),
        depth=between(rng, 0.16, 0.34),
        rim=between(rng, 0.05, 0.12),
        marks=pick(rng, ["bars", "dots", "quarters", "all"]),
        hands=pick(rng, ["bars", "pointed"]),
        face=pick(rng, ["White", "Cream", "Black", "Navy", "White"]),
        metal=pick(rng, ["steel", "brass", "black", "copper"]),
        feet=bool(rng.random() < 0.6),
    )
    return Draft(shape, noun, style, between(rng, 15, 110))


def dress(shape: Shape, rng: Rng) -> Look:
    name = any_colour(rng)
    material = pick(
        rng, ["Metal", "Plastic"] if shape.kind in ("alarm", "drum") else ["Wood", "Plastic", "Ceramic", "Stone"]
    )
    pattern = {"Stone": ["marbled"], "Ceramic": ["plain", "dotted", "striped", "floral"]}.get(material, ["plain"])
    return Look(name, material, pick(rng, pattern), contrast(name, rng))


def model(shape: Shape, look: Look) -> Model:
    r = shape.radius
    outline = _outline(shape)
    low = float(outline[:, 1].min())
    body = _upright(prism(outline, shape.depth, BODY, bevel=0.025))
    foot = 0.09 if shape.kind in ("alarm",) or (shape.feet and shape.kind in ("round", "drum", "hexagon")) else 0.0
    parts = [body, *_dial(shape)]
    parts = [part.moved(z=foot - low) for part in parts]
    middle = foot - low
    if foot:
        for side in (-1, 1):
            x = side * r * 0.62
            for y in (-shape.depth * 0.75, -shape.depth * 0.2):
                parts.append(bar((side * r * 0.42, y, middle - r * 0.75), (x, y, 0), [0.03, 0.02], METAL, segments=8))
    elif shape.kind == "round":
        parts.append(box(r * 1.1, shape.depth * 1.25, 0.06, METAL, bevel=0.015).moved(y=-shape.depth / 2))
    if shape.kind == "alarm":
        parts += _bells(shape, middle)
    if shape.kind == "arch":
        parts.append(box(r * 2.75, shape.depth * 1.35, 0.07, BODY, bevel=0.015).moved(y=-shape.depth / 2))
        parts = [*(part.moved(z=0.05) for part in parts[:-1]), parts[-1]]
    rendered = {"Metal": "lacquer", "Plastic": "plastic", "Wood": "wood", "Ceramic": "ceramic", "Stone": "ceramic"}
    dark = shape.face in ("Black", "Navy")
    finishes = (
        look.finish(rendered[look.material], 0.4 if look.pattern == "marbled" else 0.17),
        Finish("enamel", colour(shape.face)),
        Finish("plastic", colour("Cream" if dark else "Black")),
        Finish("metal", rgb(METALS[shape.metal])),
        Finish("plastic", colour("Red") if shape.hands == "pointed" else colour("Cream" if dark else "Black")),
    )
    return Model(join(parts), finishes)


def _upright(mesh: Mesh) -> Mesh:
    """From lying on the ground to standing, its top towards the viewer."""
    return mesh.turned("x", 90)


def _outline(shape: Shape) -> Floats:
    r = shape.radius + shape.rim
    if shape.kind == "square":
        return rounded_rectangle(2 * r, 2 * r, 0.12)
    if shape.kind == "hexagon":
        corners = np.array([(np.cos(a), np.sin(a)) for a in np.radians(np.arange(7) * 60)]) * r * 1.14
        return floats(bevelled(corners, 0.05)[:-1])
    if shape.kind == "arch":
        angle = np.linspace(0, np.pi, 26)
        top = np.stack([np.cos(angle), np.sin(angle)], 1) * r
        base = np.array([(-r, -0.35 * r), (-r * 1.12, -0.8 * r), (-r * 1.16, -r * 1.05)])
        foot = np.stack([np.linspace(-r * 1.16, r * 1.16, 9)[1:-1], np.full(7, -r * 1.05)], axis=1)
        return floats(np.concatenate([top, base, foot, base[::-1] * [-1, 1]]))
    return circle(48) * floats(r)


def _dial(shape: Shape) -> list[Mesh]:
    """Bezel, face, marks, hands; the face's plane is y = -depth."""
    r, front = shape.radius, shape.depth
    bezel = lathe(
        [(r * 1.06, front - 0.01), (r * 1.06, front + 0.02), (r, front + 0.025), (r * 0.97, front + 0.006)],
        METAL,
        segments=48,
        caps=False,
    )
    face = lathe(
        [(r * 0.98, front + 0.004), (r * 0.5, front + 0.0045), (0.0, front + 0.005)], FACE, segments=48, caps=False
    )
    parts = [_upright(bezel).lifted(0.02), _upright(face).lifted(0.03)]
    level = front + 0.008
    for hour in range(12):
        main = hour % 3 == 0
        if shape.marks == "quarters" and not main:
            continue
        angle = np.radians(90 - 30 * hour)
        way = np.array([np.cos(angle), np.sin(angle)])
        if shape.marks == "dots":
            spot = lathe([(0.026 if main else 0.017, level), (0, level + 0.004)], INK, segments=10, caps=False)
            parts.append(_upright(spot.moved(*(way * r * 0.82))).lifted(0.05))
        else:
            start, end = way * r * (0.68 if main else 0.78), way * r * 0.9
            parts.append(_stroke(start, end, 0.022 if main else 0.012, level, INK).lifted(0.05))
    if shape.marks == "all":
        for minute in range(60):
            way = np.array([np.cos(np.radians(6 * minute)), np.sin(np.radians(6 * minute))])
            parts.append(_stroke(way * r * 0.88, way * r * 0.93, 0.006, level, INK).lifted(0.05))
    for turn, length, wide in ((-60 + 5, 0.5, 0.034), (60, 0.74, 0.024)):
        angle = np.radians(90 + turn * -1)
        way = np.array([np.cos(angle), np.sin(angle)])
        parts.append(_stroke(-way * r * 0.12, way * r * length, wide, level + 0.008, HAND).lifted(0.09))
    parts.append(
        _upright(
            lathe([(0.04, level + 0.006), (0.036, level + 0.024), (0, level + 0.026)], HAND, segments=14, caps=False)
        ).lifted(0.11)
    )
    return parts


def _stroke(start: NDArray[np.floating], end: NDArray[np.floating], width: float, level: float, finish: int) -> Mesh:
    """A flat bar on the dial between two places [2]."""
    length = float(np.linalg.norm(end - start))
    turn = float(np.degrees(np.arctan2(*(end - start)[::-1])))
    flat = prism(rounded_rectangle(length, width, width * 0.3, arc=2, side=2), 0.008, finish, bevel=0.002)
    x, y = (start + end) / 2
    return _upright(flat.turned("z", turn).moved(float(x), float(y), level))


def _bells(shape: Shape, middle: float) -> list[Mesh]:
    r = shape.radius + shape.rim
    parts = []
    for side in (-1, 1):
        angle = np.linspace(np.pi / 2, 0, 8)
        bell = lathe(
            np.concatenate([[(0, 0)], np.stack([0.16 * np.sin(angle), 0.12 * np.cos(angle)], 1)]),
            METAL,
            segments=22,
            caps=False,
        )
        bell = bell.turned("y", side * 32).moved(side * r * 0.56, -shape.depth / 2, middle + r * 0.86)
        parts.append(bell)
    loop = floats([(-0.1, 0, 0), (-0.1, 0, 0.17), (0, 0, 0.23), (0.1, 0, 0.17), (0.1, 0, 0)])
    loop += floats([0, -shape.depth / 2, middle + r * 0.95])
    parts.append(tube(bevelled(loop, 0.05), 0.018, METAL, segments=8))
    return parts


FAMILY = Family("Clocks", 26, draft, dress, model, yaws=(-45, 45), pitches=(2, 26))
