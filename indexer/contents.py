"""What the catalogue holds at one moment, and how it is laid out in a generation."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.schema import Facet, Photo, Product
from engine.catalogue.store import Catalogue
from engine.errors import EmptyCatalogue
from engine.storage.ivf import Floats, Ints
from engine.storage.shard import PhotoRows, shard_of
from engine.telemetry import Progress
from indexer.embed import Embedded, content_of

PHOTOS_PER_SHARD = 1_000_000  # Lookalike default


@dataclass(frozen=True, slots=True)
class Contents:
    """A catalogue after the change `change_number`: `products` in the order of their ids, and all `photos`."""

    name: str
    catalogue_id: str
    change_number: int
    facets: tuple[Facet, ...]
    products: tuple[Product, ...]
    photos: tuple[Photo, ...]


def read_contents(catalogue: Catalogue, progress: Progress) -> Contents:
    """Reads everything in one snapshot. Raises EmptyCatalogue where there is no photo."""
    with catalogue.snapshot() as view:
        progress.start("Reading the catalogue", view.count_photos())
        photos = []
        for photo in view.photos():
            photos.append(photo)
            progress.advance()
        contents = Contents(
            name=catalogue.name,
            catalogue_id=catalogue.catalogue_id,
            change_number=view.change_number,
            facets=tuple(view.facets),
            products=tuple(view.products()),
            photos=tuple(photos),
        )
    if not photos:
        raise EmptyCatalogue(f"The catalogue {catalogue.name} has no photos; import some with `lookalike import`.")
    return contents


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Which product has which ordinal, and which photo goes to which shard.

    `products` are those with a photo that can be read, in the order of their ids; `rows`, `vectors` [n, dim] and
    `shard_of_row` [n] belong together.
    """

    products: tuple[Product, ...]
    rows: PhotoRows
    vectors: NDArray[np.float16]
    shard_of_row: Ints
    shards: int

    @classmethod
    def of(cls, contents: Contents, embedded: Embedded, shards: int | None) -> "Layout":
        """Raises EmptyCatalogue where no photo could be read."""
        photos = embedded.photos
        if not photos:
            raise EmptyCatalogue(
                f"None of the {len(contents.photos)} photos of {contents.name} can be read (the first: "
                f"{embedded.unreadable[0].reason}); put them back and import again."
            )
        shards = shards or -(-len(photos) // PHOTOS_PER_SHARD)
        shown = {photo.product_id for photo in photos}
        products = tuple(product for product in contents.products if product.product_id in shown)
        ordinal = {product.product_id: number for number, product in enumerate(products)}
        home = np.array([shard_of(product.product_id, shards) for product in products], np.int64)
        ordinals = np.array([ordinal[photo.product_id] for photo in photos], np.int32)
        rows = PhotoRows(
            photo_ids=np.array([photo.photo_id for photo in photos], np.int64),
            ordinals=ordinals,
            content_hashes=np.frombuffer(b"".join(map(content_of, photos)), np.uint8).reshape(len(photos), -1),
            uris=[photo.uri for photo in photos],
        )
        return cls(products, rows, embedded.vectors, home[ordinals], shards)

    def rows_of_shard(self, number: int) -> Ints:
        """The positions in `rows` that belong to a shard."""
        return np.flatnonzero(self.shard_of_row == number)

    def sample(self, size: int, without: Ints, rng: np.random.Generator) -> Floats:
        """Up to `size` vectors to train on, of products other than those with the ordinals `without`."""
        rows = np.flatnonzero(~np.isin(self.rows.ordinals, without))
        drawn = np.sort(rng.permutation(rows)[:size])
        vectors: Floats = self.vectors[drawn].astype(np.float32)
        return vectors
