"""Photos by their URIs -> what networks take, ahead of whoever computes. Unreadable ones are told, not raised."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from engine.errors import LookalikeError
from engine.settings import thread_count
from engine.sources.photos import read_photo
from engine.telemetry import SILENT, Progress
from engine.vision.encoder import Encoded, Encoder
from engine.vision.preprocess import Preprocess, load

Floats = NDArray[np.float32]
BATCH = 32  # photos encoded at a time


@dataclass(frozen=True, eq=False)
class EncodedPhotos:
    """A run of photos from `start` on. Those not `readable` [n] have zeros; `hashes` are sha256 of the files' bytes."""

    start: int
    encoded: Encoded
    readable: NDArray[np.bool_]
    hashes: tuple[bytes | None, ...]


def read_photos(uris: Sequence[str], preprocess: Preprocess) -> tuple[Floats, NDArray[np.bool_]]:
    """float32 [n, 3, size, size] and [n] which could be read; the others are zeros."""
    photos, hashes = _read(uris, preprocess)
    return photos, np.array([each is not None for each in hashes], np.bool_)


def encode_in_batches(uris: Sequence[str], encoder: Encoder, progress: Progress = SILENT) -> Iterator[EncodedPhotos]:
    """Embeddings and features of all photos, in order, some at a time; advances `progress` by one a photo."""
    starts = range(0, len(uris), BATCH)
    with ThreadPoolExecutor(1) as ahead:
        pending = deque(ahead.submit(_read, uris[start : start + BATCH], encoder.preprocess) for start in starts[:2])
        for number, start in enumerate(starts):
            photos, hashes = pending.popleft().result()
            if number + 2 < len(starts):
                following = starts[number + 2]
                pending.append(ahead.submit(_read, uris[following : following + BATCH], encoder.preprocess))
            readable = np.array([each is not None for each in hashes], np.bool_)
            encoded = encoder.encode(photos)
            encoded.embeddings[~readable], encoded.features[~readable] = 0, 0
            yield EncodedPhotos(start, encoded, readable, tuple(hashes))
            progress.advance(len(photos))


def embed(uris: Sequence[str], encoder: Encoder, progress: Progress = SILENT) -> Floats:
    """float32 [n, dim], L2 norm 1; zeros for photos that cannot be read."""
    vectors = np.zeros((len(uris), encoder.dim), np.float32)
    for batch in encode_in_batches(uris, encoder, progress):
        vectors[batch.start : batch.start + len(batch.readable)] = batch.encoded.embeddings
    return vectors


def _read(uris: Sequence[str], preprocess: Preprocess) -> tuple[Floats, list[bytes | None]]:
    """The photos, and the sum of each one's bytes: None, and zeros, where it cannot be read."""
    photos = np.zeros((len(uris), 3, preprocess.size, preprocess.size), np.float32)
    hashes: list[bytes | None] = [None] * len(uris)

    def read(place: int) -> None:
        try:
            data = read_photo(uris[place])
            photos[place] = load(data, uris[place], preprocess)
            hashes[place] = sha256(data).digest()
        except LookalikeError:
            pass  # told by the missing sum

    with ThreadPoolExecutor(thread_count()) as pool:
        list(pool.map(read, range(len(uris))))
    return photos, hashes
