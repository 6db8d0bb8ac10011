"""POST /v1/search:batch: each search its own answer or its own problem."""

import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from engine import errors
from tests.fakes import FakeEngine, photo_bytes
from tests.webui.shop import BLUE, RED_PHOTO, address_of, open_shop, problem


@pytest.fixture(scope="module")
def shop() -> Iterator[tuple[FakeEngine, httpx.Client]]:
    engine = open_shop()
    with address_of(engine) as address, httpx.Client(base_url=f"{address}/v1") as client:
        yield engine, client


@pytest.fixture
def http(shop: tuple[FakeEngine, httpx.Client]) -> Iterator[httpx.Client]:
    yield shop[1]
    shop[0].broken = None


def encoded(photo: bytes) -> str:
    return b64encode(photo).decode()


def without_id(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "request_id"}


def test_a_batch_answers_what_single_searches_do_in_their_order(http: httpx.Client) -> None:
    searches: list[dict[str, Any]] = [
        {"photo": encoded(RED_PHOTO), "k": 2},
        {"product_id": "Stühle ☂", "mode": "exact"},
        {"photo": encoded(photo_bytes(BLUE, seed=7)), "filter": {"eq": {"colour": "Blue"}}, "explain": False},
    ] * 5

    items = http.post("/search:batch", json={"searches": searches}).json()["answers"]

    assert [item["problem"] for item in items] == [None] * len(searches)
    for item, search in zip(items, searches, strict=True):
        assert without_id(item["answer"]) == without_id(http.post("/search", json=search).json())
    assert len({item["answer"]["request_id"] for item in items}) == len(items)


def test_what_is_wrong_with_one_spoils_no_other(http: httpx.Client) -> None:
    searches: list[dict[str, Any]] = [
        {"product_id": "nobody"},
        {"product_id": "mug-1"},
        {"photo": encoded(b"text")},
        {"product_id": "mug-1", "filter": {"eq": {"color": "Red"}}},
        {},
        {"url": "https://shop.example/a.jpg"},
    ]

    items = http.post("/search:batch", json={"searches": searches}).json()["answers"]

    told = [None if item["problem"] is None else (item["problem"]["status"], item["problem"]["code"]) for item in items]
    assert told == [
        (404, "unknown_product"),
        None,
        (422, "bad_image"),
        (422, "bad_filter"),
        (422, "bad_query"),
        (403, "not_offered"),
    ]
    assert [item["answer"] is None for item in items] == [told is not None for told in told]


def test_a_server_that_cannot_answer_says_so_in_each_place(
    shop: tuple[FakeEngine, httpx.Client], http: httpx.Client
) -> None:
    shop[0].broken = errors.Busy("/srv/queue is full.")

    response = http.post("/search:batch", json={"searches": [{"product_id": "mug-1"}] * 2})

    assert [item["problem"]["code"] for item in response.json()["answers"]] == ["busy", "busy"]
    assert "/srv" not in response.text


def test_a_mistake_of_the_server_is_one_for_all(shop: tuple[FakeEngine, httpx.Client], http: httpx.Client) -> None:
    shop[0].broken = ZeroDivisionError("secret")

    response = http.post("/search:batch", json={"searches": [{"product_id": "mug-1"}] * 2})

    assert "secret" not in problem(response, 500, "internal")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "'searches'"),
        ({"searches": []}, "at least 1"),
        ({"searches": [{"product_id": "mug-1"}] * 33}, "at most 32"),
        ({"searches": [{"product_id": "mug-1", "k": 0}]}, "searches.0.k"),
        ({"searches": [{"product_id": "mug-1"}, {"product": "mug-1"}]}, "searches.1.product"),
        ({"searches": {}, "k": 1}, "'searches'"),
    ],
)
def test_fields_that_cannot_be_are_422_for_the_whole(http: httpx.Client, body: Any, said: str) -> None:
    assert said in problem(http.post("/search:batch", json=body), 422, "bad_query")


def test_a_batch_is_json(http: httpx.Client) -> None:
    problem(http.post("/search:batch", content=b"{"), 415, "wrong_content_type")
    problem(http.post("/search:batch", files={"photo": ("a", RED_PHOTO)}), 415, "wrong_content_type")
    headers = {"Content-Type": "application/json"}
    problem(
        http.post("/search:batch", content=json.dumps({"searches": 1})[:-1], headers=headers), 400, "malformed_request"
    )
