"""The engine against brute force in float64: whatever the filter, the mode, k, and however badly tuned the index."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from engine.catalogue.schema import Facet, FacetType, Product
from engine.errors import BadFilter, BadImage, BadQuery, UnknownPhoto, UnknownProduct, WrongModel
from engine.search.filters import Equal, Filter, Range, bind, matches
from engine.search.modes import Mode
from engine.search.query import Box, Hit, Query
from engine.search.search_engine import SearchEngine
from engine.vision.model import Model
from engine.vision.preprocess import load
from tests.engine.search.small_index import (
    FORETELLS_NOTHING,
    Contents,
    InPlace,
    clustered,
    comparing,
    unit,
    write_index,
)
from tests.engine.search.strategies import NUMBERS, SCHEMA, TIMES, WORDS, filters
from tests.fakes import FakeEncoder, photo_bytes, tiny_model

DIM = 16
TOLERANCE = 2e-6  # float32 sums against float64


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return tiny_model(tmp_path_factory.mktemp("model"), dim=DIM)


@pytest.fixture(scope="module")
def contents() -> Contents:
    rng = np.random.default_rng(7)
    owners, vectors = clustered(rng, 240, 600, DIM, clusters=12)
    products = []
    for place in range(240):
        given = {
            "colour": WORDS[rng.integers(len(WORDS))],
            "tags": tuple(sorted(set(rng.choice(WORDS, 2).tolist()))),
            "price": NUMBERS[rng.integers(len(NUMBERS))],
            "sale": bool(rng.integers(2)),
            "added": TIMES[rng.integers(len(TIMES))],
        }
        kept = {name: value for name, value in given.items() if rng.random() < 0.8}
        products.append(Product(f"p{place:04d}", f"Product {place}" if place % 3 else None, kept))
    return Contents(SCHEMA, products, owners, vectors)


Tuning = Literal["one list", "hasty", "sharded"]


@pytest.fixture(scope="module")
def engines(
    contents: Contents, model: Model, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Tuning, SearchEngine]]:
    """Three indexes of the same photos; "hasty" looks at far too little at first, so that it has to deepen."""
    root = tmp_path_factory.mktemp("indexes")
    opened: dict[Tuning, SearchEngine] = {
        "one list": write_index(root / "one", contents, model, lists=1, nprobe=1, depth=30, filter_budget=50),
        "hasty": write_index(
            root / "hasty", contents, model, lists=24, nprobe=1, depth=2, filter_budget=3, calibration=FORETELLS_NOTHING
        ),
        "sharded": write_index(
            root / "three",
            contents,
            model,
            lists=12,
            shards=3,
            nprobe=4,
            depth=60,
            filter_budget=30,
            calibration="measured",
        ),
    }
    yield opened
    for engine in opened.values():
        engine.close()


def check_hits(hits: tuple[Hit, ...], contents: Contents, queries: np.ndarray, filter: Filter | None) -> None:
    """Distinct products that pass, with their own facets and the true cosine of the photo that is shown."""
    by_id = {product.product_id: product for product in contents.products}
    assert len({hit.product_id for hit in hits}) == len(hits)
    for hit in hits:
        product = by_id[hit.product_id]
        assert (hit.title, hit.facets) == (product.title, product.facets)
        assert filter is None or matches(filter, product.facets)
        assert contents.owner(hit.photo_id) == hit.product_id
        assert hit.score == pytest.approx(np.clip(contents.cosine(hit.photo_id, queries), -1, 1), abs=TOLERANCE)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tuning=st.sampled_from(["one list", "hasty", "sharded"]),
    in_place=st.sampled_from(["never", "as it costs", "always"]),
    mode=st.sampled_from(["exact", "similar", "both"]),
    filter=st.none() | filters(SCHEMA),
    k=st.integers(1, 12) | st.integers(13, 300),
    start=st.integers(0, 10_000),
    by_product=st.booleans(),
)
def test_never_fewer_than_k_when_k_match(
    engines: dict[Tuning, SearchEngine],
    contents: Contents,
    tuning: Tuning,
    in_place: InPlace,
    mode: Mode,
    filter: Filter | None,
    k: int,
    start: int,
    by_product: bool,
) -> None:
    engine = engines[tuning]
    if by_product:
        own = contents.products[start % len(contents.products)].product_id
        query = Query(product_id=own, k=k, mode=mode, filter=filter)
        queries = unit(contents.vectors[contents.owners == start % len(contents.products)].astype(np.float32))
    else:
        own = None
        queries = unit(np.random.default_rng(start).standard_normal((1, DIM))).astype(np.float32)
        query = Query(vector=queries[0] * 3, k=k, mode=mode, filter=filter)
    with comparing(in_place):
        answer = engine.search(query)
    best = contents.best(queries, filter)
    assert answer.matching == len(best)
    assert (answer.exact is None, answer.similar is None) == (mode == "similar", mode == "exact")
    shown: set[str | None] = {own}
    if answer.exact is not None:
        hits = answer.exact.hits
        assert len(hits) == min(k, len(best))
        check_hits(hits, contents, queries, filter)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        shown |= {hit.product_id for hit in hits[:1]}
        if answer.plan.path == "exact":
            truth = list(best.values())[: len(hits)]
            assert [hit.score for hit in hits] == pytest.approx(np.clip(truth, -1, 1), abs=TOLERANCE)
    if answer.similar is not None:
        others = len(set(best) - shown)
        # alone, the similar part also leaves out the best product where it evidently is the one in the query
        assert min(k, others - (mode == "similar")) <= len(answer.similar) <= min(k, others)
        check_hits(answer.similar, contents, queries, filter)
        assert not shown & {hit.product_id for hit in answer.similar}


def test_a_k_for_which_comparing_everything_is_no_more_work_is_answered_exactly(
    engines: dict[Tuning, SearchEngine], contents: Contents
) -> None:
    query = unit(np.random.default_rng(8).standard_normal(DIM)).astype(np.float32)
    few = engines["sharded"].search(Query(vector=query, k=1, mode="exact"))
    everything = engines["sharded"].search(Query(vector=query, k=1000, mode="exact"))
    assert (few.plan.path, everything.plan.path) == ("lists", "exact")
    assert everything.exact is not None
    best = contents.best(query[None], None)
    assert {hit.product_id for hit in everything.exact.hits} == best.keys()
    for hit in everything.exact.hits:  # by its best photo, every one
        assert hit.score == pytest.approx(best[hit.product_id], abs=TOLERANCE)


@settings(max_examples=60, deadline=None)
@given(filter=filters(SCHEMA), start=st.integers(0, 10_000), k=st.integers(1, 20))
def test_hasty_budget_still_finds_the_best_where_it_looked_at_everything(
    engines: dict[Tuning, SearchEngine], contents: Contents, filter: Filter, start: int, k: int
) -> None:
    query = unit(np.random.default_rng(start).standard_normal((1, DIM))).astype(np.float32)
    answer = engines["hasty"].search(Query(vector=query[0], k=k, mode="exact", filter=filter))
    assert answer.exact is not None and answer.plan.survivors is not None
    assert answer.plan.rows_reranked <= answer.plan.survivors
    if answer.plan.rows_reranked == answer.plan.survivors:
        best = list(contents.best(query, filter).values())[:k]
        assert [hit.score for hit in answer.exact.hits] == pytest.approx(best, abs=TOLERANCE)


@pytest.mark.parametrize("in_place", ["never", "as it costs"])
def test_recall_under_filters_of_every_width(model: Model, tmp_path: Path, in_place: InPlace) -> None:
    rng = np.random.default_rng(3)
    count = 5000
    owners, vectors = clustered(rng, count, count, DIM, clusters=60)
    first = vectors.astype(np.float32) @ unit(rng.standard_normal(DIM)).astype(np.float32)
    products = [
        Product(f"p{place:05d}", None, {"share": float(share), "side": float(side)})
        for place, (share, side) in enumerate(zip(rng.random(count), first, strict=True))
    ]
    facets = (Facet("share", FacetType.NUMBER), Facet("side", FacetType.NUMBER))
    contents = Contents(facets, products, owners, vectors)
    far_side = {"high" if first[0] > 0 else "low": float(np.quantile(first, 0.5))}
    passing = {
        filter: np.array([matches(filter, product.facets) for product in products])
        for filter in (
            Range("share", high=0.5),
            Range("share", high=0.1),
            Range("share", high=0.01),
            Range("side", **far_side),
            Range("side", low=float(np.quantile(first, 0.85))),
        )
    }
    recalls: dict[Filter, list[float]] = {filter: [] for filter in passing}
    paths = set()
    tuning = {"nprobe": 8, "depth": 100, "filter_budget": 400}
    opened = write_index(tmp_path, contents, model, lists=64, shards=2, calibration="measured", **tuning)
    with opened as engine, comparing(in_place):
        for _ in range(25):
            near = vectors[rng.integers(count)].astype(np.float32)
            query = unit(near + 0.2 * unit(rng.standard_normal(DIM))).astype(np.float32)
            cosines = vectors.astype(np.float32) @ query
            for filter, passes in passing.items():
                answer = engine.search(Query(vector=query, k=10, mode="exact", filter=filter))
                assert answer.exact is not None
                paths.add(answer.plan.path)
                truth = np.argsort(np.where(passes, -cosines, np.inf))[:10]  # one photo a product, in the same order
                found = {hit.product_id for hit in answer.exact.hits}
                recalls[filter].append(len(found & {products[place].product_id for place in truth}) / 10)
    means = {filter: float(np.mean(several)) for filter, several in recalls.items()}
    assert paths == {"exact", "filtered lists"}
    assert min(means.values()) >= 0.97, means


def test_recall_without_a_filter(model: Model, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    owners, vectors = clustered(rng, 3000, 5000, DIM, clusters=60)
    contents = Contents((), [Product(f"p{place:05d}") for place in range(3000)], owners, vectors)
    recalls = []
    with write_index(tmp_path, contents, model, lists=64, shards=2, nprobe=12, depth=150) as engine:
        for place in rng.integers(5000, size=40):
            query = unit(vectors[place].astype(np.float32) + 0.2 * unit(rng.standard_normal(DIM)))[None]
            query = query.astype(np.float32)
            answer = engine.search(Query(vector=query[0], k=10, mode="exact"))
            assert answer.exact is not None and answer.plan.path == "lists"
            assert answer.plan.rows_scanned < 5000
            truth = list(contents.best(query, None))[:10]
            recalls.append(len({hit.product_id for hit in answer.exact.hits} & set(truth)) / 10)
    assert np.mean(recalls) >= 0.97


def test_answer_does_not_depend_on_the_number_of_shards(
    contents: Contents, model: Model, tmp_path: Path, engines: dict[Tuning, SearchEngine]
) -> None:
    filter = bind(Range("price", low=0.0), SCHEMA)
    query = Query(vector=contents.vectors[5].astype(np.float32), k=7, mode="exact", filter=filter)
    with write_index(tmp_path, contents, model, lists=12, shards=8, filter_budget=10_000) as engine:
        many, few = engine.search(query), engines["one list"].search(query)
    assert many.exact is not None and few.exact is not None
    assert many.plan.shards == 8
    assert [hit.product_id for hit in many.exact.hits] == [hit.product_id for hit in few.exact.hits]


def test_nothing_passes(engines: dict[Tuning, SearchEngine]) -> None:
    filter = Equal("colour", "no such colour")
    answer = engines["sharded"].search(Query(vector=np.ones(DIM, np.float32), filter=filter))
    assert answer.exact is not None
    assert (answer.exact.hits, answer.similar, answer.matching) == ((), (), 0)
    assert answer.plan.path == "nothing"
    assert answer.plan.sentence().startswith("No product passes the filter")


def test_photo_is_seen_through_the_models_own_encoder_and_heads(engines: dict[Tuning, SearchEngine]) -> None:
    red = photo_bytes((220, 20, 20))
    answer = engines["one list"].search(Query(photo=red, k=3))
    (guess,) = answer.predictions
    assert (guess.head, guess.label) == ("colour", "Red")
    seen = FakeEncoder(DIM)
    vector = seen.encode(load(red, "red", seen.preprocess)[None]).embeddings[0]
    by_vector = engines["one list"].search(Query(vector=vector, k=3, mode="exact"))
    assert answer.exact is not None and by_vector.exact is not None
    assert [hit.product_id for hit in answer.exact.hits] == [hit.product_id for hit in by_vector.exact.hits]
    assert list(answer.plan.milliseconds)[:2] == ["decode", "encode"]


def test_box_cuts_the_photo_before_it_is_seen(engines: dict[Tuning, SearchEngine]) -> None:
    halves = Image.new("RGB", (64, 32), (220, 20, 20))
    halves.paste((20, 20, 220), (32, 0, 64, 32))
    engine = engines["one list"]
    left = engine.search(Query(photo=halves, box=Box(0, 0, 0.5, 1), k=1))
    right = engine.search(Query(photo=halves, box=Box(0.5, 0, 1, 1), k=1))
    assert [answer.predictions[0].label for answer in (left, right)] == ["Red", "Blue"]


@pytest.mark.parametrize(
    ("query", "error", "says"),
    [
        (Query(vector=np.zeros(DIM, np.float32)), BadQuery, "no direction"),
        (Query(vector=np.full(DIM, np.nan, np.float32)), BadQuery, "no direction"),
        (Query(vector=np.ones(DIM + 1, np.float32)), BadQuery, r"shape \[17\]; this index holds"),
        (Query(product_id="p9999"), UnknownProduct, "There is no product 'p9999'"),
        (Query(photo=b"not a picture"), BadImage, "the photo"),
        (Query(photo=b"not a picture", filter=Equal("color", "Red")), BadFilter, "did you mean 'colour'"),
    ],
)
def test_question_that_cannot_be_answered(
    engines: dict[Tuning, SearchEngine], query: Query, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        engines["one list"].search(query)


def test_encoder_of_another_model_is_refused(contents: Contents, model: Model, tmp_path: Path) -> None:
    write_index(tmp_path, contents, model, lists=1).close()
    with pytest.raises(WrongModel, match="was built with the model"):
        SearchEngine.open(tmp_path, encoder=FakeEncoder(DIM, model_id="another"))


def test_encoder_that_is_given_is_the_one_that_looks(contents: Contents, model: Model, tmp_path: Path) -> None:
    write_index(tmp_path, contents, model, lists=1).close()
    encoder = FakeEncoder(DIM, model_id=model.spec.model_id)
    with SearchEngine.open(tmp_path, encoder=encoder) as engine:
        engine.search(Query(photo=photo_bytes((10, 200, 10))))
    assert encoder.photos_encoded == 1


def test_product_and_photo_by_id(contents: Contents, model: Model, tmp_path: Path) -> None:
    file = tmp_path / "photo.png"
    file.write_bytes(photo_bytes((1, 2, 3)))
    with write_index(tmp_path / "i", contents, model, lists=4, shards=2, uris={105: file.as_uri()}) as engine:
        assert engine.photo(105) == file.read_bytes()
        with pytest.raises(UnknownPhoto, match="There is no photo 99999"):
            engine.photo(99999)
        detail = engine.product("p0005")
        assert (detail.title, detail.facets) == (contents.products[5].title, contents.products[5].facets)
        assert detail.photo_ids == tuple((np.flatnonzero(contents.owners == 5) + 100).tolist())
        with pytest.raises(UnknownProduct):
            engine.product("p")
        assert (engine.products, engine.photos, engine.generation) == (240, 600, "000001")


def test_one_engine_answers_many_threads_alike(engines: dict[Tuning, SearchEngine], contents: Contents) -> None:
    engine = engines["sharded"]
    queries = [
        Query(vector=vector.astype(np.float32), k=5, filter=Range("price", low=float(place % 3)))
        for place, vector in enumerate(contents.vectors[:40])
    ]

    def ids(query: Query) -> list[str]:
        answer = engine.search(query)
        assert answer.exact is not None and answer.similar is not None
        return [hit.product_id for hit in (*answer.exact.hits, *answer.similar)]

    alone = [ids(query) for query in queries]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ids, queries)) == alone
