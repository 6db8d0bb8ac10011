"""Photos -> float16 vectors, each content embedded once: known ones are copied, the rest decoded and encoded.

What is embedded is kept in parts as it comes, so a build that was killed goes on where it stopped. A photo that cannot
be read is reported and left out.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.schema import Photo
from engine.errors import DamagedFile, LookalikeError, WrongModel
from engine.settings import thread_count
from engine.sources.photos import read_photo, reading_order
from engine.storage.files import replacing
from engine.telemetry import Progress
from engine.vision.encoder import Encoder
from engine.vision.preprocess import Preprocess, load

BATCH = 32  # photos encoded at a time
AHEAD = 4 * BATCH  # photos decoded or being decoded while the encoder works
PART = 256  # photos in a part: what a kill can cost

Floats = NDArray[np.float32]
Vectors = NDArray[np.float16]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A photo that was left out, and why."""

    photo_id: int
    product_id: str
    uri: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """`photos` that could be read and their `vectors` [n, dim], memory-mapped, in the same order.

    `encoded` counts the photos that went through the network now; the other vectors were known.
    """

    photos: list[Photo]
    vectors: Vectors
    encoded: int
    unreadable: tuple[Unreadable, ...]


class KnownVectors:
    """Vectors by the sha256 of the photo's file, left where they are (in mapped files)."""

    def __init__(self) -> None:
        self._sources: list[Vectors] = []
        self._places: dict[bytes, tuple[int, int]] = {}

    def add(self, contents: Sequence[bytes], vectors: Vectors) -> None:
        """`vectors` [n, dim] are those of the n contents; a content that is known already keeps its first vector."""
        source = len(self._sources)
        self._sources.append(vectors)
        for row, content in enumerate(contents):
            self._places.setdefault(content, (source, row))

    def __contains__(self, content: bytes) -> bool:
        return content in self._places

    def __getitem__(self, content: bytes) -> Vectors:
        source, row = self._places[content]
        vector: Vectors = self._sources[source][row]
        return vector


def content_of(photo: Photo) -> bytes:
    """The sha256 of the photo's file, as 32 bytes."""
    return bytes.fromhex(photo.content_hash)


def embed(photos: Sequence[Photo], encoder: Encoder, known: KnownVectors, work: Path, progress: Progress) -> Embedded:
    """The vectors of `photos`: those in `known` copied, the rest encoded, in the order of `photos`.

    `work` is a directory for parts and for the file of vectors; parts that an earlier call left there for the same
    model are used. Raises WrongModel where the encoder gives what cannot be a vector.
    """
    parts = work / "embedded" / f"{encoder.model_id}-float32"
    parts.mkdir(parents=True, exist_ok=True)
    for path in sorted(parts.glob("*.npy")):
        _read_part(path, known)
    failures: dict[bytes, str] = {}
    missing = _missing(photos, known)
    progress.start("Embedding photos", len(missing))
    for number, part in enumerate(
        _chunks(_encode(missing, encoder, failures, progress), PART), len(list(parts.iterdir()))
    ):
        path = parts / f"{number:06d}.npy"
        _write_part(path, part, encoder.dim)
        _read_part(path, known)
    readable = [photo for photo in photos if content_of(photo) in known]
    return Embedded(
        photos=readable,
        vectors=_gather(readable, known, work / "vectors.npy", encoder.dim),
        encoded=len(missing) - len(failures),
        unreadable=tuple(
            Unreadable(photo.photo_id, photo.product_id, photo.uri, failures[content_of(photo)])
            for photo in photos
            if content_of(photo) in failures
        ),
    )


def _missing(photos: Iterable[Photo], known: KnownVectors) -> list[Photo]:
    """One photo of every content that is not known, in the order in which files are read fastest."""
    first = {content: photo for photo in photos if (content := content_of(photo)) not in known}
    return sorted(first.values(), key=lambda photo: reading_order(photo.uri))


def _encode(
    photos: Sequence[Photo], encoder: Encoder, failures: dict[bytes, str], progress: Progress
) -> Iterator[tuple[bytes, Floats]]:
    """(content, vector) of the photos that can be read; `failures` gets the reasons of the others."""
    for batch in _chunks(_decode_ahead(photos, encoder.preprocess), BATCH):
        inputs: list[Floats] = []
        contents: list[bytes] = []
        for photo, decoded in batch:
            if isinstance(decoded, LookalikeError):
                failures[content_of(photo)] = str(decoded)
            else:
                inputs.append(decoded)
                contents.append(content_of(photo))
        if inputs:
            yield from zip(contents, _vectors(encoder, np.stack(inputs)), strict=True)
        progress.advance(len(batch))


def _vectors(encoder: Encoder, inputs: Floats) -> Floats:
    vectors = encoder.encode(inputs).embeddings
    norms = np.linalg.norm(vectors, axis=1)
    if vectors.shape != (len(inputs), encoder.dim) or not np.allclose(norms, 1, atol=1e-2):
        raise WrongModel(
            f"The model {encoder.model_id[:12]} does not give unit vectors of {encoder.dim} numbers; export it again."
        )
    return vectors


def _decode_ahead(photos: Iterable[Photo], preprocess: Preprocess) -> Iterator[tuple[Photo, Floats | LookalikeError]]:
    """Decodes in threads, at most AHEAD photos before the one that is asked for, and keeps the order."""
    waiting: deque[tuple[Photo, Future[Floats | LookalikeError]]] = deque()
    with ThreadPoolExecutor(thread_count(), thread_name_prefix="decode") as pool:
        try:
            for photo in photos:
                waiting.append((photo, pool.submit(_decode, photo, preprocess)))
                if len(waiting) >= AHEAD:
                    first, future = waiting.popleft()
                    yield first, future.result()
            for photo, future in waiting:
                yield photo, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _decode(photo: Photo, preprocess: Preprocess) -> Floats | LookalikeError:
    """The network's input, float32 [3, size, size], or why there is none."""
    try:
        data = read_photo(photo.uri)
        if sha256(data).hexdigest() != photo.content_hash:
            # its vector would be kept under the hash of other bytes, and copied for ever
            return DamagedFile(f"{photo.uri} was changed since its import; import its table again.")
        return load(data, photo.uri, preprocess)
    except LookalikeError as error:
        return error


def _write_part(path: Path, part: Sequence[tuple[bytes, Floats]], dim: int) -> None:
    rows = np.empty(len(part), _part_type(dim))
    rows["content"] = np.frombuffer(b"".join(content for content, _ in part), np.uint8).reshape(-1, 32)
    rows["vector"] = np.stack([vector for _, vector in part])
    with replacing(path) as partial, partial.open("wb") as file:
        np.save(file, rows)


def _read_part(path: Path, known: KnownVectors) -> None:
    rows = np.load(path, mmap_mode="r")
    known.add([content.tobytes() for content in rows["content"]], rows["vector"])


def _part_type(dim: int) -> np.dtype[np.void]:
    return np.dtype([("content", np.uint8, (32,)), ("vector", np.float16, (dim,))])


def _gather(photos: Sequence[Photo], known: KnownVectors, path: Path, dim: int) -> Vectors:
    vectors = np.lib.format.open_memmap(path, "w+", np.float16, (len(photos), dim))
    for row, photo in enumerate(photos):
        vectors[row] = known[content_of(photo)]
    return vectors


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
