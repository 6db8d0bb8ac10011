"""The arrays that drawing works on: single precision throughout, which halves the memory and the time."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


def floats(values: ArrayLike | Image.Image) -> Floats:
    """An array of float32, of numbers or of a picture's pixels."""
    return np.asarray(values, dtype=np.float32)


def unit(vectors: Floats) -> Floats:
    """Vectors [..., 3] scaled to length 1; zero stays zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return floats(vectors / np.maximum(length, 1e-9))
