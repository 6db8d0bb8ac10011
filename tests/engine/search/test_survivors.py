"""The nearest survivors of a filter, where photos were deleted, photos are live or a shard is missing, against a loop
over all there is."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.catalogue.schema import Facet, FacetType, Photo, Product
from engine.search.answers import Question, select
from engine.search.apply import applied, contents_wanted, look_up
from engine.search.filters import Filter, Range, matches
from engine.search.query import Query, SearchResult
from engine.search.search_engine import SearchEngine
from engine.search.snapshot import Snapshot
from engine.storage.shard import shard_of
from engine.telemetry import Stopwatch
from tests.engine.search.small_index import Contents, InPlace, clustered, comparing, unit, write_index
from tests.fakes import tiny_model

PRODUCTS, PHOTOS, DIM, SHARDS, CLUSTERS = 4000, 5000, 16, 3, 60
FIRST_LIVE = 10**6  # photo ids of what no generation has
FACETS = (Facet("share", FacetType.NUMBER), Facet("side", FacetType.NUMBER))


@dataclass
class World:
    """A snapshot, and beside it in plain dicts what it is a snapshot of."""

    snapshot: Snapshot
    products: dict[str, Product]
    photos: dict[int, tuple[str, NDArray[np.float16]]]
    contents: dict[str, NDArray[np.float16]] = field(default_factory=dict)

    def change(self, product_ids: Iterable[str]) -> None:
        """Brings the snapshot up to what the dicts say of these products, as following a catalogue does."""
        ids = set(product_ids)
        photos = [self._photo(photo_id) for photo_id, (owner, _) in self.photos.items() if owner in ids]
        there = [self.products[product_id] for product_id in sorted(ids & self.products.keys())]
        touched = look_up(self.snapshot, ids, there, photos)
        vectors = {content: self.contents[content] for content in contents_wanted(self.snapshot, touched)}
        number = self.snapshot.delta.change_number + 1
        self.snapshot = Snapshot(self.snapshot.base, applied(self.snapshot, touched, vectors, {}, number))

    def _photo(self, photo_id: int) -> Photo:
        owner, vector = self.photos[photo_id]
        content = sha256(b"%d" % photo_id).hexdigest()
        self.contents[content] = vector
        return Photo(photo_id, owner, content, f"file:///nowhere/{photo_id}.jpg")

    def delete(self, product_ids: Iterable[str]) -> None:
        for product_id in product_ids:
            del self.products[product_id]
        self.photos = {photo_id: one for photo_id, one in self.photos.items() if one[0] in self.products}

    def best(self, queries: NDArray[np.float32], filter: Filter) -> dict[str, float]:
        """The oracle: every product that passes and has a photo, with the best cosine of one with any of the queries
        [q, dim]; best first."""
        passing = {product_id for product_id, one in self.products.items() if matches(filter, one.facets)}
        stacked = np.stack([vector for _, vector in self.photos.values()]).astype(np.float64)
        best: dict[str, float] = {}
        for (owner, _), cosine in zip(self.photos.values(), (stacked @ queries.T).max(axis=1).tolist(), strict=True):
            if owner in passing:
                best[owner] = max(cosine, best.get(owner, -1.0))
        return dict(sorted(best.items(), key=lambda item: -item[1]))

    def search(self, query: Query) -> SearchResult:
        watch = Stopwatch()
        look = self.snapshot.base.eyes.look(query, self.snapshot, watch)
        return Question(self.snapshot, query, look, select(self.snapshot, query.filter, watch), watch).answer()

    def check(self, query: Query, queries: NDArray[np.float32]) -> tuple[SearchResult, float]:
        """As many products as there are, none of them deleted, each with a photo of its own and that photo's cosine.
        The answer, and its recall."""
        assert query.filter is not None
        answer, best = self.search(query), self.best(queries, query.filter)
        assert answer.exact is not None
        hits = answer.exact.hits
        assert answer.matching == len(best)
        assert len({hit.product_id for hit in hits}) == len(hits) == min(query.k, len(best))
        for hit in hits:
            assert hit.product_id in best
            assert hit.facets == self.products[hit.product_id].facets
            owner, vector = self.photos[hit.photo_id]
            assert owner == hit.product_id
            cosine = (queries @ vector.astype(np.float64)).max()
            assert hit.score == pytest.approx(np.clip(cosine, -1, 1), abs=2e-6)
        found = {hit.product_id for hit in hits}
        return answer, len(found & set(list(best)[: query.k])) / max(len(hits), 1)

    def of_product(self, product_id: str) -> NDArray[np.float32]:
        """What asking with a product asks with: its photos."""
        mine = [vector for owner, vector in self.photos.values() if owner == product_id]
        return unit(np.stack(mine).astype(np.float32))

    def live(self) -> list[int]:
        """The photos that the generation has not."""
        return [photo_id for photo_id in self.photos if photo_id >= FIRST_LIVE]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Contents]:
    """An index whose survivors are found by lists, and what is in it."""
    root, rng = tmp_path_factory.mktemp("survivors"), np.random.default_rng(5)
    owners, vectors = clustered(rng, PRODUCTS, PHOTOS, DIM, clusters=CLUSTERS)
    side = vectors[:PRODUCTS].astype(np.float32) @ unit(rng.standard_normal(DIM)).astype(np.float32)
    products = [
        Product(f"p{place:05d}", None, {"share": float(share), "side": float(where)})
        for place, (share, where) in enumerate(zip(rng.random(PRODUCTS), side, strict=True))
    ]
    contents = Contents(FACETS, products, owners, vectors)
    tuning = {"nprobe": 8, "depth": 20, "filter_budget": 300}
    model = tiny_model(root / "model", dim=DIM)
    write_index(root / "index", contents, model, lists=64, shards=SHARDS, calibration="measured", **tuning).close()
    return root / "index", contents


@pytest.fixture(params=["whole", "damaged"])
def world(request: pytest.FixtureRequest, made: tuple[Path, Contents]) -> Iterator[World]:
    """The index as it was built, or with one of its shards missing."""
    root, contents = made
    products: Mapping[str, Product] = {product.product_id: product for product in contents.products}
    vectors_of_a_shard = root / "generations/000001/shard-0001.vectors.npy"
    if request.param == "damaged":
        vectors_of_a_shard.rename(root / "away")
        products = {name: one for name, one in products.items() if shard_of(name, SHARDS) != 1}
    photos = {
        100 + place: (contents.products[owner].product_id, vector)
        for place, (owner, vector) in enumerate(zip(contents.owners.tolist(), contents.vectors, strict=True))
    }
    try:
        with SearchEngine.open(root) as engine:
            assert bool(engine.snapshot.base.generation.damaged) == (request.param == "damaged")
            yield World(engine.snapshot, dict(products), {id: one for id, one in photos.items() if one[0] in products})
    finally:
        if request.param == "damaged":
            (root / "away").rename(vectors_of_a_shard)


def live_through(world: World, rng: np.random.Generator) -> set[int]:
    """Products deleted, single photos deleted, facets changed, products and photos new: the photos that are gone."""
    before = set(world.photos)
    ids = rng.permutation(sorted(world.products)).tolist()
    gone, less, other, more = ids[:700], ids[700:1200], ids[1200:1600], ids[1600:1800]
    world.delete(gone)
    of_product: dict[str, list[int]] = {}
    for photo_id, (owner, _) in world.photos.items():
        of_product.setdefault(owner, []).append(photo_id)
    for owner in less:  # some lose their only photo
        del world.photos[of_product[owner][0]]
    for owner in other:
        facets = {**world.products[owner].facets, "share": float(rng.random())}
        world.products[owner] = replace(world.products[owner], facets=facets)
    new = [f"new{number:03d}" for number in range(200)]
    vectors = [vector for _, vector in world.photos.values()]
    for number, owner in enumerate([*more, *new]):
        near = vectors[int(rng.integers(len(vectors)))].astype(np.float32)
        vector = unit(near + 0.2 * unit(rng.standard_normal(DIM))).astype(np.float16)
        world.photos[FIRST_LIVE + number] = owner, vector
    for owner in new:
        world.products[owner] = Product(owner, None, {"share": float(rng.random()), "side": float(rng.normal())})
    for some in (gone, less, [*other, *more], new):
        world.change(some)
    return before - set(world.photos)


FILTERS = (Range("share", high=0.5), Range("share", high=0.2), Range("side", low=0.0), Range("side", high=0.0))


@pytest.mark.parametrize("in_place", ["never", "as it costs"])
def test_the_best_survivors_are_found_whatever_was_deleted_is_live_or_missing(world: World, in_place: InPlace) -> None:
    rng = np.random.default_rng(6)
    gone = live_through(world, rng)
    assert len(gone) > 700 and len(world.live()) == 400
    recalls: dict[Filter, list[float]] = {filter: [] for filter in FILTERS}
    paths = []
    owners, vectors = zip(*world.photos.values(), strict=True)
    with comparing(in_place):
        for chosen in rng.integers(len(owners), size=12).tolist():
            near = unit(vectors[chosen].astype(np.float32) + 0.2 * unit(rng.standard_normal(DIM))).astype(np.float32)
            for filter in FILTERS:
                by_vector = Query(vector=near, k=10, mode="exact", filter=filter)
                by_product = Query(product_id=owners[chosen], k=int(rng.integers(1, 60)), mode="exact", filter=filter)
                for query, queries in ((by_vector, near[None]), (by_product, world.of_product(owners[chosen]))):
                    answer, recall = world.check(query, queries)
                    recalls[filter].append(recall)
                    paths.append(answer.plan.path)
    assert paths.count("filtered lists") > len(paths) / 4, paths
    means = {filter: float(np.mean(several)) for filter, several in recalls.items()}
    assert min(means.values()) >= 0.97, means


def test_every_live_photo_that_passes_is_found_by_itself(world: World) -> None:
    live_through(world, np.random.default_rng(7))
    filter = Range("share", high=0.5)
    paths = set()
    with comparing("never"):
        for photo_id in world.live()[::19]:
            owner, vector = world.photos[photo_id]
            query = unit(vector.astype(np.float32))
            answer, _ = world.check(Query(vector=query, k=5, mode="exact", filter=filter), query[None])
            paths.add(answer.plan.path)
            if matches(filter, world.products[owner].facets):
                assert answer.exact is not None
                assert (answer.exact.hits[0].product_id, answer.exact.hits[0].photo_id) == (owner, photo_id)
    assert "filtered lists" in paths


def test_where_nearly_all_survivors_were_deleted_the_rest_is_found(world: World) -> None:
    """Whole neighbourhoods are gone, so that the lists that were the nearest are empty now."""
    rng = np.random.default_rng(8)
    query = unit(rng.standard_normal(DIM)).astype(np.float32)
    everything = Range("share", low=-1.0)
    nearest = list(world.best(query[None], everything))
    gone = nearest[: len(nearest) * 3 // 4]
    world.delete(gone)
    world.change(gone)
    with comparing("never"):
        asked = [Query(vector=query, k=k, mode="exact", filter=everything) for k in (1, 10, 100, 500)]
        assert np.mean([world.check(each, query[None])[1] for each in asked]) >= 0.97


@pytest.mark.parametrize("in_place", ["always", "never"])
def test_what_is_near_to_one_photo_of_a_product_is_not_crowded_out_by_another_product_there(
    tmp_path: Path, in_place: InPlace
) -> None:
    """The asked one has two photos. By the first lie a hundred of one product and one of "near", by the second many
    products which are all farther away."""
    rng = np.random.default_rng(0)
    first, second = np.eye(DIM)[:2]
    aside = np.pad(unit(rng.standard_normal((201, DIM - 2))), ((0, 0), (2, 0)))
    photos = [
        (0, first),
        (0, second),
        *((1, first + 0.25 * one) for one in aside[:100]),
        (2, first + 0.4 * aside[100]),
        *((3 + number, second + 0.8 * one) for number, one in enumerate(aside[101:])),
    ]
    products = [Product(f"p{number:03}", None, {"share": 0.5}) for number in range(103)]
    vectors = unit(np.stack([vector for _, vector in photos])).astype(np.float16)
    owners = np.array([owner for owner, _ in photos])
    contents = Contents(FACETS[:1], products, owners, vectors)
    every = Range("share", low=0.0)
    with write_index(tmp_path, contents, tiny_model(tmp_path / "m", dim=DIM), lists=1) as engine, comparing(in_place):
        answer = engine.search(Query(product_id="p000", k=2, mode="similar", filter=every))
    assert answer.similar is not None and [hit.product_id for hit in answer.similar] == ["p001", "p002"]
