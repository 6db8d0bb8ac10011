"""Shoes: horizontal slices of a foot, from the sole to the collar, with laces, caps, straps and heels.

The heel is at x = -0.5, the toe at x = 0.5. `front` tells how far forward the upper reaches at each height: that curve
is the toe box and the instep, and its end the opening.
"""

from dataclasses import dataclass, replace

import numpy as np

from lookalike.sample.arrays import Floats, floats
from lookalike.sample.family import Draft, Family, Look, Model, Rng, any_colour, between, contrast, pick
from lookalike.sample.mesh import Mesh, grid, join, prism, smooth, tube
from lookalike.sample.palette import Finish, colour, mix

UPPER, ACCENT, SOLE, LACES, LINING = 0, 1, 2, 3, 4
ROUND = 48  # points of a slice


@dataclass(frozen=True)
class Shape:
    kind: str
    toe: float
    collar: float
    sole: float
    heel: float
    slim: float
    cap: bool
    counter: bool
    stripes: int
    eyelets: int
    sole_colour: str


# kind -> noun, style, price, materials
KINDS: dict[str, tuple[str, str, float, tuple[str, ...]]] = {
    "sneaker": ("sneaker", "Sporty", 70, ("Leather", "Canvas", "Suede")),
    "hightop": ("high-top", "Casual", 75, ("Canvas", "Canvas", "Leather")),
    "boot": ("lace-up boot", "Rustic", 130, ("Leather", "Suede")),
    "chelsea": ("chelsea boot", "Classic", 140, ("Leather", "Suede")),
    "loafer": ("loafer", "Classic", 95, ("Leather", "Suede", "Velvet")),
    "pump": ("pump", "Modern", 90, ("Leather", "Suede", "Velvet")),
    "runner": ("running shoe", "Sporty", 110, ("Mesh",)),
}


def draft(rng: Rng) -> Draft:
    kind = pick(rng, list(KINDS))
    noun, style, price, _ = KINDS[kind]
    shape = Shape(
        kind=kind,
        toe=between(rng, 0.1, 0.15),
        collar=between(rng, 0.0, 1.0),
        sole={"runner": between(rng, 0.09, 0.14), "pump": 0.018, "loafer": 0.03}.get(kind, between(rng, 0.045, 0.085)),
        heel={"pump": between(rng, 0.16, 0.34), "boot": 0.05, "chelsea": 0.05, "loafer": 0.035, "runner": 0.04}.get(
            kind, 0.0
        ),
        slim=between(rng, 0.88, 1.08) * (0.85 if kind == "pump" else 1.0),
        cap=bool(rng.random() < 0.5),
        counter=bool(rng.random() < 0.5),
        stripes=int(rng.integers(0, 4)),
        eyelets=int(rng.integers(4, 7)),
        sole_colour=pick(rng, ["White", "White", "Cream", "Black", "Brown"]),
    )
    return Draft(shape, noun, style, price * between(rng, 0.65, 1.6))


def dress(shape: Shape, rng: Rng) -> Look:
    name = any_colour(rng)
    material = pick(rng, KINDS[shape.kind][3])
    patterns = ["plain"]
    if material == "Canvas":
        patterns = ["plain", "plain", "checked", "floral", "striped", "dotted", "tartan"]
    if material == "Mesh":
        patterns = ["plain", "chevron", "waves", "two-tone"]
    return Look(name, material, pick(rng, patterns), contrast(name, rng))


def front(shape: Shape) -> Floats:
    """[k, 2] of (height above the sole, how far forward), from the toe up to the collar."""
    t, c = shape.toe, shape.collar
    keys = {
        "sneaker": [(0, 0.49), (t * 0.7, 0.47), (t, 0.36), (t + 0.07, 0.16), (0.27 + 0.04 * c, -0.08)],
        "runner": [(0, 0.48), (t * 0.8, 0.46), (t * 1.1, 0.32), (t + 0.1, 0.12), (0.27 + 0.04 * c, -0.1)],
        "hightop": [(0, 0.49), (t * 0.8, 0.46), (t, 0.34), (0.24, 0.08), (0.34, -0.04), (0.44 + 0.06 * c, -0.06)],
        "boot": [(0, 0.49), (t * 0.9, 0.46), (t * 1.15, 0.33), (0.26, 0.06), (0.4, -0.04), (0.54 + 0.1 * c, -0.03)],
        "chelsea": [(0, 0.49), (t * 0.8, 0.45), (t, 0.32), (0.24, 0.06), (0.36, -0.05), (0.5 + 0.06 * c, -0.05)],
        "loafer": [(0, 0.49), (t * 0.7, 0.47), (t * 0.95, 0.36), (t + 0.05, 0.2), (0.2 + 0.03 * c, 0.02)],
        "pump": [(0, 0.5), (t * 0.45, 0.47), (t * 0.7, 0.4), (t * 0.85, 0.3 - 0.08 * c), (t + 0.05, 0.24 - 0.08 * c)],
    }[shape.kind]
    return smooth(keys, 26)


def _half_width(x: Floats, shape: Shape) -> Floats:
    """Half the width of the sole at x."""
    spots = [-0.5, -0.44, -0.36, -0.1, 0.2, 0.36, 0.46, 0.5]
    sharp = 0.6 if shape.kind == "pump" else 1.0
    wide = [0.05, 0.105, 0.128, 0.118, 0.16, 0.14 * (0.5 + 0.5 * sharp), 0.09 * sharp, 0.035 * sharp]
    return floats(np.interp(x, spots, wide) * shape.slim)


def _slice(shape: Shape, reach: float, height: float, top: float) -> Floats:
    """One horizontal outline [ROUND, 3] of the upper, counter-clockwise, `reach` forward."""
    back = -0.485 + 0.03 * min(height / 0.25, 1.0) ** 2
    angle = np.linspace(0, 2 * np.pi, ROUND, endpoint=False)
    x = back + (reach - back) * (0.5 + 0.5 * np.cos(angle))
    along = np.sin(angle)
    narrow = 1 - 0.34 * min(height / 0.3, 1.0) ** 1.3
    room = _half_width(floats(back + (reach - back) * (0.5 + 0.42 * np.cos(angle))), shape)
    y = np.sign(along) * np.abs(along) ** 0.62 * room * narrow
    dip = 0.05 * np.sin(np.pi * np.clip((x + 0.5) / 0.6, 0, 1)) * (height / max(top, 1e-6)) ** 3
    return np.stack([x, y, height - dip], axis=1).astype(np.float32)


def _lift(points: Floats, shape: Shape) -> Floats:
    """Raises the heel: the ground under the foot climbs from the ball backwards."""
    rise = np.clip((0.14 - points[..., 0]) / 0.5, 0, 1)
    curve = rise * rise * (3 - 2 * rise)
    lifted = points.copy()
    lifted[..., 2] += shape.sole + (shape.heel if shape.kind == "pump" else 0.0) * curve
    return lifted


def model(shape: Shape, look: Look) -> Model:
    line = front(shape)
    top = float(line[-1, 0])
    slices = np.stack([_slice(shape, float(reach), float(height), top) for height, reach in line])
    rims = _lift(slices, shape)
    upper = grid(rims, UPPER, caps=False)
    upper = _painted(upper.mapped(upper.points[:, [0, 2]]), shape, top)
    lining = _lining(rims)
    parts = [upper, lining, *_soles(shape)]
    if shape.kind in ("sneaker", "runner", "hightop", "boot"):
        parts += _laces(shape, line, rims)
    if shape.kind in ("sneaker", "runner") and shape.stripes:
        parts += _stripes(shape, rims)
    if shape.kind == "loafer":
        parts.append(_strap(rims, 0.13, 0.035))
    if shape.kind == "pump" and shape.cap:
        parts.append(_strap(rims, 0.32, 0.02))
    rendered = {"Leather": "leather", "Canvas": "fabric", "Suede": "suede", "Velvet": "velvet", "Mesh": "fabric"}
    tone = colour(look.colour)
    accent = (
        colour(look.second) if shape.kind in ("sneaker", "runner", "hightop") else mix(tone, (0.05, 0.04, 0.04), 0.45)
    )
    sole = colour("Black") if shape.kind in ("pump", "loafer", "chelsea") else colour(shape.sole_colour)
    finishes = (
        look.finish(rendered[look.material], {"two-tone": 0.2, "checked": 0.09}.get(look.pattern, 0.1)),
        Finish("rubber" if shape.kind == "hightop" else "leather", accent),
        Finish("rubber", sole),
        Finish("fabric", colour("White") if shape.kind != "boot" else (0.2, 0.16, 0.12)),
        Finish("fabric", mix(tone, (0.25, 0.2, 0.17), 0.7)),
    )
    return Model(join(parts), finishes)


def _painted(upper: Mesh, shape: Shape, top: float) -> Mesh:
    """Toe cap, heel counter, elastic and collar in the accent's finish."""
    x, y, z = upper.points.T
    z = z - shape.sole
    mark = np.full(len(x), -1.0)
    if shape.cap and shape.kind in ("sneaker", "hightop", "boot", "runner"):
        mark = np.maximum(mark, x - 0.33)
    if shape.counter and shape.kind in ("sneaker", "hightop", "runner", "boot"):
        mark = np.maximum(mark, np.minimum(-0.33 - x - 0.25 * z, top * 0.75 - z))
    if shape.kind == "chelsea":
        mark = np.maximum(mark, np.minimum(0.01 + 0.16 * (z - 0.16) - np.abs(x + 0.24), np.abs(y) - 0.04))
    if shape.kind in ("hightop", "boot") and shape.stripes > 1:
        mark = np.maximum(mark, z - top * 0.86)
    return upper.inlaid_with(ACCENT, floats(mark))


def _lining(rims: Floats) -> Mesh:
    """The inside: from the collar's edge down, a little narrower, dark at the bottom."""
    rim = rims[-1]
    centre = rim.mean(axis=0)
    steps = [(1.0, 0.0), (0.97, 0.008), (0.9, 0.004), (0.88, -0.06), (0.86, -0.11)]
    lattice = np.stack([centre + (rim - centre) * floats([s, s, 1]) + floats([0, 0, dz]) for s, dz in steps])
    return grid(lattice, LINING, caps=True)


def _sole_outline(shape: Shape, grow: float) -> Floats:
    outline = _slice(replace(shape, slim=shape.slim * grow), 0.5, 0.0, 1.0)[:, :2]
    outline[:, 0] *= 1 + (grow - 1) * 0.4
    return outline


def _soles(shape: Shape) -> list[Mesh]:
    if shape.kind == "pump":
        return _stiletto(shape)
    thick = shape.sole
    outline = _sole_outline(shape, 1.07 if shape.kind != "loafer" else 1.03)
    sole = prism(outline, thick + 0.012, SOLE, bevel=0.012)
    if shape.kind == "runner":
        points = sole.points.copy()
        heel = np.clip((0.1 - points[:, 0]) / 0.5, 0, 1)
        top = points[:, 2] > thick * 0.5
        points[:, 2] += np.where(top, 0.045 * heel, 0) + np.where(top, 0.008 * np.sin(points[:, 0] * 22), 0)
        points[:, 2] += np.where(~top, 0.03 * np.clip((points[:, 0] - 0.3) / 0.2, 0, 1) ** 2, 0)
        sole = replace(sole, points=points.astype(np.float32))
    parts = [sole]
    if shape.kind in ("boot", "chelsea", "loafer"):
        heel = outline[outline[:, 0] < -0.2]
        heel = heel[np.argsort(np.arctan2(heel[:, 1], heel[:, 0] + 0.33))]
        parts = [part.moved(z=shape.heel) for part in parts]
        parts.append(prism(heel, shape.heel + 0.01, SOLE, bevel=0.006))
        front_half = outline.copy()
        front_half[:, 0] = np.maximum(front_half[:, 0], 0.0)
        parts.append(prism(front_half, shape.heel + 0.01, SOLE, bevel=0.02).scaled(y=0.97))
    elif shape.kind in ("sneaker", "hightop"):
        stripe = _slice(replace(shape, slim=shape.slim * 1.09), 0.507, 0.0, 1.0)
        stripe[:, 2] = thick * 0.72
        loop = np.concatenate([stripe, stripe[:1]])
        parts.append(tube(loop, 0.006, ACCENT, segments=6).lifted(0.01))
    return parts


def _stiletto(shape: Shape) -> list[Mesh]:
    """A thin sole that follows the arch, and a heel under its back."""
    outline = _slice(replace(shape, slim=shape.slim * 1.02), 0.505, 0.0, 1.0)
    high, low = _lift(outline, shape), _lift(outline, shape) - floats([0, 0, shape.sole])
    skin = grid(np.stack([low, high]), SOLE, caps=True)
    x = -0.4
    levels = np.linspace(0, 1, 8)
    ring = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    top = float(_lift(floats([[x, 0, 0]]), shape)[0, 2]) - shape.sole * 0.5
    lattice = np.empty((8, 16, 3), np.float32)
    for row, t in enumerate(levels):
        wide = 0.026 + 0.065 * t**2.2
        lattice[row, :, 0] = x - 0.02 * (1 - t) + wide * np.cos(ring)
        lattice[row, :, 1] = wide * 0.95 * np.sin(ring)
        lattice[row, :, 2] = top * t
    return [skin, grid(lattice, ACCENT)]


def _across(rims: Floats, x: float) -> Floats:
    """The line over the upper at x, from the right flank to the left: [n, 3]."""
    right: list[list[float]] = []
    left: list[list[float]] = []
    for row in rims:
        for side, points in ((-1, right), (1, left)):
            flank = row[np.sign(row[:, 1]) == side]
            flank = flank[np.argsort(flank[:, 0])]
            if flank[0, 0] < x < flank[-1, 0]:
                points.append([x, *(np.interp(x, flank[:, 0], flank[:, axis]) for axis in (1, 2))])
    return floats(right + left[::-1])


def _laces(shape: Shape, line: Floats, rims: Floats) -> list[Mesh]:
    """Bars over the instep, a bow at the top, the tongue behind it."""
    parts = []
    start, end = float(line[-1, 1]) + 0.035, min(0.27, float(np.interp(shape.toe * 1.1, line[:, 0], line[:, 1])))
    for x in np.linspace(start, end, shape.eyelets):
        over = _across(rims, float(x))
        middle = len(over) // 2
        reach = max(2, round(len(over) * 0.2))
        keys = over[middle - reach : middle + reach + 1] + floats([0.004, 0, 0.009])
        parts.append(tube(smooth(keys, 10), 0.0115, LACES, segments=6))
    collar = rims[-1]
    tip = collar[np.argmax(collar[:, 0])]
    knot = tip + floats([0.025, 0, 0.012])
    for side in (-1, 1):
        bow = [
            (0, 0, 0),
            (0.03, side * 0.05, 0.02),
            (0.06, side * 0.09, -0.02),
            (0.03, side * 0.045, -0.012),
            (0, 0, 0),
        ]
        parts.append(tube(smooth(knot + floats(bow), 16), 0.008, LACES, segments=6))
    tongue = tip + floats([(0.03, 0, -0.05), (-0.005, 0, 0.02), (-0.02, 0, 0.065)])
    widths = [0.035, 0.045, 0.05, 0.052, 0.052, 0.05, 0.045, 0.03]
    return [*parts, tube(smooth(tongue, 8), widths, ACCENT, segments=12, flat=0.35)]


def _stripes(shape: Shape, rims: Floats) -> list[Mesh]:
    """Slanted stripes on both flanks."""
    parts = []
    rows = np.arange(2, 15)
    for number in range(shape.stripes):
        for side in (1, -1):
            keys = []
            for row in rows:
                want = 0.08 - 0.085 * number - 0.012 * row
                flank = rims[row][np.sign(rims[row][:, 1]) == side]
                flank = flank[np.argsort(flank[:, 0])]
                y, z = np.interp(want, flank[:, 0], flank[:, 1]), np.interp(want, flank[:, 0], flank[:, 2])
                keys.append((want, y + side * 0.003, z))
            parts.append(tube(np.array(keys), 0.013, ACCENT, segments=6, flat=0.5).lifted(0.02))
    return parts


def _strap(rims: Floats, x: float, radius: float) -> Mesh:
    """A band over the foot at x."""
    return tube(_across(rims, x) + floats([0, 0, 0.002]), radius, ACCENT, segments=8, flat=0.35)


FAMILY = Family("Shoes", 46, draft, dress, model, yaws=(-50, 50), pitches=(8, 36))
