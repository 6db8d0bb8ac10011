"""An RGB picture -> the network's input. The only definition: training's validation, indexing and search all use it.

It does what timm's evaluation transform does (`timm.data.create_transform(size, is_training=False, crop_pct=...)`):
the short side to size / crop_fraction, the centre cut out, scaled to [0, 1], normalised by channel.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.vision.image import crop, decode

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Corners = tuple[float, float, float, float]
"""Left, top, right, bottom of a part of a picture, as fractions of its width and height."""
Interpolation = Literal["bicubic", "bilinear"]

_RESAMPLING: dict[Interpolation, Image.Resampling] = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
}
# Beyond this ratio of the sides only the middle is resized: a picture 1 pixel high must not become 10 GB wide.
MAX_RATIO = 4


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How pictures become input. `size` in pixels; `mean` and `std` by channel of RGB in [0, 1];
    `crop_fraction` in (0, 1]: the share of the resized short side that is kept."""

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Interpolation = "bicubic"
    crop_fraction: float = 1.0

    def __post_init__(self) -> None:
        if self.size < 1 or not 0 < self.crop_fraction <= 1 or min(self.std) <= 0 or len(self.mean) != 3:
            raise ValueError(f"{self} cannot be: size and std are positive, crop_fraction is in (0, 1].")
        if self.interpolation not in _RESAMPLING:
            raise ValueError(f"There is no interpolation {self.interpolation!r}; use bicubic or bilinear.")

    @property
    def short_side(self) -> int:
        """Pixels of the short side before the centre is cut out."""
        return math.floor(self.size / self.crop_fraction)

    def __call__(self, image: Image.Image) -> Floats:
        """RGB picture of any size -> float32 [3, size, size], contiguous."""
        return self.normalised(self.pixels(image))

    def pixels(self, image: Image.Image) -> Bytes:
        """RGB picture of any size -> uint8 [size, size, 3]: resized and cut, a quarter of the bytes of the input."""
        assert image.mode == "RGB", image.mode
        return np.asarray(self._centre(self._resized(image)))

    def normalised(self, pixels: Bytes) -> Floats:
        """uint8 [size, size, 3] -> float32 [3, size, size], contiguous: what the network takes."""
        planes = np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32)
        planes /= np.float32(255)  # in place: new arrays of this size would cost ten times as much, for their pages
        planes -= np.array(self.mean, np.float32)[:, None, None]
        planes /= np.array(self.std, np.float32)[:, None, None]
        return planes

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; `from_dict` reads it back."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The reverse of `to_dict`. Raises TypeError or ValueError where the values cannot be."""
        return cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})

    def _resized(self, image: Image.Image) -> Image.Image:
        image = _middle(image)
        width, height = image.size
        short, long = min(width, height), max(width, height)
        new_short, new_long = self.short_side, int(self.short_side * long / short)
        size = (new_short, new_long) if width <= height else (new_long, new_short)
        return image if size == image.size else image.resize(size, _RESAMPLING[self.interpolation])

    def _centre(self, image: Image.Image) -> Image.Image:
        left, top = (round((side - self.size) / 2) for side in image.size)
        return image.crop((left, top, left + self.size, top + self.size))


class PhotoLoader(Protocol):
    """Anything that turns photo files into the network's input, from several threads at once; `load` is one."""

    def __call__(self, data: bytes, name: str, preprocess: Preprocess, box: Corners | None = None) -> Floats:
        """A photo file's bytes -> float32 [3, size, size]; only the part in `box` where one is given.

        Raises BadImage, naming `name`.
        """


def load(data: bytes, name: str, preprocess: Preprocess, box: Corners | None = None) -> Floats:
    """A photo file's bytes -> float32 [3, size, size], decoded in this process; only the part in `box` where one is
    given.

    `box` is left, top, right, bottom as fractions of the upright picture. Raises BadImage, naming `name`.
    """
    return preprocess.normalised(load_pixels(data, name, preprocess, box))


def load_pixels(data: bytes, name: str, preprocess: Preprocess, box: Corners | None = None) -> Bytes:
    """`load` up to the step that only computes: uint8 [size, size, 3]. Raises BadImage, naming `name`."""
    if box is None:
        return preprocess.pixels(decode(data, name, min_side=preprocess.short_side))
    share = min(box[2] - box[0], box[3] - box[1])  # what is left of the short side, at worst
    image = decode(data, name, min_side=math.ceil(preprocess.short_side / share))
    return preprocess.pixels(crop(image, box))


def _middle(image: Image.Image) -> Image.Image:
    """The picture without the ends beyond `MAX_RATIO`; the same amount off both, so the centre stays."""
    width, height = image.size
    across = max(0, (width - MAX_RATIO * height) // 2)
    down = max(0, (height - MAX_RATIO * width) // 2)
    if not across and not down:
        return image
    return image.crop((across, down, width - across, height - down))
