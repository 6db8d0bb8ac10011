"""Following a catalogue: its log of changes, batch by batch, into the snapshot that answers.

One look costs a statement and a file's first line, so it can be done often. Vectors come with the changes; a photo that
has none in the catalogue (an import writes none) is encoded here. When the index has a new generation, the changes
since that one was built are read into a delta of its own before it answers, so what could be found goes on being
found.

A photo that cannot be read is left out and tried again about once a minute, when there is nothing new: a network share
may have been away for a moment, and putting a file back is no change that a catalogue would know of.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.changes import check_reached
from engine.catalogue.schema import Photo
from engine.catalogue.store import Catalogue
from engine.catalogue.store import Snapshot as CatalogueView
from engine.errors import DamagedFile, LogTrimmed, LookalikeError, WrongCatalogue
from engine.search.apply import Touched, applied, contents_wanted, look_up, reasons_left, under
from engine.search.base import Base
from engine.search.retries import STEP_S, Retries
from engine.search.snapshot import Snapshot
from engine.sources.photos import read_photo
from engine.storage.generation import Generation, open_index, read_current
from engine.vision.photo_vectors import vectors_of

BATCH = 5000  # changes read at once
ENCODED = 64  # photos without a vector at once: a batch ends where it has more

OpenBase = Callable[[Generation, Base], Base]
Vectors = dict[str, NDArray[np.float16]]


class Follower:
    """Brings a snapshot up to date, one batch of changes at a time. Not for several threads at once."""

    def __init__(
        self,
        index_dir: Path,
        catalogue: Catalogue,
        snapshot: Snapshot,
        open_base: OpenBase,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`open_base` makes a new generation ready, given the one that answered before; `clock` tells seconds.

        Raises WrongCatalogue where the index belongs to another catalogue, or to a later state of this one.
        """
        self._index_dir = index_dir
        self._catalogue = catalogue
        self._open_base = open_base
        self._clock = clock
        self._retries = Retries(clock())
        self._check(snapshot)
        self.snapshot = snapshot

    def step(self) -> bool:
        """Reads one batch of changes, or opens a new generation with all that changed since, or tries some unreadable
        photos again; False if nothing came of it. `snapshot` is what answers from now on.

        Raises LookalikeError where the catalogue or the index cannot be read; `snapshot` stays as it is then.
        """
        try:
            if self._index_moved():
                self.snapshot = self._reopened()
                return True
            later = self._advanced(self.snapshot)
        except LogTrimmed:
            if not self._index_moved():
                raise
            later = self._reopened()
        if later is None:
            later = self._retried(self.snapshot)
        if later is None:
            return False
        self.snapshot = later
        return True

    def _index_moved(self) -> bool:
        return read_current(self._index_dir) != self.snapshot.base.generation.name

    def _reopened(self) -> Snapshot:
        """The newest generation, with at least the changes that the snapshot has now."""
        reached = self.snapshot.delta.change_number
        snapshot = Snapshot(self._open_base(open_index(self._index_dir, allow_damaged=True), self.snapshot.base))
        self._check(snapshot, reached)
        while snapshot.delta.change_number < reached and (later := self._advanced(snapshot)) is not None:
            snapshot = later
        # a build leaves out what it cannot read, and no later change names it: the next retry finds out what is left
        unreadable = {**self.snapshot.delta.unreadable, **snapshot.delta.unreadable}
        return Snapshot(snapshot.base, replace(snapshot.delta, unreadable=unreadable)) if unreadable else snapshot

    def _check(self, snapshot: Snapshot, reached: int = 0) -> None:
        """Raises WrongCatalogue unless the snapshot, and the change `reached` before, are this catalogue's."""
        manifest, name = snapshot.base.generation.manifest, self._catalogue.name
        if manifest.catalogue_id != self._catalogue.catalogue_id:
            raise WrongCatalogue(
                f"{self._index_dir} belongs to another catalogue than {name}; name that one, or another index."
            )
        with self._catalogue.snapshot() as view:
            check_reached(max(reached, snapshot.delta.change_number), view.change_number, name)

    def _advanced(self, snapshot: Snapshot) -> Snapshot | None:
        """The snapshot with the next batch of changes, None where there are none."""
        if self._catalogue.change_number() == snapshot.delta.change_number:
            return None
        with self._catalogue.snapshot() as view:
            check_reached(snapshot.delta.change_number, view.change_number, self._catalogue.name)
            snapshot = under(snapshot, view.facets)
            number, touched, vectors, missing = _read(view, snapshot, BATCH)
        # the catalogue is let go before photos are encoded, which can take a while
        encoded, unreadable = _encoded(missing, snapshot.base) if missing else ({}, {})
        return Snapshot(snapshot.base, applied(snapshot, touched, vectors | encoded, unreadable, number))

    def _retried(self, snapshot: Snapshot) -> Snapshot | None:
        """The snapshot with those unreadable photos whose turn it is and that can be read now, None where none can."""
        ids = self._retries.due(snapshot.delta.unreadable, self._clock())
        if not ids:
            return None
        with self._catalogue.snapshot() as view:
            if view.change_number != snapshot.delta.change_number:
                return None  # newer products must not be seen before the changes ahead of them
            snapshot = under(snapshot, view.facets)
            touched, vectors, missing = _look(view, snapshot, ids)
        began, wasted = self._clock(), 0.0
        tried: list[Touched] = []
        unreadable: dict[str, str] = {}
        for one in touched:
            start = self._clock()
            if start - began > STEP_S:
                break
            wanted = contents_wanted(snapshot, [one]).items()  # by its own addresses: others may show the same
            mine = {content: photo for content, photo in wanted if content in missing and content not in vectors}
            encoded, failed = _encoded(mine, snapshot.base)
            vectors |= encoded
            unreadable |= failed
            wasted += self._clock() - start if failed else 0.0
            tried.append(one)
        unreadable = {content: why for content, why in unreadable.items() if content not in vectors}
        self._retries.tried([one.product_id for one in tried], wasted, self._clock())
        before = snapshot.delta
        if not vectors and reasons_left(before.unreadable, tried, unreadable) == before.unreadable:
            return None
        return Snapshot(snapshot.base, applied(snapshot, tried, vectors, unreadable, before.change_number))


def _read(view: CatalogueView, snapshot: Snapshot, limit: int) -> tuple[int, list[Touched], Vectors, dict[str, Photo]]:
    """At most `limit` changes: the number of the last one, the products they touched, the vectors that the catalogue
    has of their new photos, and by content those photos that it has none of."""
    changes = view.changes_since(snapshot.delta.change_number, limit)
    touched, vectors, missing = _look(view, snapshot, {change.product_id for change in changes})
    if len(missing) > ENCODED and limit > 1:
        return _read(view, snapshot, max(1, min(limit, len(changes)) * ENCODED // len(missing)))
    return changes[-1].number, touched, vectors, missing


def _look(
    view: CatalogueView, snapshot: Snapshot, ids: Collection[str]
) -> tuple[list[Touched], Vectors, dict[str, Photo]]:
    """The products as they are now, the vectors that the catalogue has of their new photos, and by content those
    photos that it has none of."""
    touched = look_up(snapshot, ids, view.products_of(ids), view.photos_of_all(ids))
    wanted = contents_wanted(snapshot, touched)
    manifest = snapshot.base.generation.manifest
    vectors = view.vectors_of(manifest.model_id, manifest.precision, wanted.keys())
    missing = {content: photo for content, photo in wanted.items() if content not in vectors}
    return touched, vectors, missing


def _encoded(photos: Mapping[str, Photo], base: Base) -> tuple[Vectors, dict[str, str]]:
    """The vectors of photos, by content, and why some have none."""
    vectors: Vectors = {}
    unreadable: dict[str, str] = {}
    for content, photo in photos.items():
        try:
            data = read_photo(photo.uri)
            if sha256(data).hexdigest() != content:
                raise DamagedFile(f"{photo.uri} was changed since it came into the catalogue; send it again.")
            vectors[content] = vectors_of([(photo.uri, data)], base.eyes.encoder, base.eyes.loader)[0]
        except LookalikeError as error:
            unreadable[content] = str(error)
    return vectors, unreadable
