"""POST /v1/predict: what a seller's form would be filled with."""

from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from engine.catalogue.schema import Facet, FacetType
from engine.search.look import Look
from engine.vision.model import Head
from tests.fakes import photo_bytes
from tests.webui.live_shop import FakeFetcher
from tests.webui.shop import BLUE, RED, RED_PHOTO, address_of, open_shop, problem
from webui.replies import predict_answer
from webui.service import SearchService


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    service = SearchService(open_shop(), fetcher=FakeFetcher({"https://shop.example/red.png": RED_PHOTO}))
    with address_of(service) as address, httpx.Client(base_url=f"{address}/v1") as client:
        yield client


def labels(answer: Any) -> list[str]:
    (colour,) = answer["attributes"]
    return [choice["label"] for choice in colour["choices"]]


@pytest.mark.parametrize(("colour", "label"), [(RED, "Red"), (BLUE, "Blue")])
def test_the_likeliest_labels_come_first_and_fill_the_form(
    http: httpx.Client, colour: tuple[int, int, int], label: str
) -> None:
    answer = http.post("/predict", files={"photo": photo_bytes(colour)}).json()

    (attribute,) = answer["attributes"]
    assert (attribute["head"], attribute["facet"], attribute["kind"]) == ("colour", "colour", "softmax")
    probabilities = [choice["probability"] for choice in attribute["choices"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)
    assert labels(answer)[0] == label
    assert answer["facets"] == {"colour": label}
    assert answer["model_id"] == "fake"


def test_json_form_and_url_mean_the_same(http: httpx.Client) -> None:
    box = [0.25, 0.25, 1, 1]
    by_form = http.post("/predict", files={"photo": RED_PHOTO}, data={"box": "0.25,0.25,1,1", "choices": "2"}).json()
    by_json = http.post("/predict", json={"photo": b64encode(RED_PHOTO).decode(), "box": box, "choices": 2}).json()
    by_url = http.post("/predict", json={"url": "https://shop.example/red.png", "box": box, "choices": 2}).json()

    assert by_form == by_json == by_url
    assert len(labels(by_json)) == 2


def test_only_facets_of_words_are_filled() -> None:
    heads = [
        Head("kind", "category", ("Chair", "Mug")),
        Head("look", "tags", ("big", "new", "old"), "multilabel"),
        Head("one", "tag", ("a", "b")),
        Head("size", "price", ("1", "2")),
        Head("made", "unknown", ("x", "y")),
    ]
    facets = [
        Facet("category", FacetType.KEYWORD),
        Facet("tags", FacetType.KEYWORDS),
        Facet("tag", FacetType.KEYWORDS),
        Facet("price", FacetType.NUMBER),
    ]
    said = {"kind": [0.2, 0.8], "look": [0.9, 0.5, 0.1], "one": [0.4, 0.6], "size": [1, 0], "made": [1, 0]}
    look = Look(np.ones((1, 4), np.float32), {head: np.array(one, np.float32) for head, one in said.items()})

    answer = predict_answer(look, heads, facets, choices=1, model_id="m")

    assert answer.facets == {"category": "Mug", "tags": ["big", "new"], "tag": ["b"]}
    assert [one.head for one in answer.attributes] == list(said)
    assert [one.choices[0].label for one in answer.attributes] == ["Mug", "big", "b", "1", "x"]


@pytest.mark.parametrize(
    ("body", "status", "code", "said"),
    [
        ({}, 422, "bad_query", "exactly one of photo and url"),
        ({"photo": "AAAA", "url": "https://a"}, 422, "bad_query", "exactly one of photo and url"),
        ({"product_id": "mug-1"}, 422, "bad_query", "no field 'product_id'"),
        ({"photo": "AAAA"}, 422, "bad_image", ""),
        ({"photo": "AAAA", "choices": 0}, 422, "bad_query", "'choices'"),
        ({"photo": "AAAA", "box": [1, 0, 0, 1]}, 422, "bad_query", "not in the photo"),
        ({"url": "https://shop.example/none.png"}, 422, "bad_image", "nothing at"),
        ({"url": "a" * 3000}, 422, "bad_query", "'url'"),
    ],
)
def test_what_cannot_be_looked_at_is_a_problem(
    http: httpx.Client, body: Any, status: int, code: str, said: str
) -> None:
    assert said in problem(http.post("/predict", json=body), status, code)


def test_urls_are_refused_where_they_are_not_allowed() -> None:
    with address_of(open_shop()) as address:
        for path in ("predict", "search"):
            response = httpx.post(f"{address}/v1/{path}", json={"url": "https://shop.example/red.png"})
            assert "not allowed" in problem(response, 403, "not_offered")
