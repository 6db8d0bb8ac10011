"""What an index is made of, at one moment: where its products and photos come from.

A build reads a `Stock` once, front to back, and holds neither products nor photos in memory. The catalogue is one;
`GivenPhotos` is another, for vectors that exist already and have no catalogue.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.schema import Facet, Photo, Product
from engine.catalogue.store import Snapshot

AT_ONCE = 8192  # photos made into objects together


class Stock(Protocol):
    """Products and photos as they were after the change `change_number`. `name` is for sentences."""

    @property
    def name(self) -> str: ...

    @property
    def catalogue_id(self) -> str: ...

    @property
    def change_number(self) -> int: ...

    @property
    def facets(self) -> tuple[Facet, ...]: ...

    def count_photos(self) -> int:
        """How many `photos` gives."""

    def products(self) -> Iterator[Product]:
        """Every product, by rising product_id."""

    def photos(self) -> Iterator[Photo]:
        """Every photo, by rising (product_id, photo_id); its product is one of `products`."""

    def vectors(self, model_id: str, precision: str) -> Iterator[tuple[bytes, NDArray[np.float16]]]:
        """Vectors that are known already: the photo's sha256, 32 bytes, and float16 [dim]."""


class CatalogueStock:
    """A catalogue's snapshot."""

    def __init__(self, name: str, view: Snapshot) -> None:
        self.name = name
        self.catalogue_id = view.catalogue_id
        self.change_number = view.change_number
        self.facets = view.facets
        self._view = view

    def count_photos(self) -> int:
        return self._view.count_photos()

    def products(self) -> Iterator[Product]:
        return self._view.products()

    def photos(self) -> Iterator[Photo]:
        return self._view.photos()

    def vectors(self, model_id: str, precision: str) -> Iterator[tuple[bytes, NDArray[np.float16]]]:
        return self._view.vectors(model_id, precision)


class GivenPhotos:
    """Photos that are nothing but rows of vectors: photo i, counted from 0, belongs to the product `owners[i]`.

    `owners` int [n] never falls. Products are called after their numbers, with leading zeros, and have no facets unless
    `products` are given. A photo's content is its number, since there are no bytes to take the sha256 of.
    """

    catalogue_id = "vectors"
    change_number = 0

    def __init__(
        self, name: str, owners: NDArray[np.integer], products: tuple[Product, ...] = (), facets: tuple[Facet, ...] = ()
    ) -> None:
        self.name = name
        self.facets = facets
        self._owners = owners
        self._products = products

    def count_photos(self) -> int:
        return len(self._owners)

    def products(self) -> Iterator[Product]:
        if self._products:
            return iter(self._products)
        return (Product(product_name(number)) for number in range(int(self._owners[-1]) + 1))

    def photos(self) -> Iterator[Photo]:
        for start in range(0, len(self._owners), AT_ONCE):
            for number, owner in enumerate(self._owners[start : start + AT_ONCE].tolist(), start):
                product_id = self._products[owner].product_id if self._products else product_name(owner)
                yield Photo(number, product_id, content_of_number(number).hex(), "")

    def vectors(self, model_id: str, precision: str) -> Iterator[tuple[bytes, NDArray[np.float16]]]:
        return iter(())


def product_name(number: int) -> str:
    """The id of a product that has only a number; in the order of the numbers."""
    return f"{number:010d}"


def content_of_number(number: int) -> bytes:
    """32 bytes that stand for the content of photo `number`."""
    return number.to_bytes(8, "big").ljust(32, b"\0")


def write_contents_of_numbers(path: Path, count: int) -> None:
    """The contents of photos 0..count-1 as a file of uint8 [count, 32]."""
    contents = np.lib.format.open_memmap(path, "w+", np.uint8, (count, 32))
    contents[:, :8] = np.arange(count, dtype=">u8").view(np.uint8).reshape(count, 8)
    contents.flush()
