"""The colours that products come in, by the name a shopper would use, as sRGB in 0..1."""

from dataclasses import dataclass

import numpy as np

from lookalike.sample.arrays import Floats, floats

Rgb = tuple[float, float, float]

COLOURS: dict[str, str] = {
    "White": "#f1efea",
    "Cream": "#e9dcc0",
    "Grey": "#8f9296",
    "Black": "#26262a",
    "Brown": "#7a4a2c",
    "Beige": "#cdb592",
    "Red": "#b8262b",
    "Pink": "#e29aa9",
    "Orange": "#dd7427",
    "Yellow": "#e5b833",
    "Green": "#3f7a4c",
    "Teal": "#1f7f82",
    "Blue": "#2c5fa8",
    "Navy": "#23304f",
    "Purple": "#6d4585",
}

WOODS: dict[str, str] = {"oak": "#c39a66", "walnut": "#6d472e", "birch": "#dcc29a", "black": "#2b2826"}

METALS: dict[str, str] = {
    "steel": "#b9bcc1",
    "brass": "#c7a04e",
    "black": "#2a2a2d",
    "copper": "#c07a55",
    "white": "#e8e7e3",
}


def rgb(text: str) -> Rgb:
    """`#c39a66` -> (0.76, 0.60, 0.40)."""
    return (int(text[1:3], 16) / 255, int(text[3:5], 16) / 255, int(text[5:7], 16) / 255)


def colour(name: str) -> Rgb:
    return rgb(COLOURS[name])


def mix(one: Rgb, other: Rgb, share: float) -> Rgb:
    """`share` of `other` in `one`."""
    a, b, c = (x + (y - x) * share for x, y in zip(one, other, strict=True))
    return (a, b, c)


def linear(values: Floats | Rgb) -> Floats:
    """sRGB -> light; a plain power of 2.2 is near enough for pictures that nobody measures."""
    return floats(floats(values) ** np.float32(2.2))


@dataclass(frozen=True)
class Finish:
    """What a part of a product is made of.

    colour, second: sRGB; a pattern draws `second` on `colour`. `scale` is the size of a pattern's repeat in the
    units of the mesh, `turn` its direction in degrees, `glow` light of its own (a lampshade).
    """

    material: str
    colour: Rgb
    pattern: str = "plain"
    second: Rgb = (0.95, 0.94, 0.92)
    scale: float = 0.1
    turn: float = 0.0
    glow: float = 0.0
