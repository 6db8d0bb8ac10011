"""Patterns: (u, v) on a surface -> how much of the second colour is there, 0..1.

u and v come in repeats (1 = once through the pattern). Edges are drawn a little soft, so that they do not flicker.
"""

from collections.abc import Callable

import numpy as np

from lookalike.sample.arrays import Floats, floats

Pattern = Callable[[Floats, Floats], Floats]

_SIDE = 256


def _make_noise() -> Floats:
    """One tile [256, 256] of smooth noise in 0..1 that repeats without a seam: six octaves of blurred white noise."""
    white = np.random.default_rng(20).normal(size=(_SIDE, _SIDE))
    frequency = np.hypot(np.fft.fftfreq(_SIDE)[:, None], np.fft.fftfreq(_SIDE)[None, :]) * _SIDE
    spectrum = np.fft.fft2(white) / np.maximum(frequency, 3.0) ** 1.4
    tile = np.real(np.fft.ifft2(spectrum))
    ranks = tile.ravel().argsort().argsort().reshape(tile.shape)  # an even spread of values
    return (ranks / ranks.size).astype(np.float32)


NOISE = _make_noise()


def noise(u: Floats, v: Floats) -> Floats:
    """Smooth noise in 0..1; one repeat of the tile per unit."""
    column = (u * _SIDE).astype(np.int32) & (_SIDE - 1)
    row = (v * _SIDE).astype(np.int32) & (_SIDE - 1)
    return np.asarray(NOISE.ravel()[row * _SIDE + column])


def step(value: Floats, edge: float, softness: float = 0.06) -> Floats:
    """0 below the edge, 1 above, a short ramp between."""
    return floats(np.clip((value - edge) / softness + 0.5, 0, 1))


def _saw(value: Floats) -> Floats:
    """Distance from the middle of the repeat: 0 in the middle, 0.5 at its ends."""
    return floats(np.abs(value - np.floor(value) - 0.5))


def _plain(u: Floats, _v: Floats) -> Floats:
    return np.zeros_like(u)


def _striped(_u: Floats, v: Floats) -> Floats:
    return step(_saw(v), 0.25)


def _pinstriped(_u: Floats, v: Floats) -> Floats:
    return step(_saw(v * 1.6), 0.42)


def _checked(u: Floats, v: Floats) -> Floats:
    return (step(_saw(u), 0.25) + step(_saw(v), 0.25)) * np.float32(0.5)


def _tartan(u: Floats, v: Floats) -> Floats:
    wide = (step(_saw(u * 0.7), 0.3) + step(_saw(v * 0.7), 0.3)) * np.float32(0.35)
    thin = np.maximum(step(_saw(u * 0.7 + 0.5), 0.46), step(_saw(v * 0.7 + 0.5), 0.46))
    return floats(np.clip(wide + thin * 0.6, 0, 1))


def _dotted(u: Floats, v: Floats) -> Floats:
    shifted = floats(u + np.floor(v) * 0.5)  # every other row moves by half a repeat
    return step(-np.hypot(_saw(shifted), _saw(v)), -0.24)


def _chevron(u: Floats, v: Floats) -> Floats:
    return step(_saw(v + _saw(u)), 0.25)


def _waves(u: Floats, v: Floats) -> Floats:
    return step(_saw(v + 0.18 * np.sin(2 * np.pi * u)), 0.28)


def _floral(u: Floats, v: Floats) -> Floats:
    shifted = u + np.floor(v) * 0.5
    x, y = shifted - np.floor(shifted) - 0.5, v - np.floor(v) - 0.5
    angle, far = np.arctan2(y, x), np.hypot(x, y)
    petals = step(0.2 + 0.14 * np.cos(5 * angle) - far, 0.0, 0.05)
    heart = step(far, 0.09, 0.04)
    return floats(petals * heart)


def _triangles(u: Floats, v: Floats) -> Floats:
    x, y = u - np.floor(u), v - np.floor(v)
    return step(2 * np.abs(x - 0.5) + y - 1, 0.0, 0.08)


def _speckled(u: Floats, v: Floats) -> Floats:
    """One fleck in every cell, each at a place and of a size of its own."""
    x, y = u * 2.5, v * 2.5
    column, row = np.floor(x), np.floor(y)
    left, low, size = (_dice(column, row, throw) for throw in (12.9898, 39.346, 73.156))
    far = np.hypot(x - column - 0.25 - 0.5 * left, y - row - 0.25 - 0.5 * low)
    return step(floats(0.06 + 0.2 * size**2 - far), 0.0, 0.08)


def _dice(column: Floats, row: Floats, throw: float) -> Floats:
    """A number in 0..1 for every cell, without a pattern that an eye would find."""
    wave = np.sin(column * throw + row * 78.233) * 4375.85
    return floats(wave - np.floor(wave))


def _marbled(u: Floats, v: Floats) -> Floats:
    bend = 1.5 * np.sin(2.3 * v + 1.1 * np.sin(1.9 * u)) + 0.5 * np.sin(5.1 * u + 3.7 * v) + noise(u * 0.1, v * 0.1)
    vein = np.abs(np.sin(np.pi * (u * 0.5 + v * 0.8) + bend))
    return floats(np.clip(1 - vein * 4, 0, 1))


def _two_tone(_u: Floats, v: Floats) -> Floats:
    return step(v, 1.0, 0.02)


PATTERNS: dict[str, Pattern] = {
    "plain": _plain,
    "striped": _striped,
    "pinstriped": _pinstriped,
    "checked": _checked,
    "tartan": _tartan,
    "dotted": _dotted,
    "chevron": _chevron,
    "waves": _waves,
    "floral": _floral,
    "triangles": _triangles,
    "speckled": _speckled,
    "marbled": _marbled,
    "two-tone": _two_tone,
}


def draw(name: str, u: Floats, v: Floats, scale: float, turn: float) -> Floats:
    """The share of the second colour at (u, v), for a repeat of `scale` turned by `turn` degrees."""
    cos, sin = floats(np.cos(np.radians(turn)) / scale), floats(np.sin(np.radians(turn)) / scale)
    return PATTERNS[name](u * cos + v * sin, v * cos - u * sin)
