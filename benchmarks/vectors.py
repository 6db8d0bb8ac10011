"""Vectors to measure with: made like a shop's, or read from a file or an index.

The made ones have the structure that embeddings of product photos have, and that decides how hard a search is:

- a **category** is a direction; there is one for every 400 products;
- a **product** lies around its category (cosines between products of one category: about .5);
- a **photo** lies around its product (cosines between photos of one product: .75 to .95, since some photos are harder
  than others); products have 1 to 7 photos, 4 on average;
- directions do not count alike: the standard deviation along the i-th falls as (1 + i / 16) ** -0.75, so that a few
  dozen directions hold most of the variance, as principal components of trained embeddings do; all of it is turned so
  that no axis is special.

Queries are further photos of products in the gallery. Everything follows from the seed, and the first rows of a bigger
gallery are not those of a smaller one.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Halves = NDArray[np.float16]
Ints = NDArray[np.int64]

PRODUCTS_PER_CATEGORY = 400
PHOTOS_PER_PRODUCT = 4
PRODUCT_SPREAD = 1.0  # of products round their category, relative to the categories' own
PHOTO_SPREAD = (0.35, 0.8)  # of photos round their product
BLOCK = 65536


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """A gallery and questions to it: `rows` float16 [n, dim] of norm 1, `owners` int64 [n] their products, `queries`
    float32 [q, dim] of norm 1."""

    rows: Halves
    owners: Ints
    queries: Floats
    what: str
    name: str = "made"

    @property
    def products(self) -> int:
        return int(self.owners.max()) + 1


def made(rows: int, queries: int, dim: int = 256, *, seed: int = 0) -> Vectors:
    """Makes a gallery of so many photos, in the order of their products, and queries of products drawn from it."""
    rng = np.random.default_rng(seed)
    photos = rng.integers(1, 2 * PHOTOS_PER_PRODUCT, size=-(-rows // PHOTOS_PER_PRODUCT) + 8)
    while photos.sum() < rows:
        photos = np.concatenate([photos, photos[:8]])
    owners = np.repeat(np.arange(len(photos)), photos)[:rows]
    products = int(owners[-1]) + 1
    # scaling the directions and then turning all of them is one matrix
    turn = np.linalg.qr(rng.standard_normal((dim, dim)))[0] * (1 + np.arange(dim) / 16) ** -0.75
    turn = (turn / np.linalg.norm(turn)).T.astype(np.float32)
    categories = rng.standard_normal((max(1, products // PRODUCTS_PER_CATEGORY), dim), np.float32) @ turn
    homes = rng.integers(len(categories), size=products)
    centres = np.empty((products, dim), np.float32)
    for start in range(0, products, BLOCK):
        block = slice(start, start + BLOCK)
        noise = rng.standard_normal((len(homes[block]), dim), np.float32) @ turn
        centres[block] = categories[homes[block]] + np.float32(PRODUCT_SPREAD) * noise
    found = np.empty((rows, dim), np.float16)
    for start in range(0, rows, BLOCK):
        found[start : start + BLOCK] = _photos(centres[owners[start : start + BLOCK]], turn, rng)
    asked = _photos(centres[rng.integers(products, size=queries)], turn, rng)
    return Vectors(found, owners, asked, f"{rows:,} made vectors of {dim} dimensions, {products:,} products")


def _photos(centres: Floats, turn: Floats, rng: np.random.Generator) -> Floats:
    spread = rng.uniform(*PHOTO_SPREAD, size=(len(centres), 1)).astype(np.float32)
    return unit(centres + spread * (rng.standard_normal(centres.shape, np.float32) @ turn))


def unit(vectors: Floats) -> Floats:
    """Scales rows to norm 1."""
    scaled: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return scaled


def from_file(path: Path, queries: int, *, seed: int = 0) -> Vectors:
    """The rows of a `.npy` file, scaled to norm 1, each a product of its own; some of them, drawn, ask and leave the
    gallery."""
    rows = unit(np.load(path).astype(np.float32))
    return _left_out(rows.astype(np.float16), np.arange(len(rows)), queries, path.stem, seed)


def from_index(directory: Path, queries: int, *, seed: int = 0) -> Vectors:
    """The rows of a Lookalike index; some of them, drawn, ask and leave the gallery."""
    from engine.storage.generation import open_index

    generation = open_index(directory)
    rows = np.concatenate([np.asarray(shard.vectors) for shard in generation.shards])
    owners = np.concatenate([shard.ordinals for shard in generation.shards]).astype(np.int64)
    return _left_out(rows, owners, queries, directory.name, seed)


def _left_out(rows: Halves, owners: Ints, queries: int, name: str, seed: int) -> Vectors:
    asking = np.zeros(len(rows), np.bool_)
    asking[np.random.default_rng(seed).choice(len(rows), min(queries, len(rows) // 5), replace=False)] = True
    what = f"{name}: {len(rows) - asking.sum():,} vectors of {rows.shape[1]} dimensions"
    return Vectors(rows[~asking], owners[~asking], unit(rows[asking].astype(np.float32)), what, name)
