"""Live changes: photo in -> decoded, encoded once -> catalogue. Durable first, then visible to all who follow.

A product, its photos, their vectors and the numbers of the changes go into the catalogue in one transaction, so that
whoever follows the log finds a vector with every photo and nobody encodes it again. What a method returns carries the
number to wait for: an engine that is `caught_up` with it shows the change.

Photos that arrive as bytes are kept in a folder by their content, `photos/ab/abcd….jpg`, each written whole before the
transaction that names it: a crash in between leaves a file that nothing points at, never the other way round.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.schema import Facet, FacetValue, Product
from engine.catalogue.store import Catalogue
from engine.catalogue.writer import Effect, NewPhoto
from engine.errors import BadCall, LookalikeError
from engine.sources.photos import read_photo
from engine.storage.files import replacing, sync
from engine.vision.encoder import Encoder
from engine.vision.photo_vectors import PRECISION, vectors_of

PHOTOS = "photos"  # the folder beside a catalogue's file
_REACH = (Effect.UNCHANGED, Effect.CHANGED, Effect.NEW)  # of two effects on a product, the later one is its effect
_SUFFIXES = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"RIFF": ".webp"}


@dataclass(frozen=True, slots=True)
class Upsert:
    """A product to be there afterwards: a title, facets or photos that are not given stay as they are.

    `photos` are the bytes of files (JPEG, PNG or WebP); one that the product has already is no second one. Facets in
    `unset` are taken away.
    """

    product_id: str
    title: str | None = None
    facets: Mapping[str, FacetValue] = field(default_factory=dict)
    photos: Sequence[bytes] = ()
    unset: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """What an upsert did: the ids of its photos, in their order, and how many of these are new to the product."""

    product_id: str
    effect: Effect
    photo_ids: tuple[int, ...]
    photos_new: int


@dataclass(frozen=True, slots=True)
class Done:
    """A transaction that is on the disk: wait for `change_number` to find what it changed."""

    change_number: int
    written: tuple[Written, ...] = ()


@dataclass(frozen=True, slots=True)
class _File:
    """A photo of an upsert; `name` is what errors call it."""

    product_id: str
    name: str
    data: bytes

    @property
    def content(self) -> str:
        return sha256(self.data).hexdigest()


class Updates:
    """Writes live changes to a catalogue; safe to share between threads, which take turns."""

    def __init__(self, catalogue: Catalogue, encoder: Encoder | None = None, photos: Path | None = None) -> None:
        """`encoder` is needed to upsert photos, and must be that of the index; `photos` is the folder to keep them in,
        by default `photos/` beside the catalogue's file."""
        self._catalogue = catalogue
        self._encoder = encoder
        self._photos = photos if photos is not None or catalogue.path is None else catalogue.path.parent / PHOTOS

    def upsert(self, product: Upsert, *, declare: Iterable[Facet] = ()) -> Done:
        """`upsert_many` for one."""
        return self.upsert_many([product], declare=declare)

    def upsert_many(self, products: Sequence[Upsert], *, declare: Iterable[Facet] = ()) -> Done:
        """Brings products with their photos into the catalogue, all of them or none; `declare` adds facets first.

        Raises BadImage for a photo that is none, BadCall for an id or a value that cannot be, Busy where another
        writer takes too long.
        """
        files = [
            _File(one.product_id, f"photo {number} of {one.product_id!r}", data)
            for one in products
            for number, data in enumerate(one.photos, start=1)
        ]
        vectors = self._vectors(files)
        photos = self._placed(files)
        with self._catalogue.transaction() as writer:
            writer.declare_facets(declare)
            plain = [Product(one.product_id, one.title, one.facets) for one in products]
            effects = writer.upsert_products(plain, keep=True)
            for place, one in enumerate(products):
                if one.unset and writer.set_facets(one.product_id, {}, one.unset) is not Effect.UNCHANGED:
                    effects[place] = max(effects[place], Effect.CHANGED, key=_REACH.index)
            # a known photo without a vector may be one that followers could not read: now they can show it
            added = iter(writer.add_photos(photos, keep=True, again=vectors.keys()))
            if self._encoder is not None:
                writer.put_vectors(self._encoder.model_id, PRECISION, vectors)
            done = writer.change_number
        return Done(done, tuple(_written(one, effect, added) for one, effect in zip(products, effects, strict=True)))

    def set_facets(
        self,
        product_id: str,
        values: Mapping[str, FacetValue],
        unset: Collection[str] = (),
        *,
        declare: Iterable[Facet] = (),
    ) -> Done:
        """Changes facets of a product that is there, and takes those in `unset` away; the others stay.

        Raises UnknownProduct, BadCall for a facet that is not declared or a value of another type.
        """
        with self._catalogue.transaction() as writer:
            writer.declare_facets(declare)
            writer.set_facets(product_id, values, unset)
            return Done(writer.change_number)

    def delete(self, product_ids: Sequence[str] = (), *, photo_ids: Sequence[int] = ()) -> Done:
        """Deletes products with their photos, and single photos, whose products stay: all of them or none.

        Raises UnknownProduct, UnknownPhoto.
        """
        with self._catalogue.transaction() as writer:
            writer.delete_photos(list(dict.fromkeys(photo_ids)))
            writer.delete_products(list(dict.fromkeys(product_ids)))
            return Done(writer.change_number)

    def _vectors(self, files: Sequence[_File]) -> dict[str, NDArray[np.float16]]:
        """The vectors of all photos whose content the catalogue has none of, each encoded once."""
        if not files:
            return {}
        if self._encoder is None:
            raise BadCall("Photos need the model of the index to be upserted; name it.")
        with self._catalogue.snapshot() as view:
            known = view.vectors_of(self._encoder.model_id, PRECISION, {file.content for file in files})
        new = {file.content: (file.name, file.data) for file in files if file.content not in known}
        return dict(zip(new, vectors_of(list(new.values()), self._encoder), strict=True))

    def _placed(self, files: Sequence[_File]) -> list[NewPhoto]:
        """The photos with their URIs: one that the product has already stays where it is, if it still is there."""
        with self._catalogue.snapshot() as view:
            stored = view.photos_of_all({file.product_id for file in files})
        known = {(photo.product_id, photo.content_hash): photo.uri for photo in stored}
        photos = []
        for file in files:
            uri = known.get((file.product_id, file.content))
            uri = uri if uri is not None and _is_at(file, uri) else self._keep(file)
            photos.append(NewPhoto(file.product_id, file.content, uri))
        return photos

    def _keep(self, file: _File) -> str:
        """The URI of the photo's own file, which is on the disk when this returns."""
        if self._photos is None:
            raise BadCall(
                f"The catalogue {self._catalogue.name} has no folder beside it to keep photos in; name one (--photos)."
            )
        content = file.content
        path = (self._photos / content[:2] / f"{content}{_suffix(file.data)}").resolve()
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path, own=True) as partial:
                partial.write_bytes(file.data)
            sync(path.parent.parent)
        return path.as_uri()


def _is_at(file: _File, uri: str) -> bool:
    try:
        return read_photo(uri) == file.data
    except LookalikeError:
        return False


def _suffix(data: bytes) -> str:
    return next((suffix for magic, suffix in _SUFFIXES.items() if data.startswith(magic)), "")


def _written(product: Upsert, effect: Effect, added: Iterator[tuple[int, Effect]]) -> Written:
    mine = list(islice(added, len(product.photos)))
    new = {photo_id for photo_id, effect in mine if effect is Effect.NEW}
    return Written(product.product_id, effect, tuple(photo_id for photo_id, _ in mine), len(new))
