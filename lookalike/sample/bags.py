"""Bags: a sewn body (tote, handbag, backpack, bucket, holdall, satchel) with its straps, flaps and buckles."""

from dataclasses import dataclass

import numpy as np

from lookalike.sample.arrays import floats
from lookalike.sample.bag_parts import BODY, DARK, METAL, TRIM, arch, buckle, pouch, ribbon, zipper
from lookalike.sample.family import Draft, Family, Look, Model, Rng, any_colour, between, contrast, pick
from lookalike.sample.mesh import Mesh, cushion, grid, join, lathe, smooth, tube
from lookalike.sample.palette import METALS, Finish, colour, mix, rgb


@dataclass(frozen=True)
class Shape:
    kind: str
    width: float
    depth: float
    height: float
    flare: float
    handle: float
    flap: float
    pocket: bool
    strap: bool
    buckles: int
    metal: str
    trim: str


KINDS = {
    "tote": ("tote bag", "Casual", 35),
    "handbag": ("handbag", "Classic", 90),
    "backpack": ("backpack", "Sporty", 60),
    "bucket": ("bucket bag", "Modern", 70),
    "holdall": ("weekender", "Casual", 85),
    "satchel": ("satchel", "Classic", 95),
}


def draft(rng: Rng) -> Draft:
    kind = pick(rng, list(KINDS))
    noun, style, price = KINDS[kind]
    shape = Shape(
        kind=kind,
        width=between(rng, 0.72, 1.0) * (1.15 if kind == "holdall" else 0.8 if kind == "backpack" else 1.0),
        depth=between(rng, 0.2, 0.36),
        height=between(rng, 0.58, 0.86) * (0.72 if kind in ("holdall", "satchel", "handbag") else 1.1),
        flare=between(rng, -0.16, 0.2),
        handle=between(rng, 0.2, 0.42),
        flap=between(rng, 0.32, 0.72),
        pocket=bool(rng.random() < 0.5),
        strap=bool(rng.random() < 0.5),
        buckles=int(rng.integers(1, 3)),
        metal=pick(rng, ["brass", "steel", "black"]),
        trim=pick(rng, ["Brown", "Black", "Beige", "same", "same"]),
    )
    return Draft(shape, noun, style, price * between(rng, 0.6, 2.0))


def dress(shape: Shape, rng: Rng) -> Look:
    name = any_colour(rng)
    material = pick(
        rng,
        {"tote": ["Canvas", "Canvas", "Leather"], "backpack": ["Canvas", "Nylon"]}.get(
            shape.kind, ["Leather", "Leather", "Suede", "Canvas"]
        ),
    )
    patterns = ["plain"]
    if material == "Canvas":
        patterns = ["plain", "striped", "floral", "dotted", "checked", "two-tone", "triangles", "chevron"]
    if material == "Leather":
        patterns = ["plain", "plain", "plain", "two-tone", "checked"]
    return Look(name, material, pick(rng, patterns), contrast(name, rng))


def model(shape: Shape, look: Look) -> Model:
    parts = {
        "tote": _tote,
        "handbag": _handbag,
        "backpack": _backpack,
        "bucket": _bucket,
        "holdall": _holdall,
        "satchel": _satchel,
    }[shape.kind](shape)
    rendered = {"Canvas": "fabric", "Nylon": "fabric", "Leather": "leather", "Suede": "suede"}[look.material]
    along = shape.width if shape.kind == "holdall" else shape.height  # where a second tone begins
    scale = {"two-tone": along * 0.58, "floral": 0.26}.get(look.pattern, 0.17)
    tone = colour(look.colour)
    trim = mix(tone, (0.0, 0.0, 0.0), 0.3) if shape.trim == "same" else colour(shape.trim)
    finishes = (
        look.finish(rendered, scale),
        Finish("leather", trim),
        Finish("metal", rgb(METALS[shape.metal])),
        Finish("fabric", (0.16, 0.14, 0.13)),
    )
    return Model(join(parts), finishes)


def _tote(shape: Shape) -> list[Mesh]:
    w, h, d = shape.width, shape.height, shape.depth
    parts = [pouch(w, d, h, shape.flare, top_depth=0.75, sag=0.05)]
    x = w * 0.24
    for y in (-d * 0.44, d * 0.44):
        near = y < 0
        low = h * (0.55 if near else 0.9)
        handle = arch(x, low, h + shape.handle, y * 1.15 if near else y * 0.9, width=0.055)
        parts.append(handle.lifted(0.12 if near else 0.0))
    if shape.pocket:
        parts.append(cushion(w * 0.5, 0.06, h * 0.32, BODY, power=8).moved(0, -d * 0.57, h * 0.28).lifted(0.06))
    return parts


def _handbag(shape: Shape) -> list[Mesh]:
    w, h, d = shape.width, shape.height, shape.depth
    parts = [pouch(w, d, h, -abs(shape.flare) * 1.6, top_depth=0.6, sag=0.0)]
    parts += _flap(shape, w * (1 - abs(shape.flare) * 0.7), -d * 0.6)
    parts.append(buckle(0, -d * 0.66, h * (1 - shape.flap) + 0.02))
    keys = [
        (-w * 0.26, 0, h - 0.03),
        (-w * 0.24, 0, h + shape.handle * 0.7),
        (w * 0.24, 0, h + shape.handle * 0.7),
        (w * 0.26, 0, h - 0.03),
    ]
    parts.append(tube(smooth(keys, 24), 0.024, TRIM, segments=10))
    for side in (-1, 1):
        parts.append(buckle(side * w * 0.26, -0.02, h - 0.02, 0.05))
    return parts


def _flap(shape: Shape, width: float, y: float) -> list[Mesh]:
    """A flap over the front, its lower edge round."""
    h, d = shape.height, shape.depth
    across = np.linspace(-1, 1, 15)
    drop = h * shape.flap * (1 - 0.25 * np.abs(across) ** 3)
    rows = []
    for t in np.linspace(0, 1, 9):
        hang = np.maximum(t * 1.3 - 0.3, 0) * drop
        back = max(0.3 - t, 0.0) / 0.3
        depth = np.full(15, y - 0.02 - 0.05 * np.sin(np.pi * t)) * (1 - back) + d * 0.3 * back
        rows.append(
            np.stack([across * width / 2 * 1.01, depth, h + 0.025 * np.sin(np.pi * min(t * 2, 1)) - hang], axis=1)
        )
    front = np.stack(rows[::-1]).astype(np.float32)
    sheet = grid(front, BODY, ring=False)
    edge = tube(front[0] + floats([0, -0.006, 0]), 0.011, TRIM, segments=6).lifted(0.08)
    return [sheet.mapped(sheet.points[:, [0, 2]]).lifted(0.05), edge]


def _satchel(shape: Shape) -> list[Mesh]:
    w, h, d = shape.width * 1.05, shape.height * 1.05, shape.depth * 0.85
    parts = [pouch(w, d, h, 0.0, top_depth=0.95, sag=0.0)]
    parts += _flap(shape, w * 0.99, -d * 0.6)
    places = [0.0] if shape.buckles == 1 else [-w * 0.26, w * 0.26]
    for x in places:
        low = h * (1 - shape.flap) - 0.05
        keys = [(x, -d * 0.6 - 0.05, h * 0.92), (x, -d * 0.6 - 0.075, h * 0.6), (x, -d * 0.6 - 0.05, low)]
        parts.append(ribbon(keys, 0.055, 0.015).lifted(0.1))
        parts.append(buckle(x, -d * 0.6 - 0.065, low + 0.02).lifted(0.06))
    parts.append(arch(w * 0.16, h, h + 0.13, 0.0, width=0.04))
    if shape.strap:
        keys = [
            (-w * 0.5, 0, h * 0.85),
            (-w * 0.48, 0.02, h + 0.3),
            (0, 0.04, h + shape.handle + 0.25),
            (w * 0.48, 0.02, h + 0.3),
            (w * 0.5, 0, h * 0.85),
        ]
        parts.append(ribbon(keys, 0.045, 0.015, count=34))
    return parts


def _backpack(shape: Shape) -> list[Mesh]:
    w, h, d = shape.width, shape.height * 1.12, shape.depth * 1.1
    body = cushion(w, d, h, BODY, power=4.5).moved(z=h / 2)
    across = np.where(np.abs(body.normals[:, 0]) < 0.75, body.points[:, 0], body.points[:, 1])
    body = body.mapped(np.stack([across, body.points[:, 2]], axis=1))
    pocket = cushion(w * 0.76, d * 0.45, h * 0.4, BODY if shape.flap < 0.5 else TRIM, power=4.5).moved(
        0, -d * 0.5, h * 0.29
    )
    pocket = pocket.mapped(pocket.points[:, [0, 2]]).lifted(0.1)
    zips = [
        zipper(w * 0.36, -d * 0.71, h * 0.42).lifted(0.2),
        zipper(w * 0.4, -d * 0.46, h * 0.78, rise=0.09).lifted(0.12),
    ]
    loop = arch(w * 0.13, h - 0.03, h + 0.11, d * 0.1, width=0.035)
    straps = []
    for side in (-1, 1):
        x = side * w * 0.24
        keys = [
            (x, d * 0.3, h * 0.93),
            (x * 1.5, d * 0.75, h * 0.78),
            (x * 1.7, d * 0.8, h * 0.42),
            (x * 1.7, d * 0.42, h * 0.08),
        ]
        straps.append(ribbon(keys, 0.085, 0.03))
    parts = [body, pocket, *zips, loop, *straps]
    if shape.pocket:
        side_pocket = cushion(d * 0.36, d * 0.62, h * 0.34, TRIM, power=4).moved(z=h * 0.24)
        parts += [side_pocket.moved(side * w * 0.5) for side in (-1, 1)]
    if shape.buckles == 2:
        for side in (-1, 1):
            x = side * w * 0.2
            keys = [(x, -d * 0.44, h * 0.9), (x, -d * 0.58, h * 0.66), (x, -d * 0.74, h * 0.4)]
            parts += [ribbon(keys, 0.05, 0.014).lifted(0.18), buckle(x, -d * 0.66, h * 0.5, 0.06).lifted(0.14)]
    return parts


def _bucket(shape: Shape) -> list[Mesh]:
    w, h = shape.width * 0.36, shape.height
    keys = [
        (w * 0.82, 0.0),
        (w * 0.88, 0.03),
        (w * 0.98, h * 0.4),
        (w * (1 + shape.flare * 0.3), h * 0.75),
        (w * 0.93, h),
    ]
    outside = smooth(keys, 18)
    skin = np.concatenate([[(0, 0)], outside])
    inside = np.concatenate([outside[-1:], outside[::-1][:8] - floats([0.02, 0]), [(0, h * 0.6)]])
    rim = floats(
        [[w * 0.965, h * 0.8], [w * 0.985, h * 0.8], [w * 0.985, h * 0.86], [w * 0.965, h * 0.86], [w * 0.965, h * 0.8]]
    )
    base = np.concatenate([[(0, 0)], outside[:5] + floats([0.008, 0]), outside[4:5]])
    parts = [
        lathe(skin, BODY, segments=44, power=2.4, caps=False),
        lathe(inside, DARK, segments=44, power=2.4, caps=False),
    ]
    parts += [lathe(rim * floats([1.02, 1]), TRIM, segments=44, power=2.4, caps=False).lifted(0.02)]
    parts += [lathe(base, TRIM, segments=44, power=2.4, caps=False).lifted(0.02)]
    strap = [
        (-w, 0, h * 0.84),
        (-w * 0.95, 0, h + shape.handle * 0.7),
        (0, 0, h + shape.handle * 1.3),
        (w * 0.95, 0, h + shape.handle * 0.7),
        (w, 0, h * 0.84),
    ]
    parts.append(ribbon(strap, 0.055, 0.018, count=32))
    for x in (-0.035, 0.035):
        tie = smooth([(0, -w * 1.02, h * 0.83), (x, -w * 1.08, h * 0.68), (x * 1.6, -w * 1.05, h * 0.5)], 10)
        parts.append(tube(tie, 0.012, TRIM, segments=6).lifted(0.1))
    return parts


def _holdall(shape: Shape) -> list[Mesh]:
    w, r = shape.width, shape.height * 0.36
    steps = np.array([-1, -0.98, -0.93, -0.75, -0.5, -0.2, 0.2, 0.5, 0.75, 0.93, 0.98, 1])
    ring = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    lattice = np.empty((len(steps), 36, 3), np.float32)
    for row, t in enumerate(steps):
        grow = 1 - 0.22 * max(abs(t) - 0.9, 0) / 0.1
        flat = np.maximum(np.sin(ring), -0.8)
        lattice[row, :, 0] = t * w / 2
        lattice[row, :, 1] = r * grow * np.cos(ring)
        lattice[row, :, 2] = r * (0.8 + grow * flat * (1.0 - 0.05 * (1 - t**2)))
    body = grid(lattice, BODY)
    seams = []
    for side in (-1, 1):
        hoop = np.stack(
            [
                np.full(37, side * w * 0.44),
                r * 1.01 * np.cos(np.append(ring, 0)),
                r * (0.8 + 1.01 * np.maximum(np.sin(np.append(ring, 0)), -0.8)),
            ],
            1,
        )
        seams.append(tube(hoop, 0.02, TRIM, segments=6).lifted(0.02))
    zipper = tube(
        smooth([(-w * 0.42, 0, r * 1.8), (0, 0, r * 1.78), (w * 0.42, 0, r * 1.8)], 12), 0.014, METAL, segments=6
    ).lifted(0.02)
    parts = [body, *seams, zipper]
    x = w * 0.2
    for y in (-1, 1):
        bow = [
            (-x, y * r * 0.9, r * 0.5),
            (-x, y * r * 0.75, r * 1.5),
            (-x * 0.6, y * r * 0.25, r * 1.8 + shape.handle * 0.7),
        ]
        bow += [
            (x * 0.6, y * r * 0.25, r * 1.8 + shape.handle * 0.7),
            (x, y * r * 0.75, r * 1.5),
            (x, y * r * 0.9, r * 0.5),
        ]
        parts.append(tube(smooth(bow, 30), 0.022, TRIM, segments=8).lifted(0.08 if y < 0 else 0.0))
    if shape.pocket:
        parts.append(cushion(w * 0.3, 0.08, r * 0.8, TRIM, power=6).moved(0, -r * 0.97, r * 0.75).lifted(0.04))
    return parts


FAMILY = Family("Bags", 44, draft, dress, model, yaws=(-48, 48), pitches=(4, 30))
