"""What every family of products answers: draft a shape, dress it, model it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from lookalike.sample.mesh import Mesh
from lookalike.sample.palette import COLOURS, Finish, colour

Rng = np.random.Generator
T = TypeVar("T")


@dataclass(frozen=True)
class Look:
    """What may differ between look-alikes of one shape; `colour` and `second` are names of the palette."""

    colour: str
    material: str
    pattern: str = "plain"
    second: str = "White"

    def finish(self, material: str, scale: float, turn: float = 0.0) -> Finish:
        """The main finish: colour and pattern on a rendered material."""
        return Finish(material, colour(self.colour), self.pattern, colour(self.second), scale, turn)


@dataclass(frozen=True)
class Model:
    """Ready to be photographed: `finishes` is what the mesh's finish numbers mean."""

    mesh: Mesh
    finishes: tuple[Finish, ...]


@dataclass(frozen=True)
class Draft:
    """A designed shape before it has a colour: `shape` is the family's own dataclass."""

    shape: Any
    noun: str
    style: str
    price: float


@dataclass(frozen=True)
class Family:
    category: str
    count: int  # products in the sample
    draft: Callable[[Rng], Draft]
    dress: Callable[[Any, Rng], Look]
    model: Callable[[Any, Look], Model]
    yaws: tuple[float, float] = (-65.0, 65.0)  # the sides it is photographed from, in degrees
    pitches: tuple[float, float] = (6.0, 34.0)


def pick(rng: Rng, options: Sequence[T], weights: Sequence[float] | None = None) -> T:
    """One of the options; numpy's own `choice` would turn them into arrays."""
    shares = None if weights is None else np.asarray(weights) / np.sum(weights)
    return options[int(rng.choice(len(options), p=shares))]


def between(rng: Rng, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


LIGHT_COLOURS = ("White", "Cream", "Beige")


def contrast(name: str, rng: Rng) -> str:
    """A colour that a pattern shows on: light on dark, dark on light."""
    if name in LIGHT_COLOURS:
        return pick(rng, ["Navy", "Red", "Teal", "Black", "Green", "Blue"])
    return pick(rng, [*LIGHT_COLOURS, "White"])


def any_colour(rng: Rng, without: Sequence[str] = ()) -> str:
    return pick(rng, [name for name in COLOURS if name not in without])
