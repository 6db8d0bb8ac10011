"""Small true implementations of what is heavy: an encoder in five lines, a model directory without training."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import save

from engine.catalogue.schema import Facet, FacetType, FacetValue, Product
from engine.errors import BadQuery, UnknownPhoto, UnknownProduct
from engine.search.facet_counts import FacetSummary, without
from engine.search.filters import Filter, bind, matches, values_of
from engine.search.look import Look
from engine.search.plan import Plan
from engine.search.query import Box, Exact, Hit, Query, SearchResult
from engine.vision.encoder import Encoded
from engine.vision.heads import Prediction
from engine.vision.model import Head, Model, ModelSpec, compute_model_id, write_model
from engine.vision.preprocess import Preprocess, load

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

GRID = 8  # the fakes see a photo as 8 x 8 patches of mean colour
COLOUR_HEAD = Head("colour", "colour", ("Blue", "Green", "Red"))


def small_preprocess(size: int = 32) -> Preprocess:
    return Preprocess(size, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


class FakeEncoder:
    """Patches of mean colour through a fixed random projection: like photos get like vectors, on any machine."""

    def __init__(self, dim: int = 16, *, model_id: str = "fake", size: int = 32, seed: int = 0) -> None:
        assert size % GRID == 0
        self.model_id = model_id
        self.dim = dim
        self.preprocess = small_preprocess(size)
        self.photos_encoded = 0
        self._projection = projection(dim, seed)

    def encode(self, batch: Floats) -> Encoded:
        self.photos_encoded += len(batch)
        step = self.preprocess.size // GRID
        patches = batch.reshape(len(batch), 3, GRID, step, GRID, step).mean(axis=(3, 5), dtype=np.float32)
        features = patches.reshape(len(batch), 3 * GRID * GRID)
        # photo by photo, so that a vector does not depend on what it was encoded with
        embeddings = np.stack([feature @ self._projection for feature in features])
        norms = np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), np.float32(1e-12))
        return Encoded(embeddings / norms, features)


def projection(dim: int, seed: int = 0) -> Floats:
    """float32 [3 * GRID * GRID, dim], the same for the same seed."""
    return np.random.default_rng(seed).standard_normal((3 * GRID * GRID, dim)).astype(np.float32)


def tiny_model(directory: Path, *, dim: int = 16, size: int = 32, seed: int = 0) -> Model:
    """A real model directory (ONNX, heads, model.json) that computes what `FakeEncoder` does. Needs `onnx`.

    Its one head, `colour`, tells mostly red, green and blue photos apart.
    """
    weights = projection(dim, seed)
    planes = np.eye(3, dtype=np.float32)[[2, 1, 0]].repeat(GRID * GRID, axis=1)  # Blue, Green, Red sum their channel
    tensors = {"colour.weight": planes / np.float32(GRID), "colour.bias": np.zeros(3, np.float32)}
    spec = ModelSpec(
        model_id="",
        name="tiny",
        trunk="patches",
        dim=dim,
        feature_dim=len(weights),
        preprocess=small_preprocess(size),
        heads=(COLOUR_HEAD,),
    )
    model_id = compute_model_id(
        {**tensors, "projection": weights}, spec.preprocess, trunk=spec.trunk, dim=dim, heads=spec.heads
    )
    files = {"encoder.onnx": tiny_onnx(weights, size), "heads.safetensors": save(tensors)}
    return write_model(directory, replace(spec, model_id=model_id), files)


def tiny_onnx(weights: Floats, size: int) -> bytes:
    """Photos -> mean colours of patches ("features") -> `weights` -> L2 ("embedding"), as an ONNX file."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    step = size // GRID
    graph = helper.make_graph(
        [
            helper.make_node("AveragePool", ["photos"], ["pooled"], kernel_shape=[step, step], strides=[step, step]),
            helper.make_node("Flatten", ["pooled"], ["features"]),
            helper.make_node("MatMul", ["features", "weights"], ["projected"]),
            helper.make_node("LpNormalization", ["projected"], ["embedding"], axis=1, p=2),
        ],
        "tiny",
        [helper.make_tensor_value_info("photos", TensorProto.FLOAT, ["n", 3, size, size])],
        [
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", weights.shape[1]]),
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", weights.shape[0]]),
        ],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def photo_bytes(colour: tuple[int, int, int], *, side: int = 48, seed: int = 0, kind: str = "PNG") -> bytes:
    """A file of a square photo in about one colour, with noise that `seed` decides."""
    noise = np.random.default_rng(seed).normal(0, 8, (side, side, 3))
    pixels = (np.array(colour) + noise).clip(0, 255).astype(np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


# --- A search engine without an index --------------------------------------------------------------------------------


@dataclass(frozen=True)
class FakePhoto:
    """A photo as its file's bytes, by its product."""

    photo_id: int
    product_id: str
    data: bytes


@dataclass(frozen=True)
class FakeDetail:
    product_id: str
    title: str | None
    facets: Mapping[str, FacetValue]
    photo_ids: tuple[int, ...]


@dataclass(frozen=True)
class FakeManifest:
    model_id: str


class FakeEngine:
    """Products and photos in memory, compared one by one; answers as `SearchEngine` does, only slower.

    `similar` is the ranking of `exact` without its first product. `broken` is raised by every question.
    """

    generation = "000001"
    change_number = 1
    live_photos = 0
    unreadable_photos = 0
    deleted_photos = 0
    visibility_lag_s: float | None = None
    problem: str | None = None
    heads = (COLOUR_HEAD,)

    def __init__(self, facets: Sequence[Facet], products: Sequence[Product], photos: Sequence[FakePhoto]) -> None:
        self.broken: Exception | None = None
        self._encoder = FakeEncoder()
        self.facets = tuple(facets)
        self._products = {product.product_id: product for product in products}
        self._photos = {photo.photo_id: photo for photo in photos}
        self._vectors = {photo.photo_id: self._encode(photo.data) for photo in photos}
        self.manifest = FakeManifest(self._encoder.model_id)

    @property
    def products(self) -> int:
        return len(self._products)

    @property
    def photos(self) -> int:
        return len(self._photos)

    def search(self, query: Query) -> SearchResult:
        self._break()
        passing = self._passing(query.filter)
        scores = self._scores(self._vectors_of(query))
        photos = [photo for photo in self._photos.values() if photo.product_id in passing]
        photos.sort(key=lambda photo: (-scores[photo.photo_id], photo.product_id))
        best: dict[str, FakePhoto] = {}
        for photo in photos:
            best.setdefault(photo.product_id, photo)
        hits = tuple(self._hit(photo, scores[photo.photo_id]) for photo in best.values())
        return SearchResult(
            exact=None if query.mode == "similar" else Exact(hits[: query.k]),
            similar=None if query.mode == "exact" else hits[1 : query.k + 1],
            predictions=(Prediction("colour", "Red", 0.75),) if query.photo is not None else (),
            matching=len(passing),
            plan=self._plan(passing),
        )

    def look(self, query: Query) -> Look:
        """Its one head is surer of the colour, the more of it there is."""
        self._break()
        assert isinstance(query.photo, bytes)
        corners = None if query.box is None else (query.box.left, query.box.top, query.box.right, query.box.bottom)
        red, green, blue = load(query.photo, "the photo", self._encoder.preprocess, corners).mean(axis=(1, 2))
        powers = np.exp(np.array([blue, green, red], np.float32))
        return Look(self._vectors_of(query)[0][None], {"colour": powers / powers.sum()})

    def caught_up(self, change_number: int, timeout_s: float = 0.0) -> bool:
        self._break()
        return self.change_number >= change_number

    def product(self, product_id: str) -> FakeDetail:
        self._break()
        product = self._known(product_id)
        photo_ids = sorted(photo.photo_id for photo in self._photos.values() if photo.product_id == product_id)
        return FakeDetail(product.product_id, product.title, product.facets, tuple(photo_ids))

    def photo(self, photo_id: int) -> bytes:
        self._break()
        if photo_id not in self._photos:
            raise UnknownPhoto(f"There is no photo {photo_id} in this index; take the ids from an answer.")
        return self._photos[photo_id].data

    def matching(self, filter: Filter | None) -> NDArray[np.bool_]:
        self._break()
        passing = self._passing(filter)
        return np.array([product_id in passing for product_id in sorted(self._products)], np.bool_)

    def facet_counts(self, filter: Filter | None = None, *, limit: int = 50) -> tuple[FacetSummary, ...]:
        return tuple(self._summary(facet, self._passing(without(filter, facet.name)), limit) for facet in self.facets)

    def _break(self) -> None:
        if self.broken is not None:
            raise self.broken

    def _known(self, product_id: str) -> Product:
        if product_id not in self._products:
            raise UnknownProduct(f"There is no product {product_id!r} in this index; check the id, or index it first.")
        return self._products[product_id]

    def _encode(self, data: bytes, box: Box | None = None) -> Floats:
        corners = None if box is None else (box.left, box.top, box.right, box.bottom)
        pixels = load(data, "the photo", self._encoder.preprocess, corners)
        embedding: Floats = self._encoder.encode(pixels[None]).embeddings[0]
        return embedding

    def _vectors_of(self, query: Query) -> list[Floats]:
        if isinstance(query.photo, bytes):
            return [self._encode(query.photo, query.box)]
        if query.vector is not None:
            if query.vector.shape != (self._encoder.dim,):
                raise BadQuery("The vector has another shape than those of the index.")
            return [query.vector / np.linalg.norm(query.vector)]
        assert query.product_id is not None
        self._known(query.product_id)
        return [
            self._vectors[photo.photo_id] for photo in self._photos.values() if photo.product_id == query.product_id
        ]

    def _scores(self, vectors: list[Floats]) -> dict[int, float]:
        return {photo_id: max(float(vector @ known) for vector in vectors) for photo_id, known in self._vectors.items()}

    def _passing(self, filter: Filter | None) -> set[str]:
        bound = None if filter is None else bind(filter, self.facets)
        return {key for key, product in self._products.items() if bound is None or matches(bound, product.facets)}

    def _hit(self, photo: FakePhoto, score: float) -> Hit:
        product = self._products[photo.product_id]
        return Hit(product.product_id, product.title, product.facets, score, photo.photo_id)

    def _summary(self, facet: Facet, passing: set[str], limit: int) -> FacetSummary:
        cells = [values_of(self._products[product_id].facets.get(facet.name)) for product_id in sorted(passing)]
        counts: Counter[Any] = Counter(value for values in cells for value in values)
        missing = sum(not values for values in cells)
        if facet.type in (FacetType.NUMBER, FacetType.TIME):
            ends = (min(counts, default=None), max(counts, default=None))
            return FacetSummary(facet.name, facet.type, (), len(counts), *ends, missing)
        order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit]
        return FacetSummary(facet.name, facet.type, tuple(order), len(counts), None, None, missing)

    def _plan(self, passing: set[str]) -> Plan:
        return Plan(
            path="exact" if passing else "nothing",
            generation=self.generation,
            model_id=self.manifest.model_id,
            shards=1,
            lists_visited=1,
            lists_total=1,
            rows_scanned=self.photos,
            rows_reranked=self.photos,
            survivors=None,
            matching_products=len(passing),
            expected_recall=1.0 if passing else None,
            milliseconds={"encode": 1.5, "rerank": 0.25},
        )


# --- Vectors without photos ------------------------------------------------------------------------------------------


def product_vectors(products: int, photos: int, dim: int = 32, *, seed: int = 0) -> tuple[NDArray[np.float16], Ints]:
    """Vectors that cluster as a shop's do: families of products, and `photos` near to each product.

    float16 [products * photos, dim], norm 1 within float16, and the product of each, int64, rising.
    """
    rng = np.random.default_rng(seed)
    families = rng.standard_normal((max(1, products // 12), dim))
    centres = families[rng.integers(len(families), size=products)] + 0.5 * rng.standard_normal((products, dim))
    owners = np.repeat(np.arange(products), photos)
    vectors = centres[owners] + 0.25 * rng.standard_normal((products * photos, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16), owners
