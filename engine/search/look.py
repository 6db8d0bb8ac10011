"""What the engine sees in a query: its vectors, and what the heads say about it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from engine.errors import BadQuery
from engine.search.query import Query
from engine.storage.halves import widen
from engine.telemetry import Stopwatch
from engine.vision.encoder import Encoder
from engine.vision.heads import Heads, Prediction
from engine.vision.image import crop
from engine.vision.preprocess import PhotoLoader, Preprocess, load

if TYPE_CHECKING:
    from engine.search.snapshot import Snapshot

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """A query as vectors, float32 [q, dim] with norm 1: one for a photo, one per photo for a product.

    `probabilities` [classes] by head name are what is known of its attributes; `predictions` the likeliest class of
    each head, for a photo; `product_id` the product that the query itself is.
    """

    vectors: Floats
    probabilities: Mapping[str, Floats] = field(default_factory=dict)
    predictions: tuple[Prediction, ...] = ()
    product_id: str | None = None


class Eyes:
    """Turns queries into looks; the encoder is opened when the first photo comes. Safe to share between threads."""

    def __init__(self, heads: Heads, open_encoder: Callable[[], Encoder], loader: PhotoLoader = load) -> None:
        """`loader` decodes photos that are given as files' bytes."""
        self.heads = heads
        self.loader = loader
        self._open_encoder = open_encoder
        self._encoder: Encoder | None = None
        self._lock = Lock()

    @property
    def encoder(self) -> Encoder:
        """The encoder, opened now if it was not."""
        with self._lock:
            if self._encoder is None:
                self._encoder = self._open_encoder()
            return self._encoder

    def look(self, query: Query, snapshot: "Snapshot", watch: Stopwatch) -> Look:
        """Raises BadImage, BadQuery for a vector that cannot be, UnknownProduct."""
        if query.photo is not None:
            return self._at_photo(query.photo, query, watch)
        if query.vector is not None:
            return Look(_unit(query.vector, snapshot.base.generation.manifest.dim))
        assert query.product_id is not None
        return _at_product(query.product_id, snapshot)

    def _at_photo(self, photo: bytes | Image, query: Query, watch: Stopwatch) -> Look:
        encoder = self.encoder
        with watch.stage("decode"):
            pixels = self._pixels(photo, query, encoder.preprocess)
        with watch.stage("encode"):
            encoded = encoder.encode(pixels[None])
            probabilities = self.heads.probabilities(encoded.features[0])
            (predictions,) = self.heads.predict(encoded.features)
        return Look(encoded.embeddings, probabilities, predictions)

    def _pixels(self, photo: bytes | Image, query: Query, preprocess: Preprocess) -> Floats:
        box = query.box
        corners = None if box is None else (box.left, box.top, box.right, box.bottom)
        if isinstance(photo, bytes):
            return self.loader(photo, query.name, preprocess, corners)
        image = photo.convert("RGB")
        return preprocess(image if corners is None else crop(image, corners))


def _at_product(product_id: str, snapshot: "Snapshot") -> Look:
    ordinal = snapshot.ordinal(product_id)
    vectors = widen(snapshot.vectors(snapshot.rows_of_product(ordinal)))
    return Look(_normalised(vectors), snapshot.certain(ordinal), product_id=product_id)


def _unit(vector: NDArray[np.floating], dim: int) -> Floats:
    """A vector from outside as float32 [1, dim] of norm 1."""
    array = np.asarray(vector, np.float32)
    if array.shape != (dim,):
        raise BadQuery(f"The vector has the shape {list(array.shape)}; this index holds vectors of shape [{dim}].")
    norm = np.linalg.norm(array)
    if not np.isfinite(norm) or norm == 0:
        raise BadQuery("The vector has no direction (it is zero, infinite or not a number); send a finite, other one.")
    return _normalised(array[None])


def _normalised(vectors: Floats) -> Floats:
    unit: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
