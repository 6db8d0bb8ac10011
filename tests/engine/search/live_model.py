"""A plain-Python model of a catalogue that changes, and random changes to both: the oracle of everything live.

The model keeps what was acknowledged: products with title and facets, and the vectors of their photos. Its answers are
loops. Whatever a following engine says must be what the model says.
"""

from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.schema import FacetType, FacetValue, Product
from engine.errors import UnknownProduct
from engine.search.facet_counts import without
from engine.search.filters import Equal, Exists, Filter, Not, OneOf, Range, bind, matches, values_of
from engine.search.query import Query
from engine.search.search_engine import SearchEngine
from engine.updates import Updates, Upsert
from engine.vision.photo_vectors import vectors_of
from tests.indexer.shop import COLOURS, Shop, draw

TOLERANCE = 2e-6
FILTERS: tuple[Filter | None, ...] = (
    None,
    Equal("colour", "Red"),
    OneOf("colour", ("Blue", "Green")),
    Not(Exists("colour")),
    Range("price", low=3.0, high=9.0),
    Range("price", high=2.0),
)


@dataclass
class Shown:
    """A product as it was acknowledged."""

    title: str | None = None
    facets: dict[str, FacetValue] = field(default_factory=dict)
    photos: dict[int, NDArray[np.float16]] = field(default_factory=dict)  # by photo id


class LiveModel:
    """The model, and the catalogue that it is the model of; every change goes to both."""

    def __init__(self, opened: Shop, rng: np.random.Generator, products: int, *, at_once: int = 3) -> None:
        """`products` is how many different product ids there are, `at_once` how many are changed together at most."""
        self.catalogue = opened.catalogue
        self.encoder = opened.encoder
        self.updates = Updates(opened.catalogue, opened.encoder, opened.folder / "photos")
        self.rng = rng
        self.ids = [f"p{number:04d}" for number in range(products)]
        self.at_once = at_once
        self.operations = 0
        self.shown: dict[str, Shown] = {}
        self.change_number = 0
        self._vectors: dict[str, NDArray[np.float16]] = {}
        self._photos: dict[tuple[int, int], bytes] = {}
        self._learn()

    def _learn(self) -> None:
        """What the catalogue holds already, photo by photo."""
        with self.catalogue.snapshot() as view:
            self.change_number = view.change_number
            for product in view.products():
                self.shown[product.product_id] = Shown(product.title, dict(product.facets))
            for photo in view.photos():
                number, which = int(photo.product_id[1:]), len(self.shown[photo.product_id].photos)
                data = self.photo(number, which)
                assert sha256(data).hexdigest() == photo.content_hash
                self.shown[photo.product_id].photos[photo.photo_id] = self.vector(data)

    def photo(self, number: int, which: int) -> bytes:
        """A photo of a product, drawn once."""
        if (number, which) not in self._photos:
            self._photos[number, which] = draw(number, which)
        return self._photos[number, which]

    def vector(self, data: bytes) -> NDArray[np.float16]:
        """What the encoder sees in a photo, remembered."""
        content = sha256(data).hexdigest()
        if content not in self._vectors:
            self._vectors[content] = vectors_of([("", data)], self.encoder)[0]
        return self._vectors[content]

    # --- Changes ---------------------------------------------------------------------------------------------------

    def change(self) -> None:
        """One random change, acknowledged."""
        kinds = (self.upsert, self.upsert, self.set_facets, self.delete_product, self.delete_photo)
        kinds[self.rng.integers(len(kinds))]()

    def upsert(self) -> None:
        """A few products with up to two photos each, in one transaction."""
        chosen = self.rng.choice(self.ids, self.rng.integers(1, self.at_once + 1), replace=False).tolist()
        self.operations += len(chosen)
        upserts = [self._drawn(product_id) for product_id in chosen]
        done = self.updates.upsert_many(upserts)
        for upsert, written in zip(upserts, done.written, strict=True):
            mine = self.shown.setdefault(upsert.product_id, Shown())
            mine.title = mine.title if upsert.title is None else upsert.title
            mine.facets |= upsert.facets
            for photo_id, data in zip(written.photo_ids, upsert.photos, strict=True):
                mine.photos[photo_id] = self.vector(data)
        self.change_number = done.change_number

    def _drawn(self, product_id: str) -> Upsert:
        facets: dict[str, FacetValue] = {}
        if self.rng.random() < 0.7:
            facets["colour"] = COLOURS[self.rng.integers(3)]
        if self.rng.random() < 0.7:
            facets["price"] = float(self.rng.integers(12))
        photos = [self.photo(int(product_id[1:]), int(which)) for which in self.rng.choice(5, self.rng.integers(3))]
        title = f"Title {self.rng.integers(100)}" if self.rng.random() < 0.3 else None
        return Upsert(product_id, title, facets, photos)

    def set_facets(self) -> None:
        if not self.shown:
            return
        product_id = self._any()
        mine = self.shown[product_id]
        values: dict[str, FacetValue] = {"price": float(self.rng.integers(12))}
        unset = ["colour"] if self.rng.random() < 0.3 else []
        self.change_number = self.updates.set_facets(product_id, values, unset).change_number
        self.operations += 1
        mine.facets |= values
        for name in unset:
            mine.facets.pop(name, None)

    def delete_product(self) -> None:
        count = min(len(self.shown), int(self.rng.integers(1, max(2, self.at_once // 2 + 1))))
        chosen = self.rng.choice(sorted(self.shown), count, replace=False).tolist() if count else []
        self.change_number = self.updates.delete(chosen).change_number
        self.operations += count
        for product_id in chosen:
            del self.shown[product_id]

    def delete_photo(self) -> None:
        owners = {photo_id: product_id for product_id, one in self.shown.items() for photo_id in one.photos}
        if owners:
            photo_id = int(self.rng.choice(sorted(owners)))
            self.change_number = self.updates.delete(photo_ids=[photo_id]).change_number
            self.operations += 1
            del self.shown[owners[photo_id]].photos[photo_id]

    def _any(self) -> str:
        return str(self.rng.choice(sorted(self.shown)))

    # --- Answers ---------------------------------------------------------------------------------------------------

    def best(self, query: NDArray[np.float32], filter: Filter | None) -> dict[str, float]:
        """Every product that has a photo and passes, with the cosine of its best photo."""
        wide = query.astype(np.float64)
        return {
            product_id: max(float(vector.astype(np.float64) @ wide) for vector in one.photos.values())
            for product_id, one in self.shown.items()
            if one.photos and (filter is None or matches(filter, one.facets))
        }

    def check(self, engine: SearchEngine) -> None:
        """Asks the engine, which must have caught up, everything there is to ask, and compares."""
        visible = {product_id: one for product_id, one in self.shown.items() if one.photos}
        assert engine.products == len(visible)
        assert engine.photos == sum(len(one.photos) for one in visible.values())
        query = self.rng.standard_normal(self.encoder.dim).astype(np.float32)
        query /= np.linalg.norm(query)
        for filter in FILTERS:
            self.check_search(engine, query, None if filter is None else bind(filter, engine.facets))
        self.check_counts(engine, bind(Range("price", low=3.0), engine.facets))
        for product_id in self.rng.choice(self.ids, 5).tolist():
            self.check_product(engine, product_id)

    def check_search(self, engine: SearchEngine, query: NDArray[np.float32], filter: Filter | None) -> None:
        """With k beyond what there is, every product is an answer: none deleted, none lost, each with its score."""
        self.operations += 1
        result = engine.search(Query(vector=query, k=1000, mode="exact", filter=filter))
        assert result.exact is not None
        best = self.best(query, filter)
        assert {hit.product_id for hit in result.exact.hits} == best.keys()
        assert result.matching == len(best)
        scores = [hit.score for hit in result.exact.hits]
        assert scores == sorted(scores, reverse=True)
        for hit in result.exact.hits:
            mine = self.shown[hit.product_id]
            assert (hit.title, hit.facets) == (mine.title, mine.facets)
            assert abs(hit.score - min(best[hit.product_id], 1.0)) < TOLERANCE
            assert hit.photo_id in mine.photos

        self.check_first(engine, query, filter, best)

    def check_first(
        self, engine: SearchEngine, query: NDArray[np.float32], filter: Filter | None, best: dict[str, float]
    ) -> None:
        """With a small k, generation and delta each have more than is shown; the best of both must come first."""
        result = engine.search(Query(vector=query, k=3, mode="exact", filter=filter))
        assert result.exact is not None
        scores = [hit.score for hit in result.exact.hits]
        truth = [min(score, 1.0) for score in sorted(best.values(), reverse=True)[:3]]
        assert len(scores) == len(truth)
        if result.plan.path == "exact":
            assert np.allclose(scores, truth, atol=TOLERANCE)

    def check_counts(self, engine: SearchEngine, filter: Filter) -> None:
        for summary in engine.facet_counts(filter):
            rest = without(filter, summary.name)
            counted = [one for one in self.shown.values() if one.photos and (rest is None or matches(rest, one.facets))]
            cells = [values_of(one.facets.get(summary.name)) for one in counted]
            counts: Counter[Any] = Counter(value for values in cells for value in values)
            assert summary.missing == sum(not values for values in cells)
            assert summary.distinct == len(counts)
            if summary.type is FacetType.KEYWORD:
                assert summary.values == tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
            else:
                assert (summary.minimum, summary.maximum) == (min(counts, default=None), max(counts, default=None))

    def check_product(self, engine: SearchEngine, product_id: str) -> None:
        mine = self.shown.get(product_id)
        if mine is None or not mine.photos:
            try:
                engine.product(product_id)
            except UnknownProduct:
                return
            raise AssertionError(f"{product_id} is deleted and shown")
        detail = engine.product(product_id)
        assert (detail.title, detail.facets) == (mine.title, mine.facets)
        assert detail.photo_ids == tuple(sorted(mine.photos))
        similar = engine.search(Query(product_id=product_id, k=3, mode="similar")).similar
        assert similar is not None and product_id not in {hit.product_id for hit in similar}

    def products(self) -> list[Product]:
        """The catalogue's products as the model has them, by rising id."""
        return [Product(product_id, one.title, one.facets) for product_id, one in sorted(self.shown.items())]
