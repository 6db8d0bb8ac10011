"""Deleting what a table lacks: the other half of `import --replace`."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from engine.catalogue.store import Catalogue
from engine.telemetry import Progress

AT_ONCE = 500  # photos or products deleted in one transaction

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Deleted:
    """How much was deleted; the photos of deleted products count too."""

    products: int = 0
    photos: int = 0


def delete_the_rest(
    catalogue: Catalogue,
    products: Collection[str],
    photos: Collection[int],
    facets: Collection[str],
    *,
    spare: Collection[str],
    progress: Progress,
) -> Deleted:
    """Deletes every product, photo and facet that is not named, but nothing of the products in `spare`."""
    rest_products: list[str] = []
    rest_photos: list[int] = []
    of_products = 0
    with catalogue.snapshot() as view:
        rest_products.extend(
            product.product_id
            for product in view.products()
            if product.product_id not in products and product.product_id not in spare
        )
        gone = set(rest_products)
        for photo in view.photos():
            if photo.product_id in gone:
                of_products += 1
            elif photo.photo_id not in photos and photo.product_id not in spare:
                rest_photos.append(photo.photo_id)
    for photo_ids in batches(rest_photos, AT_ONCE):
        with catalogue.transaction() as writer:
            writer.delete_photos(photo_ids)
        progress.advance(len(photo_ids))
    for product_ids in batches(rest_products, AT_ONCE):
        with catalogue.transaction() as writer:
            writer.delete_products(product_ids)
        progress.advance(len(product_ids))
    with catalogue.transaction() as writer:
        for facet in writer.facets:
            if facet.name not in facets:
                writer.drop_facet(facet.name)
    return Deleted(len(rest_products), of_products + len(rest_photos))


def batches(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """`items` in lists of `size`; the last one may be shorter."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
