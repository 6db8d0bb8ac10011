"""Light on a surface: what a material gives back of a key light, a sky, the ground and a studio's reflections.

Blinn-Phong highlights, Schlick's Fresnel, and an invented room with one bright window to be mirrored. Points come as
columns, so that every array is read straight through.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lookalike.sample import patterns
from lookalike.sample.arrays import Floats, floats, unit
from lookalike.sample.materials import MATERIALS, Material
from lookalike.sample.palette import Finish, Rgb, linear

LAMPLIGHT = floats([1.0, 0.85, 0.6])  # the colour of what glows


@dataclass(frozen=True)
class Light:
    """The key light's direction (towards it, in the world), colours of key, sky and ground bounce, and exposure."""

    towards: tuple[float, float, float] = (-0.5, -0.55, 0.75)
    key: Rgb = (1.0, 0.98, 0.95)
    sky: Rgb = (0.62, 0.65, 0.7)
    ground: Rgb = (0.42, 0.4, 0.38)
    strength: float = 0.75

    @cached_property
    def direction(self) -> Floats:
        return unit(floats(self.towards))


@dataclass(frozen=True)
class Spots:
    """Points of a surface: unit normal [3, n], u and v [n], openness to the sky [n] in 0..1."""

    normal: Floats
    u: Floats
    v: Floats
    openness: Floats


class Shading:
    """A light and a viewer: turns points of a finish into light [n, 3]."""

    def __init__(self, light: Light, to_eye: Floats) -> None:
        aim = light.direction
        right = unit(floats(np.cross([0, 0, 1], aim)))
        over = floats(np.cross(aim, right))
        # what normals are measured along: key, halfway to the eye, eye, up, and the window's two sides
        self._axes = np.stack([aim, unit(floats(aim + to_eye)), to_eye, floats([0, 0, 1]), right, over])
        self._eye_along = self._axes @ to_eye
        self._strength = light.strength
        ground, sky, key = floats(light.ground), floats(light.sky), floats(light.key)
        self._ambient = floats([ground, sky - ground, key])
        self._room = floats([ground * 0.45, sky * 0.75 - ground * 0.45, key])

    def lit(self, finish: Finish, spots: Spots) -> Floats:
        """The light [n, 3] that points of a finish send to the eye."""
        material = MATERIALS[finish.material]
        along = self._axes @ spots.normal
        facing, cos, up = along[0], np.maximum(along[2], 0), along[3]
        openness = 0.25 + 0.75 * spots.openness
        base = albedo(finish, spots.u, spots.v)
        reaching = np.clip(openness * 1.5 - 0.35, 0, 1)  # hollows see less of the key light
        falling = floats([openness, openness * (0.5 + 0.5 * up), self._strength * np.maximum(facing, 0) * reaching])
        strength = falling.T @ self._ambient
        strength *= material.diffuse
        if material.fuzz:
            strength += (material.fuzz * 3 * (1 - cos) ** 3 * openness)[:, None]
        if finish.glow:
            strength += finish.glow * LAMPLIGHT
        if not material.shine:
            return strength * base
        highlight, mirrored = self._gloss(material, along, cos, openness)
        if material.tinted:
            strength += mirrored
            return floats(strength * base + highlight[:, None] * self._room[2])
        mirrored += highlight[:, None] * self._room[2]
        return strength * base + mirrored

    def _gloss(self, material: Material, along: Floats, cos: Floats, openness: Floats) -> tuple[Floats, Floats]:
        """Strength of the highlight [n] and light of the mirrored room [n, 3]."""
        highlight = np.maximum(along[1], 0) ** material.gloss * (material.shine * self._strength) * openness
        fresnel = (material.mirror + (1 - material.mirror) * 0.6 * (1 - cos) ** 5) * openness
        # the mirrored direction is 2 cos n - e, so what it measures along an axis follows from n's
        bounce = 2 * cos * along - self._eye_along[:, None]
        ahead, up, x, y = bounce[0], bounce[3], bounce[4], bounce[5]
        window = np.clip((0.42 - np.abs(x)) * 9, 0, 1) * np.clip((0.55 - np.abs(y)) * 9, 0, 1) * (ahead > 0)
        strip = np.clip((0.12 - np.abs(x + 0.86)) * 12, 0, 1) * np.clip((0.6 - np.abs(up)) * 6, 0, 1)
        wall = np.clip(up * 4 + 0.5, 0, 1)
        mirrored = floats([fresnel, fresnel * wall, fresnel * (1.9 * window + 0.7 * strip)]).T @ self._room
        return highlight, mirrored


def albedo(finish: Finish, u: Floats, v: Floats) -> Floats:
    """The share of light [n, 3] that a finish scatters at u, v: colour, pattern and grain."""
    grain = MATERIALS[finish.material].grain(u, v)
    first = linear(finish.colour)
    if finish.pattern == "plain":
        return floats(np.outer(grain, first))
    share = patterns.draw(finish.pattern, u, v, finish.scale, finish.turn) * grain
    return floats([grain - share, share]).T @ floats([first, linear(finish.second)])
