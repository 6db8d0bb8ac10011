"""What is asked and what is answered: plain data, checked where it is made.

One scan serves both parts of an answer. `exact` ranks products by the cosine of their best photo: *the same product*.
`similar` ranks products by cosine and agreement of predicted attributes: *products like it*.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from engine.catalogue.schema import FacetValue
from engine.errors import BadQuery
from engine.search.modes import MAX_K, MODES, Mode
from engine.vision.heads import Prediction

if TYPE_CHECKING:
    from engine.search.filters import Filter
    from engine.search.plan import Plan


@dataclass(frozen=True, slots=True)
class Box:
    """A part of the photo: fractions of its width and height, 0 <= left < right <= 1, 0 <= top < bottom <= 1."""

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        if not (0 <= self.left < self.right <= 1 and 0 <= self.top < self.bottom <= 1):
            raise BadQuery(
                f"The box {self.left}, {self.top}, {self.right}, {self.bottom} is not in the photo; give left, top, "
                "right, bottom as fractions between 0 and 1, left of right and top of bottom."
            )


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """One question: exactly one of `photo`, `vector` and `product_id`, and what the answer should be.

    `photo` is a file's bytes (JPEG, PNG or WebP) or a Pillow picture; `vector` a float array [dim], normalised here;
    `product_id` searches from a product of the catalogue. `k` counts distinct products, 1-1000, in each part. `name` is
    what errors call the photo.
    """

    photo: bytes | Image | None = None
    vector: NDArray[np.float32] | None = None
    product_id: str | None = None
    k: int = 10
    mode: Mode = "both"
    filter: "Filter | None" = None
    box: Box | None = None
    name: str = "the photo"

    def __post_init__(self) -> None:
        given = sum(part is not None for part in (self.photo, self.vector, self.product_id))
        if given != 1:
            raise BadQuery(f"A query has exactly one of photo, vector and product_id, this one has {given}; send one.")
        if not 1 <= self.k <= MAX_K:
            raise BadQuery(f"k is {self.k}; ask for 1 to {MAX_K} products.")
        if self.mode not in MODES:
            raise BadQuery(f"There is no mode {self.mode!r}; use one of {', '.join(MODES)}.")
        if self.box is not None and self.photo is None:
            raise BadQuery("A box needs a photo to be cut from; send the photo, or leave the box out.")


@dataclass(frozen=True, slots=True)
class Hit:
    """A product of the answer, by its best photo; `score` is the cosine on the float16 rows, in [-1, 1]."""

    product_id: str
    title: str | None
    facets: Mapping[str, FacetValue]
    score: float
    photo_id: int


@dataclass(frozen=True, slots=True)
class Exact:
    """*The same product*: candidates, best first. The two judgements stay None while the index has no calibration."""

    hits: tuple[Hit, ...]
    probability: float | None = None
    verdict: Literal["match", "unsure", "absent"] | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The answer. A part that was not asked for is None; `matching` counts the products that pass the filter."""

    exact: Exact | None
    similar: tuple[Hit, ...] | None
    predictions: tuple[Prediction, ...]
    matching: int
    plan: "Plan"
