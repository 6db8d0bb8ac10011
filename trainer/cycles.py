"""In which order the photos of one dataset come, until all have come and the next cycle begins.

Either photo by photo, or in batches of p products with k photos each (class-balanced sampling in arXiv:1811.12649):
losses that compare photos with one another learn nothing from a product of which a batch has only one. Both are drawn
by weights through systematic sampling, so that what has a weight of w comes floor or ceil of w times n.
"""

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Weights = NDArray[np.float64]


def photo_cycle(weights: Weights, rng: np.random.Generator) -> Rows:
    """As many rows as there are, in random order: each once where all weights are equal."""
    order = rng.permutation(len(weights))
    if np.ptp(weights) == 0:
        return order
    return rng.permutation(order[_marked(weights[order], len(weights), rng)])


class ProductCycles:
    """Cycles of batches in which no product comes twice, each with the same number of its photos.

    A product comes by the sum of its photos' weights, as far as once a batch allows, and a cycle has as many batches as
    it takes to show as many photos as there are. A product with fewer photos than a batch is to have of it shows
    some twice. Photos of no known product stand in as products of `per_product` photos.
    """

    def __init__(self, products: Rows, weights: Weights, quota: int, per_product: int) -> None:
        """`products` [rows]: their numbers, -1 is unknown; `quota`: photos of a batch, a multiple of `per_product`."""
        products = products.copy()
        unknown = np.flatnonzero(products < 0)
        products[unknown] = products.max(initial=0) + 1 + np.arange(len(unknown)) // per_product
        _, self._product, sizes = np.unique(products, return_inverse=True, return_counts=True)
        self._sizes = sizes.astype(np.int64)
        self._firsts = np.cumsum(self._sizes) - self._sizes
        self._per_batch, self._per_product = quota // per_product, per_product
        self.batches = -(-len(products) // quota)
        # how often each product comes in a batch, once at most
        self._shares = capped_shares(np.bincount(self._product, weights).astype(np.float64), self._per_batch)

    @property
    def length(self) -> int:
        """Photos of a cycle."""
        return self.batches * self._per_batch * self._per_product

    def draw(self, rng: np.random.Generator) -> Rows:
        """The rows of one cycle: batch by batch, product by product."""
        order = rng.permutation(len(self._shares))
        slots = order[_marked(self._shares[order], self.batches * self._per_batch, rng)]
        # a product's slots lie side by side and are at most as many as there are batches: dealt out like cards, no
        # batch gets two of them
        turns = _turns(slots)
        dealt = np.arange(len(slots)).reshape(self._per_batch, self.batches).T[rng.permutation(self.batches)].ravel()
        slots, turns = slots[dealt], turns[dealt]
        shuffled = np.lexsort((rng.random(len(self._product)), self._product))  # products in order, their photos not
        places = (turns[:, None] * self._per_product + np.arange(self._per_product)) % self._sizes[slots, None]
        return np.asarray(shuffled[self._firsts[slots, None] + places].ravel(), np.int64)


def capped_shares(weights: Weights, total: int) -> Weights:
    """[n >= total] shares that sum to `total`, none above 1, proportional to `weights` where that allows."""
    shares: Weights = weights * (total / weights.sum())
    full = np.zeros(len(weights), np.bool_)
    while (above := shares > 1 + 1e-9).any():
        full |= above
        shares[full] = 1
        shares[~full] = weights[~full] * ((total - full.sum()) / weights[~full].sum())
    return shares


def _marked(weights: Weights, count: int, rng: np.random.Generator) -> Rows:
    """[count] places in rising order, by evenly spaced marks along the weights laid end to end."""
    ends = np.cumsum(weights)
    marks = (np.arange(count) + rng.random()) / count * ends[-1]
    places: Rows = np.searchsorted(ends, marks, side="right").clip(max=len(weights) - 1)
    return places


def _turns(values: Rows) -> Rows:
    """[n] values, equal ones side by side -> how many of its like came before each."""
    begins = np.flatnonzero(np.diff(values, prepend=values[:1] - 1))
    return np.asarray(np.arange(len(values)) - np.repeat(begins, np.diff(begins, append=len(values))), np.int64)
