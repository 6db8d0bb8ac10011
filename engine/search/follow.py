"""Following a catalogue: its log of changes, batch by batch, into the snapshot that answers.

One look costs a statement and a file's first line, so it can be done often. Vectors come with the changes; a photo that
has none in the catalogue (an import writes none) is encoded here. When the index has a new generation, the changes
since that one was built are read into a delta of its own before it answers, so what could be found goes on being
found.
"""

from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.schema import Photo
from engine.catalogue.store import Catalogue
from engine.catalogue.store import Snapshot as CatalogueView
from engine.errors import DamagedFile, LogTrimmed, LookalikeError, WrongCatalogue
from engine.search.apply import Touched, applied, contents_wanted, look_up, under
from engine.search.base import Base
from engine.search.snapshot import Snapshot
from engine.sources.photos import read_photo
from engine.storage.generation import Generation, open_index, read_current
from engine.vision.encoder import Encoder
from engine.vision.photo_vectors import vectors_of

BATCH = 5000  # changes read at once
ENCODED = 64  # photos without a vector at once: a batch ends where it has more

OpenBase = Callable[[Generation, Base], Base]


class Follower:
    """Brings a snapshot up to date, one batch of changes at a time. Not for several threads at once."""

    def __init__(self, index_dir: Path, catalogue: Catalogue, snapshot: Snapshot, open_base: OpenBase) -> None:
        """`open_base` makes a new generation ready, given the one that answered before.

        Raises WrongCatalogue where the index belongs to another catalogue, or to a later state of this one.
        """
        self._index_dir = index_dir
        self._catalogue = catalogue
        self._open_base = open_base
        self._check(snapshot)
        self.snapshot = snapshot

    def step(self) -> bool:
        """Reads one batch of changes, or opens a new generation with all that changed since; False if there was
        nothing to do. `snapshot` is what answers from now on.

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
            return False
        self.snapshot = later
        return True

    def _index_moved(self) -> bool:
        return read_current(self._index_dir) != self.snapshot.base.generation.name

    def _reopened(self) -> Snapshot:
        """The newest generation, with at least the changes that the snapshot has now."""
        reached = self.snapshot.delta.change_number
        snapshot = Snapshot(self._open_base(open_index(self._index_dir, allow_damaged=True), self.snapshot.base))
        self._check(snapshot)
        while snapshot.delta.change_number < reached:
            later = self._advanced(snapshot)
            assert later is not None, "the catalogue has the changes that the snapshot has"
            snapshot = later
        return snapshot

    def _check(self, snapshot: Snapshot) -> None:
        manifest, name = snapshot.base.generation.manifest, self._catalogue.name
        if manifest.catalogue_id != self._catalogue.catalogue_id:
            raise WrongCatalogue(
                f"{self._index_dir} belongs to another catalogue than {name}; name that one, or another index."
            )
        with self._catalogue.snapshot() as view:
            _check_number(snapshot.delta.change_number, view, name)

    def _advanced(self, snapshot: Snapshot) -> Snapshot | None:
        """The snapshot with the next batch of changes, None where there are none."""
        if self._catalogue.change_number() == snapshot.delta.change_number:
            return None
        with self._catalogue.snapshot() as view:
            _check_number(snapshot.delta.change_number, view, self._catalogue.name)
            snapshot = under(snapshot, view.facets)
            number, touched, vectors, missing = _read(view, snapshot, BATCH)
        # the catalogue is let go before photos are encoded, which can take a while
        encoded, unreadable = _encoded(missing, snapshot.base.eyes.encoder) if missing else ({}, {})
        return Snapshot(snapshot.base, applied(snapshot, touched, vectors | encoded, unreadable, number))


def _check_number(reached: int, view: CatalogueView, name: str) -> None:
    if view.change_number < reached:
        raise WrongCatalogue(
            f"{name} is at change {view.change_number} and the index has seen change {reached}: an older copy; bring "
            "back the newer one, or build another index."
        )


Read = tuple[int, list[Touched], dict[str, NDArray[np.float16]], dict[str, Photo]]


def _read(view: CatalogueView, snapshot: Snapshot, limit: int) -> Read:
    """At most `limit` changes: the number of the last one, the products they touched, the vectors that the catalogue
    has of their new photos, and by content those photos that it has none of."""
    changes = view.changes_since(snapshot.delta.change_number, limit)
    ids = {change.product_id for change in changes}
    touched = look_up(snapshot, ids, view.products_of(ids), view.photos_of_all(ids))
    wanted = contents_wanted(snapshot, touched)
    manifest = snapshot.base.generation.manifest
    vectors = view.vectors_of(manifest.model_id, manifest.precision, wanted.keys())
    missing = {content: photo for content, photo in wanted.items() if content not in vectors}
    if len(missing) > ENCODED and limit > 1:
        return _read(view, snapshot, max(1, min(limit, len(changes)) * ENCODED // len(missing)))
    return changes[-1].number, touched, vectors, missing


def _encoded(photos: Mapping[str, Photo], encoder: Encoder) -> tuple[dict[str, NDArray[np.float16]], dict[str, str]]:
    """The vectors of photos, by content, and why some have none."""
    vectors: dict[str, NDArray[np.float16]] = {}
    unreadable: dict[str, str] = {}
    for content, photo in photos.items():
        try:
            data = read_photo(photo.uri)
            if sha256(data).hexdigest() != content:
                raise DamagedFile(f"{photo.uri} was changed since it came into the catalogue; send it again.")
            vectors[content] = vectors_of([(photo.uri, data)], encoder)[0]
        except LookalikeError as error:
            unreadable[content] = str(error)
    return vectors, unreadable
