from collections.abc import Iterator
from hashlib import sha256

import numpy as np
import pytest

from engine.catalogue.schema import Facet, FacetType, Product
from engine.errors import BadCall, BadFilter
from engine.evaluate import LabelledQuery, encode_queries, evaluate, latency
from engine.metrics import bootstrap_interval, wilson_interval
from engine.search.filters import Equal, Exists
from engine.search.search_engine import SearchEngine
from engine.vision.preprocess import load
from tests.engine.search.small_index import Contents, write_index
from tests.fakes import FakeEncoder, photo_bytes, tiny_model

DIM = 16
COLOURS = {
    "fire": (230, 20, 10),
    "brick": (160, 40, 30),
    "sky": (90, 140, 240),
    "navy": (10, 10, 120),
    "grass": (40, 200, 40),
}
FACETS = (Facet("family", FacetType.KEYWORD), Facet("tags", FacetType.KEYWORDS), Facet("price", FacetType.NUMBER))
PRODUCTS = [
    Product("brick", "Brick", {"family": "red", "price": 5.0}),
    Product("fire", "Hot", {"family": "red", "tags": ("bright", "warm")}),
    Product("grass", "Cold", {"family": "green", "tags": ("bright",), "price": 7.0}),
    Product("navy", "Cold", {"family": "blue"}),
    Product("sky", None, {"family": "blue", "tags": ("bright",)}),
]


def gallery_photo(product_id: str) -> bytes:
    return photo_bytes(COLOURS[product_id], seed=1)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchEngine]:
    root = tmp_path_factory.mktemp("evaluate")
    encoder = FakeEncoder(DIM)
    photos = [gallery_photo(product.product_id) for product in PRODUCTS]
    pixels = np.stack([load(photo, "photo", encoder.preprocess) for photo in photos])
    vectors = encoder.encode(pixels).embeddings.astype(np.float16)
    contents = Contents(FACETS, PRODUCTS, np.arange(5), vectors)
    hashes = {100 + place: sha256(photo).digest() for place, photo in enumerate(photos)}
    model = tiny_model(root / "model", dim=DIM)
    with write_index(root / "index", contents, model, lists=1, hashes=hashes) as opened:
        yield opened


def asked(name: str, seed: int = 2, **labels: str | float | bool) -> LabelledQuery:
    return LabelledQuery(name, photo_bytes(COLOURS[name], seed=seed), labels)


def test_right_wrong_and_unanswerable_by_product(engine: SearchEngine) -> None:
    queries = encode_queries(
        engine,
        [
            asked("fire", product_id="fire"),
            asked("fire", seed=3, product_id="brick"),  # wrong on purpose: the other red one comes second
            asked("sky", product_id="nowhere"),
            asked("sky"),
        ],
    )
    (result,) = evaluate(engine, queries, ["product_id"]).results
    assert (result.queries, result.without_label, result.without_relevant) == (2, 1, 1)
    assert result.metrics == {"precision@1": 0.5, "recall@1": 0.5, "recall@5": 1.0, "recall@10": 1.0, "mAP": 0.75}
    assert result.interval_95["recall@1"] == wilson_interval(0.5, 2)
    assert result.interval_95["mAP"] == bootstrap_interval(np.array([1, 0.5]), np.random.default_rng(0))
    data = result.to_dict()
    assert data["precision@1"] == 0.5
    assert data["interval_95"]["mAP"] == [0.5, 1.0]


def test_every_product_with_the_value_is_relevant_by_facet(engine: SearchEngine) -> None:
    queries = encode_queries(engine, [asked("fire", family="red", tags="warm", price="5", title="Hot")])
    report = evaluate(engine, queries, ["family", "tags", "price", "title"])
    by_label = {result.label: result.metrics for result in report.results}
    assert by_label["family"] == {"precision@1": 1, "recall@1": 1, "recall@5": 1, "recall@10": 1, "mAP": 1}
    assert by_label["tags"]["mAP"] == 1
    assert (by_label["price"]["recall@1"], by_label["price"]["mAP"]) == (0, 0.5)  # brick is the second
    assert by_label["title"]["precision@1"] == 1


def test_filter_narrows_the_answers_and_what_is_relevant(engine: SearchEngine) -> None:
    queries = encode_queries(
        engine, [asked("fire", product_id="fire", family="red"), asked("brick", product_id="brick", family="red")]
    )
    report = evaluate(engine, queries, ["product_id", "family"], filter=Exists("price"))
    product, family = report.results
    assert (product.queries, product.without_relevant) == (1, 1)
    assert (family.queries, family.metrics["mAP"]) == (2, 1)  # of the red ones only brick has a price
    assert product.to_dict()["filter"] == {"exists": "price"}


def test_modes_judge_what_they_show(engine: SearchEngine) -> None:
    queries = encode_queries(engine, [asked("fire", product_id="fire", family="red")])
    both, family = evaluate(engine, queries, ["product_id", "family"], mode="both").results
    assert both.metrics["precision@1"] == 1  # the exact one is read first
    assert family.metrics["mAP"] == 1  # and the other red one next
    (similar,) = evaluate(engine, queries, ["product_id"], mode="similar").results
    assert similar.metrics["recall@10"] == 0  # the product itself is no news there


def test_photo_that_is_in_the_gallery_is_left_out_and_counted(engine: SearchEngine) -> None:
    leak = LabelledQuery("row 1", gallery_photo("sky"), {"product_id": "sky"})
    broken = LabelledQuery("row 2", b"nothing", {"product_id": "sky"})
    queries = encode_queries(engine, [leak, broken, asked("sky", product_id="sky")])
    assert (len(queries.queries), queries.in_gallery, queries.unreadable) == (1, ("row 1",), ("row 2",))


def test_label_that_nothing_has_is_told(engine: SearchEngine) -> None:
    queries = encode_queries(engine, [asked("sky", product_id="sky", price="cheap")])
    with pytest.raises(BadCall, match=r"no facet 'familly'.*product_id, title, family, tags, price"):
        evaluate(engine, queries, ["familly"])
    with pytest.raises(BadCall, match="No query can be judged by 'family': 1 have no value"):
        evaluate(engine, queries, ["family"])
    with pytest.raises(BadFilter, match="'cheap' is none; give a number"):
        evaluate(engine, queries, ["price"])
    with pytest.raises(BadFilter, match="did you mean 'family'"):
        evaluate(engine, queries, ["product_id"], filter=Equal("familly", "red"))


def test_latency_is_of_every_query(engine: SearchEngine) -> None:
    queries = encode_queries(engine, [asked(name, product_id=name) for name in COLOURS])
    reports = [evaluate(engine, queries, ["product_id"], mode="exact"), evaluate(engine, queries, ["product_id"])]
    figures = latency(queries, reports)
    assert list(figures) == ["encode", "search", "total"]
    assert all(0 < spent["p50"] <= spent["p95"] <= spent["p99"] for spent in figures.values())
    assert figures["total"]["p50"] >= max(figures["encode"]["p50"], figures["search"]["p50"])
    assert len(reports[0].search_ms) == 5
