"""Photos as files' bytes -> vectors as the index and the catalogue keep them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.errors import WrongModel
from engine.vision.encoder import Encoder
from engine.vision.preprocess import PhotoLoader, load

AT_ONCE = 32  # photos decoded and encoded together

PRECISION = "float32"  # of every encoder so far; vectors of another precision are not the same vectors


def vectors_of(
    photos: Sequence[tuple[str, bytes]], encoder: Encoder, loader: PhotoLoader = load
) -> NDArray[np.float16]:
    """(name, bytes) of n photos -> float16 [n, dim], L2 norm 1 but for rounding; `loader` decodes them.

    Raises BadImage, naming the photo, and WrongModel where the encoder gives what cannot be a vector.
    """
    vectors = np.empty((len(photos), encoder.dim), np.float16)
    for start in range(0, len(photos), AT_ONCE):
        batch = np.stack([loader(data, name, encoder.preprocess) for name, data in photos[start : start + AT_ONCE]])
        found = encoder.encode(batch).embeddings
        if not np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-2):
            raise WrongModel(f"The model {encoder.model_id[:12]} does not give unit vectors; export it again.")
        vectors[start : start + AT_ONCE] = found
    return vectors
