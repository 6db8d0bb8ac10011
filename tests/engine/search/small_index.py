"""Indexes written straight from vectors, without catalogue, photos or encoder, and their exact answers."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.schema import Facet, Product
from engine.search.filters import Filter, matches
from engine.search.search_engine import SearchEngine
from engine.storage.generation import QUANTIZER, generation_path, model_path, move_current
from engine.storage.ivf import Quantizer
from engine.storage.manifest import FileEntry, FilterCalibration, Manifest, Recall
from engine.storage.products import NAME as PRODUCTS
from engine.storage.products import write_products
from engine.storage.shard import PhotoRows, Shard, shard_files, shard_of, write_shard
from engine.vision.model import Model, copy_serving_part
from indexer.calibrate import Goal, calibrate
from indexer.gallery import Gallery, Questions, Sample
from indexer.quantizer import train

Floats = NDArray[np.float32]
InPlace = Literal["never", "as it costs", "always"]

FORETELLS_NOTHING = FilterCalibration(
    tails=(0.5, 1e-6), similarities=(-1.0, 1.0), excess=((-4.0, -3.9),) * 2, code_excess=(-4.0, -3.9), caution=0.5
)
UNMEASURED = Recall(at=10, value=0.5, queries=1, how="made up", interval_95=(0.0, 1.0))


@dataclass(frozen=True)
class Contents:
    """Products by rising id, and photos: the product [n] of each, its vector [n, dim]; photo ids count from 100."""

    facets: tuple[Facet, ...]
    products: Sequence[Product]
    owners: NDArray[np.int64]
    vectors: NDArray[np.float16]

    def best(self, queries: Floats, filter: Filter | None) -> dict[str, float]:
        """The oracle: every product that passes with the cosine of its best photo, best first."""
        cosines = (self.vectors.astype(np.float64) @ queries.astype(np.float64).T).max(axis=1)
        best: dict[str, float] = {}
        for photo in np.argsort(-cosines, kind="stable").tolist():
            product = self.products[self.owners[photo]]
            if product.product_id not in best and (filter is None or matches(filter, product.facets)):
                best[product.product_id] = float(cosines[photo])
        return best

    def cosine(self, photo_id: int, queries: Floats) -> float:
        return float((self.vectors[photo_id - 100].astype(np.float64) @ queries.astype(np.float64).T).max())

    def owner(self, photo_id: int) -> str:
        return self.products[self.owners[photo_id - 100]].product_id


def clustered(
    rng: np.random.Generator, products: int, photos: int, dim: int, *, clusters: int, spread: float = 0.4
) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
    """Photos of products that lie in clusters: owners [photos], each product with one at least, and unit vectors."""
    centres = unit(rng.standard_normal((clusters, dim)))
    homes = rng.integers(clusters, size=products)
    kinds = unit(centres[homes] + spread * unit(rng.standard_normal((products, dim))))
    owners = np.concatenate([np.arange(products), rng.integers(products, size=photos - products)])
    vectors = unit(kinds[owners] + spread / 2 * unit(rng.standard_normal((photos, dim))))
    return owners, vectors.astype(np.float16)


def unit(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def write_index(
    root: Path,
    contents: Contents,
    model: Model,
    *,
    lists: int,
    shards: int = 1,
    nprobe: int = 4,
    depth: int = 50,
    filter_budget: int = 500,
    calibration: FilterCalibration | Literal["measured"] | None = None,
    uris: Mapping[int, str] | None = None,
    hashes: Mapping[int, bytes] | None = None,
) -> SearchEngine:
    """Writes generation 000001 and opens it; `uris` and `hashes` (made up where not given) by photo id.

    A `calibration` that is "measured" is what a build would measure.
    """
    path = generation_path(root, "000001")
    path.mkdir(parents=True)
    copy_serving_part(model, model_path(root, model.spec.model_id))
    quantizer = train(contents.vectors.astype(np.float32), lists)
    quantizer.save(path / QUANTIZER)
    write_products(path / PRODUCTS, contents.products, contents.facets)
    rows = {QUANTIZER: lists, PRODUCTS: len(contents.products)}
    photo_ids = np.arange(100, 100 + len(contents.owners))
    digests = [(hashes or {}).get(photo_id) or sha256(b"%d" % photo_id).digest() for photo_id in photo_ids.tolist()]
    photos = PhotoRows(
        photo_ids,
        contents.owners.astype(np.int32),
        np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32),
        [(uris or {}).get(photo_id, f"file:///nowhere/{photo_id}.jpg") for photo_id in photo_ids.tolist()],
    )
    homes = np.array([shard_of(product.product_id, shards) for product in contents.products])[contents.owners]
    for number in range(shards):
        mine = np.flatnonzero(homes == number)
        write_shard(path, number, quantizer, photos.take(mine), contents.vectors[mine])
        rows |= dict.fromkeys(shard_files(number), len(mine))
    if calibration == "measured":
        calibration = measured(quantizer, [Shard.open(path, number, quantizer) for number in range(shards)], contents)
    Manifest(
        model_id=model.spec.model_id,
        dim=model.spec.dim,
        precision="float32",
        catalogue_id="test",
        change_number=1,
        created_at="2026-01-01T00:00:00+00:00",
        codec=quantizer.codec,
        metric="inner_product",
        lists=lists,
        nprobe=nprobe,
        depth=depth,
        filter_budget=filter_budget,
        recall=UNMEASURED,
        filtered_recall=UNMEASURED,
        products=len(contents.products),
        photos=len(photos),
        shards=shards,
        facets=contents.facets,
        filter_calibration=calibration,
        files={name: FileEntry.of(path / name, count) for name, count in rows.items()},
    ).write(path)
    move_current(root, "000001")
    return SearchEngine.open(root)


def measured(quantizer: Quantizer, shards: Sequence[Shard], contents: Contents) -> FilterCalibration:
    gallery, rng = Gallery(quantizer, shards, len(contents.products)), np.random.default_rng(0)
    questions = Questions.ask(gallery, rng.permutation(gallery.rows)[:64], 10)
    return calibrate(Sample.draw(gallery, rng), questions, Goal(10, allowed=0.01), rng)


@contextmanager
def comparing(in_place: InPlace) -> Iterator[None]:
    """Within, comparing all survivors where they lie is thought to be as dear or cheap as this: small indexes, where it
    always pays, then take the other ways as well."""
    if in_place == "as it costs":
        yield
        return
    cost = 10**12 if in_place == "never" else 0
    with (
        patch("engine.search.survivors.cost_in_place", lambda *_: cost),
        patch("engine.search.scan.cost_in_place", lambda *_: cost),
    ):
        yield
