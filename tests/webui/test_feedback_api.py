"""POST /v1/feedback: what somebody made of an answer, kept by whoever keeps it."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from engine import errors
from tests.webui.live_shop import FakeFeedback
from tests.webui.shop import RED_PHOTO, address_of, open_shop, problem
from webui.ports import Feedback
from webui.service import SearchService


@pytest.fixture(scope="module")
def shop() -> Iterator[tuple[FakeFeedback, httpx.Client]]:
    feedback = FakeFeedback()
    with (
        address_of(SearchService(open_shop(), feedback=feedback)) as address,
        httpx.Client(base_url=f"{address}/v1") as client,
    ):
        yield feedback, client


@pytest.fixture
def feedback(shop: tuple[FakeFeedback, httpx.Client]) -> Iterator[FakeFeedback]:
    yield shop[0]
    shop[0].kept.clear()
    shop[0].broken = None


@pytest.fixture
def http(shop: tuple[FakeFeedback, httpx.Client]) -> httpx.Client:
    return shop[1]


def test_feedback_names_the_answer_it_is_about(feedback: FakeFeedback, http: httpx.Client) -> None:
    answer = http.post("/search", files={"photo": RED_PHOTO}).json()
    second = answer["exact"]["products"][1]["product_id"]
    about = {"request_id": answer["request_id"], "product_id": second, "position": 2}

    for told in ({"kind": "click", **about}, {"kind": "wrong", **about}, {"kind": "not_found", "request_id": "r"}):
        response = http.post("/feedback", json=told)
        assert (response.status_code, response.content) == (204, b"")

    assert feedback.kept == [
        Feedback("click", answer["request_id"], second, 2),
        Feedback("wrong", answer["request_id"], second, 2),
        Feedback("not_found", "r"),
    ]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "'kind'"),
        ({"kind": "like", "request_id": "r", "product_id": "p"}, "'kind'"),
        ({"kind": "click", "request_id": "r"}, "needs the product_id"),
        ({"kind": "wrong", "request_id": "r"}, "needs the product_id"),
        ({"kind": "not_found"}, "'request_id'"),
        ({"kind": "not_found", "request_id": ""}, "'request_id'"),
        ({"kind": "not_found", "request_id": "r" * 65}, "'request_id'"),
        ({"kind": "not_found", "request_id": "a\0"}, "character 0"),
        ({"kind": "click", "request_id": "r", "product_id": "p" * 201}, "'product_id'"),
        ({"kind": "click", "request_id": "r", "product_id": "p", "position": 0}, "'position'"),
        ({"kind": "click", "request_id": "r", "product_id": "p", "position": 10**400}, "'position'"),
        ({"kind": "click", "request_id": "r", "product_id": "p", "photo": "AAAA"}, "no field 'photo'"),
    ],
)
def test_feedback_that_cannot_be_is_422_and_not_kept(
    feedback: FakeFeedback, http: httpx.Client, body: Any, said: str
) -> None:
    assert said in problem(http.post("/feedback", json=body), 422, "bad_query")
    assert feedback.kept == []


def test_a_store_that_is_away_is_503(feedback: FakeFeedback, http: httpx.Client) -> None:
    feedback.broken = errors.Unavailable("db.internal is away.")
    response = http.post("/feedback", json={"kind": "not_found", "request_id": "r"})

    assert "internal" not in problem(response, 503, "unavailable")


def test_a_server_that_keeps_none_says_so() -> None:
    with address_of(open_shop()) as address:
        response = httpx.post(f"{address}/v1/feedback", json={"kind": "not_found", "request_id": "r"})
        problem(response, 403, "not_offered")
