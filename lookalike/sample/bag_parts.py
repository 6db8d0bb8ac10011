"""What bags are sewn from: a pouch, straps, buckles, zips; and the numbers of their finishes."""

from collections.abc import Sequence

import numpy as np

from lookalike.sample.arrays import floats
from lookalike.sample.mesh import Mesh, box, grid, join, rounded_rectangle, smooth, tube

BODY, TRIM, METAL, DARK = range(4)


def pouch(
    width: float, depth: float, height: float, flare: float, *, top_depth: float = 0.5, sag: float = 0.04
) -> Mesh:
    """A sewn body from z = 0: rounded below, bulging in the middle, drawn together above."""
    rows = np.concatenate([[0.0, 0.015, 0.04], np.linspace(0.1, 0.97, 11), [1.0]])
    outline = rounded_rectangle(1.0, 1.0, 0.22, arc=6, side=9)
    lattice = np.empty((len(rows), len(outline), 3), np.float32)
    for row, t in enumerate(rows):
        round_off = 1 - 0.1 * (1 - min(t / 0.06, 1.0)) ** 2
        wide = width * (1 + flare * (t - 0.5)) * round_off
        deep = depth * (1 + 0.18 * np.sin(np.pi * min(t * 1.2, 1.0)) - (1 - top_depth) * t**2) * round_off
        lattice[row, :, 0] = outline[:, 0] * wide
        lattice[row, :, 1] = outline[:, 1] * deep
        lattice[row, :, 2] = t * height - sag * t**3 * (1 - (2 * outline[:, 0]) ** 2)
    body = grid(lattice, BODY, caps=False)
    lid = grid(np.stack([lattice[-1], lattice[-1] * floats([0.96, 0.2, 1]) - floats([0, 0, 0.05])]), DARK, caps=True)
    floor = grid(np.stack([lattice[0] * floats([0.01, 0.01, 1]), lattice[0]]), BODY, caps=False)
    return join([body.mapped_upright(), lid, floor])


def ribbon(
    keys: Sequence[tuple[float, float, float]], width: float, thick: float, finish: int = TRIM, count: int = 26
) -> Mesh:
    """A flat strap along a curve; its broad side faces the viewer."""
    path = smooth(keys, count)
    along = np.gradient(path, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    out = floats([0, -1, 0])
    side = np.cross(along, out)
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-6)
    ring = rounded_rectangle(width, thick, thick * 0.45, arc=3, side=2)
    front = np.cross(side, along)
    lattice = path[:, None] + ring[None, :, :1] * side[:, None] + ring[None, :, 1:] * front[:, None]
    return grid(lattice, finish)


def arch(x: float, low: float, high: float, y: float, *, width: float = 0.05, finish: int = TRIM) -> Mesh:
    keys = [
        (-x, y, low),
        (-x * 0.96, y, low + (high - low) * 0.7),
        (0, y, high),
        (x * 0.96, y, low + (high - low) * 0.7),
        (x, y, low),
    ]
    return ribbon(keys, width, 0.018, finish)


def buckle(x: float, y: float, z: float, size: float = 0.06) -> Mesh:
    frame = box(size, 0.02, size * 0.8, METAL, bevel=0.008)
    return frame.moved(x, y, z).lifted(0.08)


def zipper(x: float, y: float, z: float, rise: float = 0.0) -> Mesh:
    line = smooth([(-x, y + 0.05, z - rise), (-x * 0.6, y, z), (x * 0.6, y, z), (x, y + 0.05, z - rise)], 16)
    return tube(line, 0.012, METAL, segments=6)
