"""Photos to products: a product stands where its best photo stands."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PHOTOS_LIKELY = 8  # photos of one product among the best, seldom more
ROUNDING = 1e-6  # that sums in another order may differ by


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Distinct products, best first: ordinals int64 [n], the row of each one's best photo int64 [n], and its score
    float32 [n], falling."""

    ordinals: NDArray[np.int64]
    rows: NDArray[np.int64]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ordinals)

    def take(self, places: NDArray[np.int64]) -> "Ranking":
        """The products at these places, in this order."""
        return Ranking(self.ordinals[places], self.rows[places], self.scores[places])


def best_per_product(ordinals: NDArray[np.integer], rows: NDArray[np.int64], scores: NDArray[np.float32]) -> Ranking:
    """Photos ([n] ordinals of their products, rows, scores) -> their products, by best photo.

    Equal scores stand in the order of the products, a product's equal photos in the order of the rows, so that an
    answer does not depend on the order in which photos were found.
    """
    order = np.lexsort((rows, ordinals, -scores))
    _, firsts = np.unique(ordinals[order], return_index=True)
    best = order[np.sort(firsts)]
    return Ranking(ordinals[best].astype(np.int64), rows[best], scores[best])


def best_products(
    ordinals: NDArray[np.integer], rows: NDArray[np.int64], scores: NDArray[np.float32], need: int
) -> Ranking:
    """As `best_per_product`, but products after the first `need` may be missing: of many photos only the best are
    sorted."""
    kept = PHOTOS_LIKELY * need
    if len(scores) > 2 * kept:
        floor = np.partition(scores, len(scores) - kept)[len(scores) - kept]
        likely = np.flatnonzero(scores >= floor)
        ranking = best_per_product(ordinals[likely], rows[likely], scores[likely])
        if len(ranking) >= need:
            return ranking
    return best_per_product(ordinals, rows, scores)


def decide(ordinals: NDArray[np.integer], scores: NDArray[np.float32], need: int, error: float = ROUNDING) -> bool:
    """Whether the photos with the greatest scores ([n] products of these, and scores, falling) decide which are the
    `need` best products: whatever is not among them stands below, though scores may be off by `error`."""
    _, firsts = np.unique(ordinals, return_index=True)  # each product's best photo
    products = scores[np.sort(firsts)]
    return len(products) >= need and bool(products[need - 1] > scores[-1] + 2 * error)
