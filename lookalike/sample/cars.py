"""Model cars: a body and a glasshouse lofted from a few lengths and heights, on four wheels.

The car stands along x, its nose at x = 0.5.
"""

from dataclasses import dataclass, replace

import numpy as np

from lookalike.sample.arrays import Floats, floats
from lookalike.sample.family import Draft, Family, Look, Model, Rng, any_colour, between, contrast, pick
from lookalike.sample.mesh import Mesh, bar, box, circle, cushion, grid, join, lathe
from lookalike.sample.palette import Finish, colour, mix

PAINT, SECOND, GLASS, TYRE, RIM, DARK, LAMP, REAR = range(8)

# kind -> noun; the body's top along x, from rear to nose; the cabin's rear and front at the belt, rear and front at
# the roof; its height
KINDS: dict[str, tuple[str, tuple[float, ...], tuple[float, float, float, float], float]] = {
    "saloon": ("saloon", (0.2, 0.245, 0.255, 0.26, 0.255, 0.245, 0.225, 0.17), (-0.36, 0.2, -0.2, 0.05), 0.125),
    "hatchback": ("hatchback", (0.21, 0.26, 0.27, 0.27, 0.265, 0.25, 0.225, 0.17), (-0.47, 0.2, -0.38, 0.02), 0.14),
    "estate": ("estate", (0.2, 0.255, 0.26, 0.26, 0.26, 0.25, 0.22, 0.17), (-0.48, 0.2, -0.42, 0.04), 0.125),
    "coupe": ("coupé", (0.19, 0.235, 0.245, 0.24, 0.235, 0.22, 0.195, 0.14), (-0.42, 0.16, -0.16, -0.02), 0.1),
    "offroad": ("off-roader", (0.25, 0.29, 0.29, 0.29, 0.29, 0.285, 0.28, 0.24), (-0.485, 0.14, -0.46, 0.07), 0.165),
    "pickup": ("pick-up", (0.25, 0.27, 0.27, 0.27, 0.28, 0.275, 0.26, 0.22), (-0.1, 0.19, -0.06, 0.09), 0.15),
    "van": ("van", (0.27, 0.3, 0.3, 0.3, 0.3, 0.29, 0.27, 0.2), (-0.49, 0.34, -0.475, 0.2), 0.2),
    "roadster": ("roadster", (0.18, 0.225, 0.235, 0.23, 0.23, 0.22, 0.19, 0.14), (0.02, 0.16, 0.0, 0.05), 0.07),
}


@dataclass(frozen=True)
class Shape:
    kind: str
    width: float
    raise_: float
    wheel: float
    wheelbase: float
    spokes: int
    rim: str
    lamps: str
    rack: bool
    stretch: float


def draft(rng: Rng) -> Draft:
    kind = pick(rng, list(KINDS))
    rough = kind in ("offroad", "pickup")
    shape = Shape(
        kind=kind,
        width=between(rng, 0.37, 0.43),
        raise_=between(rng, 0.07, 0.1) if rough else between(rng, 0.035, 0.06),
        wheel=between(rng, 0.098, 0.112) if rough else between(rng, 0.08, 0.095),
        wheelbase=between(rng, 0.56, 0.64),
        spokes=int(rng.integers(4, 9)),
        rim=pick(rng, ["chrome", "black", "gold"]),
        lamps=pick(rng, ["round", "wide"]),
        rack=kind in ("estate", "offroad", "van") and bool(rng.random() < 0.5),
        stretch=between(rng, 0.92, 1.1),
    )
    style = pick(rng, ["Classic", "Modern"]) if not rough else "Rustic"
    if kind in ("coupe", "roadster"):
        style = "Sporty"
    return Draft(shape, f"model {KINDS[kind][0]}", style, between(rng, 18, 120))


def dress(_shape: Shape, rng: Rng) -> Look:
    name = any_colour(rng)
    return Look(
        name,
        pick(rng, ["Metal", "Metal", "Metal", "Plastic", "Wood"]),
        pick(rng, ["plain", "plain", "striped", "two-tone"]),
        contrast(name, rng),
    )


def model(shape: Shape, look: Look) -> Model:
    body = _body(shape)
    cabin = _cabin(shape)
    if look.pattern == "striped":
        body = _striped(body)
    if look.pattern == "two-tone":
        cabin = replace(cabin, finish=np.where(cabin.finish == PAINT, SECOND, cabin.finish).astype(np.int32))
        body = body.inlaid_with(SECOND, shape.raise_ + 0.075 - body.points[:, 2])
    parts = [body, cabin, *_details(shape)]
    whole = join(parts).scaled(x=shape.stretch)
    wheels = [wheel.moved(x=x * shape.stretch) for x, wheel in _wheels(shape)]
    return Model(join([whole, *wheels]), _finishes(shape, look))


def _finishes(shape: Shape, look: Look) -> tuple[Finish, ...]:
    rendered = {"Metal": "lacquer", "Plastic": "plastic", "Wood": "wood"}[look.material]
    rims = {"chrome": (0.8, 0.81, 0.83), "black": (0.16, 0.16, 0.17), "gold": (0.72, 0.58, 0.3)}
    glass = Finish("glass", (0.16, 0.19, 0.22)) if look.material != "Wood" else Finish("wood", (0.42, 0.28, 0.18))
    return (
        Finish(rendered, colour(look.colour)),
        Finish(rendered, colour(look.second)),
        glass,
        Finish("rubber", (0.13, 0.13, 0.14)),
        Finish("metal", rims[shape.rim]),
        Finish("rubber", mix(colour(look.colour), (0.02, 0.02, 0.02), 0.93)),
        Finish("enamel", (0.97, 0.96, 0.9), glow=0.25),
        Finish("enamel", (0.72, 0.08, 0.08), glow=0.1),
    )


def _belt(shape: Shape, x: Floats | float) -> Floats:
    """Height of the body's top at x."""
    tops = KINDS[shape.kind][1]
    return floats(np.interp(x, np.linspace(-0.5, 0.5, len(tops)), tops) + shape.raise_)


def _body(shape: Shape) -> Mesh:
    x = np.concatenate([[-0.5, -0.492, -0.475], np.linspace(-0.44, 0.44, 23), [0.475, 0.492, 0.5]])
    outline = circle(52, 5.0)
    lattice = np.empty((len(x), 52, 3), np.float32)
    for row, at in enumerate(x):
        end = max(abs(at) - 0.4, 0) / 0.1
        high, low = float(_belt(shape, at)), shape.raise_ + 0.02 * end**2
        wide = shape.width / 2 * (1 - 0.16 * end**2.5)
        squeeze = 1 - 0.22 * max(end - 0.7, 0) / 0.3
        up = outline[:, 1]
        lattice[row, :, 0] = at
        lattice[row, :, 1] = outline[:, 0] * wide * (1 - 0.1 * np.clip(up, 0, 1) ** 2)
        lattice[row, :, 2] = (high + low) / 2 + up * (high - low) / 2 * squeeze
    return grid(lattice, PAINT)


def _cabin(shape: Shape) -> Mesh:
    """The glasshouse: slices from belt to roof; glass where there is no pillar and no roof."""
    rear, nose, roof_rear, roof_nose = KINDS[shape.kind][2]
    height = KINDS[shape.kind][3]
    count = 84
    outline = circle(count, 7.0)
    levels = np.array([-0.25, 0.0, 0.06, 0.5, 0.8, 0.9, 0.98, 1.0])
    lattice = np.empty((len(levels) + 1, count, 3), np.float32)
    for row, t in enumerate(levels):
        s = max(t, 0.0)
        a, b = rear + (roof_rear - rear) * s**1.15, nose + (roof_nose - nose) * s**0.9
        wide = shape.width / 2 * (0.9 - 0.16 * s) * (1 if t < 0.97 else 0.96)
        lattice[row, :, 0] = (a + b) / 2 + outline[:, 0] * (b - a) / 2 * (1 if t < 0.97 else 0.985)
        lattice[row, :, 1] = outline[:, 1] * wide
        lattice[row, :, 2] = _belt(shape, (rear + nose) / 2) - 0.012 + t * height
    lattice[-1] = lattice[-2].mean(axis=0)
    lattice[-1, :, 2] += 0.006
    mesh = grid(lattice, PAINT, caps=False)
    return mesh.inlaid_with(GLASS, _panes(shape, mesh.points))


def _panes(shape: Shape, points: Floats) -> Floats:
    """Signed distance into the windows [n], for points of the cabin: above zero is glass."""
    rear, nose, roof_rear, roof_nose = KINDS[shape.kind][2]
    height = KINDS[shape.kind][3]
    x, y, z = points.T
    rise = z - _belt(shape, (rear + nose) / 2) + 0.012
    s = np.clip(rise / height, 0, 1)
    back, front = rear + (roof_rear - rear) * s**1.15, nose + (roof_nose - nose) * s**0.9
    half = shape.width / 2 * (0.9 - 0.16 * s)
    band = np.minimum(rise - 0.016, height * 0.86 - rise)
    flank = np.minimum(x - back, front - x) - 0.028  # the side windows end before the pillars
    for at in {"saloon": (0.5,), "hatchback": (0.55,), "estate": (0.3, 0.62), "offroad": (0.33, 0.66)}.get(
        shape.kind, ()
    ):
        flank = np.minimum(flank, np.abs(x - back - at * (front - back)) - 0.008)
    if shape.kind == "van":
        flank = np.minimum(flank, x - back - 0.74 * (front - back))
    screens = half - 0.022 - np.abs(y)  # the windscreen and the rear window
    on_flank = np.abs(y) - (half - 0.012)
    return floats(np.minimum(band, np.maximum(np.minimum(flank, on_flank), screens)))


def _striped(mesh: Mesh) -> Mesh:
    """Two stripes from nose to tail on whatever looks up."""
    across = np.abs(mesh.points[:, 1])
    stripe = np.minimum(np.minimum(across - 0.012, 0.07 - across), (mesh.normals[:, 2] - 0.2) * 0.1)
    return mesh.inlaid_with(SECOND, stripe)


def _wheels(shape: Shape) -> list[tuple[float, Mesh]]:
    """(x, wheel) for the four, and their dark arches."""
    r, y = shape.wheel, shape.width / 2
    tyre = lathe(
        [
            (0, -0.03),
            (r * 0.9, -0.03),
            (r, -0.015),
            (r, 0.02),
            (r * 0.93, 0.034),
            (r * 0.7, 0.036),
            (r * 0.66, 0.02),
            (0, 0.018),
        ],
        TYRE,
        segments=28,
        caps=False,
    )
    hub = lathe(
        [(r * 0.68, 0.018), (r * 0.66, 0.032), (r * 0.58, 0.034), (r * 0.55, 0.02)], RIM, segments=28, caps=False
    )
    spokes = [
        bar((0, 0, 0.026), (r * 0.6 * np.cos(a), r * 0.6 * np.sin(a), 0.026), [0.013, 0.009], RIM, segments=6).lifted(
            0.02
        )
        for a in np.arange(shape.spokes) * 2 * np.pi / shape.spokes
    ]
    nut = lathe([(0.02, 0.02), (0.018, 0.036), (0, 0.038)], RIM, segments=10, caps=False).lifted(0.03)
    wheel = join([tyre, hub.lifted(0.01), *spokes, nut])
    arch = lathe([(r * 1.16, -0.01), (r * 1.16, 0.004), (0, 0.006)], DARK, segments=28, caps=False)
    placed = []
    for x in (-shape.wheelbase / 2, shape.wheelbase / 2):
        for side, turn in ((-1, 90), (1, -90)):
            placed.append((x, wheel.turned("x", turn).moved(0, side * (y - 0.02), r).lifted(0.1)))
            placed.append((x, arch.turned("x", turn).moved(0, side * (y + 0.001), r * 1.04).lifted(0.05)))
    return placed


def _details(shape: Shape) -> list[Mesh]:
    """All that makes a body a car: what comes in pairs, what does not, what only some have."""
    pairs = [part for side in (-1, 1) for part in _flank(shape, side)]
    w, nose, tail = shape.width, float(_belt(shape, 0.47)), float(_belt(shape, -0.48))
    bumper = cushion(0.035, w * 0.86, 0.035, RIM, power=5, fine=False)
    return [
        *pairs,
        *_extras(shape),
        cushion(0.03, w * 0.4, 0.05, DARK, power=5, fine=False).moved(0.488, 0, nose - 0.075),
        bumper.moved(0.488, 0, shape.raise_ + 0.045),
        bumper.moved(-0.488, 0, shape.raise_ + 0.05),
        box(0.01, 0.1, 0.028, LAMP, bevel=0.003).moved(-0.502, 0, tail - 0.11),
    ]


def _flank(shape: Shape, side: int) -> list[Mesh]:
    """Lamps, mirror, door seams, handle and sill of one side."""
    w, y = shape.width, side * shape.width / 2
    nose, tail = float(_belt(shape, 0.47)), float(_belt(shape, -0.48))
    if shape.lamps == "round":
        lamp = cushion(0.03, 0.07, 0.07, LAMP, power=2.2, fine=False)
    else:
        lamp = cushion(0.03, 0.11, 0.045, LAMP, power=4, fine=False)
    mirror_at = KINDS[shape.kind][2][1] - 0.05
    mirror = cushion(0.03, 0.05, 0.035, PAINT, power=3, fine=False)
    low, high = shape.raise_ + 0.05, float(_belt(shape, 0.0)) - 0.035
    handle = bar((-0.05, y * 1.02, high - 0.02), (-0.01, y * 1.02, high - 0.02), 0.005, RIM, segments=6)
    seams = (0.1,) if shape.kind in ("coupe", "roadster") else (0.13, -0.1)
    return [
        lamp.moved(0.487, side * w * 0.31, nose - 0.055),
        cushion(0.025, 0.05, 0.06, REAR, power=4, fine=False).moved(-0.492, side * w * 0.36, tail - 0.05),
        mirror.moved(mirror_at, y + side * 0.012, float(_belt(shape, mirror_at)) + 0.022),
        handle,
        bar((-0.2, y, shape.raise_ + 0.03), (0.2, y, shape.raise_ + 0.03), 0.012, DARK, segments=6),
        *(bar((x, y * 1.005, low), (x, y * 0.985, high), 0.003, DARK, segments=5).lifted(0.01) for x in seams),
    ]


def _extras(shape: Shape) -> list[Mesh]:
    """A pick-up's bed, a roadster's seats, a roof rack."""
    w = shape.width
    parts = []
    if shape.kind == "pickup":
        parts.append(box(0.36, w * 0.78, 0.01, DARK, bevel=0.003).moved(-0.29, 0, float(_belt(shape, -0.3)) - 0.004))
    if shape.kind == "roadster":
        seat = cushion(0.05, 0.11, 0.12, DARK, power=3, fine=False).moved(-0.12, 0, float(_belt(shape, -0.1)) + 0.02)
        parts += [seat.moved(y=-0.085), seat.moved(y=0.085)]
        parts.append(box(0.2, w * 0.72, 0.008, DARK, bevel=0.003).moved(-0.04, 0, float(_belt(shape, 0.0)) - 0.004))
    if shape.rack:
        top = float(_belt(shape, 0.0)) + KINDS[shape.kind][3]
        rail = bar((KINDS[shape.kind][2][2] + 0.05, 0, top), (0.0, 0, top), 0.009, RIM, segments=6)
        parts += [rail.moved(y=-w * 0.31), rail.moved(y=w * 0.31)]
    return parts


FAMILY = Family("Cars", 36, draft, dress, model, yaws=(-62, 62), pitches=(6, 32))
