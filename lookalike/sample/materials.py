"""Materials: how a surface answers light, and the fine grain that tells wood from wool."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lookalike.sample.arrays import Floats, floats
from lookalike.sample.patterns import noise

Grain = Callable[[Floats, Floats], Floats]


def _even(u: Floats, _v: Floats) -> Floats:
    return np.ones_like(u)


def _wood(u: Floats, v: Floats) -> Floats:
    """Long fibres along v, wandering rings across them."""
    rings = noise(u * 2.2 + 0.12 * noise(u * 0.7, v * 0.35), v * 0.16)
    fibre = noise(u * 7.0, v * 0.35)
    return floats(0.72 + 0.34 * rings + 0.16 * fibre)


def _weave(u: Floats, v: Floats) -> Floats:
    thread = np.sin(u * 300) * np.sin(v * 300)
    return floats(0.93 + 0.08 * thread + 0.12 * noise(u * 2, v * 2))


def _leather(u: Floats, v: Floats) -> Floats:
    return floats(0.86 + 0.14 * noise(u * 4, v * 4) + 0.12 * noise(u * 0.6, v * 0.6))


def _nap(u: Floats, v: Floats) -> Floats:
    return floats(0.84 + 0.28 * noise(u * 0.8, v * 0.8))


def _brushed(u: Floats, v: Floats) -> Floats:
    return floats(0.94 + 0.1 * noise(u * 0.3, v * 9))


def _clay(u: Floats, v: Floats) -> Floats:
    return floats(0.92 + 0.12 * noise(u * 1.3, v * 1.3))


@dataclass(frozen=True)
class Material:
    """diffuse: share of scattered light; shine and gloss: strength and sharpness of the highlight; mirror: share of the
    surroundings reflected; tinted: whether reflections take the surface's colour (metal does); fuzz: light caught at
    grazing angles (velvet)."""

    diffuse: float = 1.0
    shine: float = 0.0
    gloss: float = 20.0
    mirror: float = 0.0
    tinted: bool = False
    fuzz: float = 0.0
    grain: Grain = _even


MATERIALS: dict[str, Material] = {
    "ceramic": Material(shine=0.55, gloss=70, mirror=0.16, grain=_clay),
    "stoneware": Material(shine=0.1, gloss=14, mirror=0.02, grain=_clay),
    "enamel": Material(shine=0.7, gloss=90, mirror=0.2),
    "plastic": Material(shine=0.3, gloss=36, mirror=0.07),
    "lacquer": Material(shine=0.8, gloss=140, mirror=0.3),
    "glass": Material(diffuse=0.55, shine=1.0, gloss=160, mirror=0.5),
    "wood": Material(shine=0.12, gloss=14, mirror=0.02, grain=_wood),
    "metal": Material(diffuse=0.4, shine=0.8, gloss=40, mirror=0.75, tinted=True, grain=_brushed),
    "chrome": Material(diffuse=0.15, shine=1.0, gloss=120, mirror=1.0, tinted=True),
    "leather": Material(shine=0.2, gloss=16, mirror=0.03, grain=_leather),
    "suede": Material(fuzz=0.15, grain=_nap),
    "velvet": Material(diffuse=0.8, fuzz=0.55, grain=_nap),
    "fabric": Material(fuzz=0.08, grain=_weave),
    "rubber": Material(shine=0.05, gloss=10),
    "paper": Material(diffuse=1.0),
}
