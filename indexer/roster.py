"""The products and photos of a stock as files that are mapped: what a build knows about them, outside its memory.

Written once, front to back, while the stock is read, so that a catalogue's snapshot need not stay open while photos are
embedded. Photos are numbered by rising (product_id, photo_id), products by rising product_id.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.schema import Photo, Product
from engine.errors import DuplicateId, UnknownProduct
from engine.storage.files import remove_tree
from engine.storage.products import ProductSpool
from engine.storage.shard import HASH_BYTES, shard_of
from engine.storage.texts import Texts, TextWriter, map_array
from engine.telemetry import Progress
from indexer.stock import Stock

Ints = NDArray[np.int64]

AT_ONCE = 8192  # photos or products kept as objects before they are written
SPOOL = "products.spool"


@dataclass(frozen=True, slots=True, eq=False)
class Roster:
    """What is to be indexed, mapped from `directory`.

    `photo_ids` int64 [photos], `owners` int32 [photos], the number of the photo's product, `contents` uint8
    [photos, 32], the sha256 of its file, `uris`; `product_ids` and `shards` uint16 [products], each product's shard.
    """

    directory: Path
    photo_ids: Ints
    owners: NDArray[np.int32]
    contents: NDArray[np.uint8]
    uris: Texts
    product_ids: Texts
    shards: NDArray[np.uint16]

    @classmethod
    def open(cls, directory: Path) -> "Roster":
        """Maps what `write_roster` wrote."""

        return cls(
            directory=directory,
            photo_ids=map_array(directory / "photo_ids", np.int64),
            owners=map_array(directory / "owners", np.int32),
            contents=map_array(directory / "contents", np.uint8, HASH_BYTES),
            uris=Texts.open(directory / "uris"),
            product_ids=Texts.open(directory / "product_ids"),
            shards=map_array(directory / "shards", np.uint16),
        )

    def __len__(self) -> int:
        return len(self.photo_ids)

    def photo(self, position: int) -> Photo:
        """One photo as the catalogue has it, without its columns."""
        return Photo(
            int(self.photo_ids[position]),
            self.product_ids[int(self.owners[position])],
            self.contents[position].tobytes().hex(),
            self.uris[position],
        )


def write_roster(directory: Path, stock: Stock, shards: int, progress: Progress) -> Roster:
    """Reads a stock, which may have no photo, into files. Raises DuplicateId where an id comes twice."""
    remove_tree(directory)
    directory.mkdir(parents=True)
    _write_products(directory, stock, shards)
    product_ids = Texts.open(directory / "product_ids")
    progress.start("Reading the catalogue", stock.count_photos())
    with (
        (directory / "photo_ids").open("wb") as ids,
        (directory / "owners").open("wb") as owners,
        (directory / "contents").open("wb") as contents,
        TextWriter(directory / "uris") as uris,
    ):
        owner, last_product, last_photo = -1, "", -1
        waiting: list[tuple[int, int, bytes]] = []

        def flush() -> None:
            np.array([row[0] for row in waiting], np.int64).tofile(ids)
            np.array([row[1] for row in waiting], np.int32).tofile(owners)
            contents.write(b"".join(row[2] for row in waiting))
            progress.advance(len(waiting))
            waiting.clear()

        for photo in stock.photos():
            if owner < 0 or photo.product_id != last_product:
                owner = _next_owner(product_ids, owner, photo.product_id)
                last_product, last_photo = photo.product_id, -1
            if photo.photo_id <= last_photo:
                raise DuplicateId(f"{stock.name} has photo {photo.photo_id} twice; give every photo its own id.")
            last_photo = photo.photo_id
            waiting.append((photo.photo_id, owner, bytes.fromhex(photo.content_hash)))
            uris.append(photo.uri)
            if len(waiting) == AT_ONCE:
                flush()
        flush()
    roster = Roster.open(directory)
    _check_photo_ids(roster.photo_ids, stock.name)
    return roster


def _write_products(directory: Path, stock: Stock, shards: int) -> None:
    homes: list[int] = []
    with (
        TextWriter(directory / "product_ids") as ids,
        (directory / "shards").open("wb") as file,
        ProductSpool(directory / SPOOL, stock.facets) as spool,
    ):
        for product in _rising(stock):
            ids.append(product.product_id)
            spool.append(product)
            homes.append(shard_of(product.product_id, shards))
            if len(homes) == AT_ONCE:
                np.array(homes, np.uint16).tofile(file)
                homes.clear()
        np.array(homes, np.uint16).tofile(file)


def _rising(stock: Stock) -> Iterator[Product]:
    last = ""
    for product in stock.products():
        if product.product_id == last:
            raise DuplicateId(f"{stock.name} has the product {last!r} twice; give every product its own id.")
        assert product.product_id > last, f"{stock.name} gives {product.product_id!r} after {last!r}"
        last = product.product_id
        yield product


def _next_owner(product_ids: Texts, owner: int, product_id: str) -> int:
    """The number of a product after that of `owner`: both lists rise, so a look ahead is enough."""
    for number in range(owner + 1, len(product_ids)):
        if product_ids[number] == product_id:
            return number
    raise UnknownProduct(
        f"A photo belongs to the product {product_id!r}, which comes too late or not at all; sort them."
    )


def _check_photo_ids(photo_ids: Ints, name: str) -> None:
    ordered = np.sort(photo_ids)
    twice = np.flatnonzero(ordered[1:] == ordered[:-1])
    if len(twice):
        raise DuplicateId(f"{name} has photo {ordered[twice[0]]} twice; give every photo its own id.")
