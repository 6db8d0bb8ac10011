"""Photos -> float16 vectors, each content embedded once: known ones are copied, the rest decoded and encoded.

What is embedded goes into a journal as it comes, so a build that was killed goes on where it stopped. A photo that
cannot be read is reported and left out.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.schema import Photo
from engine.errors import DamagedFile, LookalikeError, WrongModel
from engine.settings import thread_count
from engine.sources.photos import read_photo, reading_order
from engine.telemetry import Progress
from engine.vision.encoder import Encoder
from engine.vision.preprocess import Preprocess, load
from indexer.journal import JournalWriter
from indexer.known import AT_ONCE, UNKNOWN, ContentIndex, Known, Source, VectorFile, first_of_each, journal_source
from indexer.previous import journal_folder
from indexer.roster import Roster

BATCH = 32  # photos encoded at a time
AHEAD = 4 * BATCH  # photos decoded or being decoded while the encoder works
PART = 256  # photos between two writes to the disk: what a kill can cost
WINDOW = 65536  # photos sorted by where their files are, and kept as objects for it
UNREADABLE_KEPT = 10_000  # photos that are told one by one; there may be millions

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
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
    """Where the vector of every photo of a roster is.

    `places` int64 [photos], mapped: a row counted over all `files`, -1 for a photo that cannot be read. `encoded`
    counts the photos that went through the network now; the other vectors were known. `unreadable` are the first
    UNREADABLE_KEPT of the `unreadable_photos`.
    """

    places: Ints
    places_path: Path
    files: tuple[VectorFile, ...]
    encoded: int
    unreadable: tuple[Unreadable, ...]
    unreadable_photos: int


def embed(roster: Roster, encoder: Encoder, known: Known, work: Path, progress: Progress) -> Embedded:
    """The vectors of all photos: those in `known` stay where they are, the rest are encoded, each content once.

    `work` is a directory for journals and for the places; journals that an earlier call left there for the same model
    are used. Raises WrongModel where the encoder gives what cannot be a vector.
    """
    journals = journal_folder(work, encoder.model_id)
    path = work / "places.npy"
    places = locate(roster, known, path)
    missing = first_of_each(roster.contents, np.flatnonzero(places == UNKNOWN))
    progress.start("Embedding photos", len(missing))
    failures: dict[bytes, str] = {}
    encoded = 0
    files = known.files
    if len(missing):
        journal = journals / f"{len(list(journals.iterdir())):06d}.journal"
        with JournalWriter(journal, encoder.dim) as writer:
            for part in _chunks(_encode(_photos(roster, missing), encoder, failures, progress), PART):
                writer.append([content for content, _ in part], np.stack([vector for _, vector in part]))
                encoded += len(part)
        fresh = journal_source(journal, encoder.dim)
        _locate_fresh(roster, places, fresh, sum(file.rows for file in files))
        files = (*files, fresh.file)
    lost = np.flatnonzero(places == UNKNOWN)
    places.flush()
    return Embedded(
        places=np.load(path, mmap_mode="r"),
        places_path=path,
        files=files,
        encoded=encoded,
        unreadable=tuple(_unreadable(roster, lost[:UNREADABLE_KEPT], failures)),
        unreadable_photos=len(lost),
    )


def find_all(roster: Roster, known: Known, work: Path) -> Embedded:
    """The places of vectors that are all known; what is not known has no vector."""
    path = work / "places.npy"
    lost = int((locate(roster, known, path) == UNKNOWN).sum())
    assert not lost, f"{lost} photos have no vector"
    return Embedded(np.load(path, mmap_mode="r"), path, known.files, 0, (), 0)


def locate(roster: Roster, known: Known, path: Path) -> "np.memmap[Any, np.dtype[np.int64]]":
    """Writes the place of every photo's vector to `path`, -1 where it is unknown, and maps it for writing."""
    places = np.lib.format.open_memmap(path, "w+", np.int64, (len(roster),))
    index = ContentIndex([source.contents for source in known.sources])
    for start in range(0, len(roster), AT_ONCE):
        block = slice(start, start + AT_ONCE)
        places[block] = index.find(roster.contents[block])
    return places


def _locate_fresh(roster: Roster, places: NDArray[np.int64], fresh: Source, base: int) -> None:
    index = ContentIndex([fresh.contents])
    missing = np.flatnonzero(places == UNKNOWN)
    for start in range(0, len(missing), AT_ONCE):
        block = missing[start : start + AT_ONCE]
        found = index.find(roster.contents[block])
        places[block] = np.where(found == UNKNOWN, UNKNOWN, found + base)


def _unreadable(roster: Roster, lost: Ints, failures: Mapping[bytes, str]) -> Iterator[Unreadable]:
    for position in lost:
        photo = roster.photo(position)
        reason = failures.get(content_of(photo), f"{photo.uri} cannot be read.")
        yield Unreadable(photo.photo_id, photo.product_id, photo.uri, reason)


def content_of(photo: Photo) -> bytes:
    """The sha256 of the photo's file, as 32 bytes."""
    return bytes.fromhex(photo.content_hash)


def _photos(roster: Roster, positions: Ints) -> Iterator[Photo]:
    """The photos at these positions, each window of them in the order in which files are read fastest."""
    for start in range(0, len(positions), WINDOW):
        photos = [roster.photo(position) for position in positions[start : start + WINDOW]]
        yield from sorted(photos, key=lambda photo: reading_order(photo.uri))


def _encode(
    photos: Iterable[Photo], encoder: Encoder, failures: dict[bytes, str], progress: Progress
) -> Iterator[tuple[bytes, Floats]]:
    """(content, vector) of the photos that can be read; `failures` gets the reasons of the others."""
    for batch in _chunks(_decode_ahead(photos, encoder.preprocess), BATCH):
        inputs: list[Floats] = []
        contents: list[bytes] = []
        for photo, decoded in batch:
            if isinstance(decoded, LookalikeError):
                if len(failures) < UNREADABLE_KEPT:
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


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
