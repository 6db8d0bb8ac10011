"""POST /search in its two shapes, and everything that can be wrong with it."""

import base64
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine.settings import Settings
from tests.fakes import photo_bytes
from tests.webui.shop import BLUE, RED_PHOTO, address_of, open_shop, problem
from webui.api.app import max_request_bytes


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with address_of(open_shop()) as address, httpx.Client(base_url=address) as client:
        yield client


def form(photo: bytes = RED_PHOTO, **fields: Any) -> dict[str, Any]:
    """A multipart request, as httpx takes it."""
    return {"files": {"photo": ("photo", photo)}, "data": fields}


def encoded(photo: bytes = RED_PHOTO) -> str:
    return base64.b64encode(photo).decode()


def ids(part: Any) -> list[str]:
    return [card["product_id"] for card in part["products"]]


# --- What is answered ------------------------------------------------------------------------------------------------


def test_a_photo_in_a_form_finds_products_by_their_best_photo(http: httpx.Client) -> None:
    answer = http.post("/search", **form(k="2")).json()

    assert ids(answer["exact"]) == ["mug-1", "a+b&c=d;e"]
    assert answer["exact"]["probability"] is None
    assert answer["exact"]["verdict"] is None
    assert len(ids(answer["similar"])) == 2
    assert (answer["mode"], answer["k"], answer["matching"], answer["products"]) == ("both", 2, 5, 5)
    assert answer["predictions"] == [{"head": "colour", "label": "Red", "probability": 0.75}]
    card = answer["exact"]["products"][0]
    assert card["photo"] == f"/v1/photos/{card['photo_id']}"
    assert card["facets"] == {"colour": "Red", "tags": ["kitchen", "new"], "price": 12.0, "sale": True}
    assert 0.9 < card["score"] <= 1
    assert answer["plan"]["sentence"].endswith(".")
    assert answer["plan"]["milliseconds"] == {"encode": 1.5, "rerank": 0.25}
    assert (answer["generation"], answer["model_id"]) == ("000001", "fake")


def test_json_and_form_mean_the_same(http: httpx.Client) -> None:
    filter = {"eq": {"colour": "Red"}}
    wishes = {"k": 3, "mode": "exact", "box": [0, 0, 0.5, 1]}

    by_form = http.post("/search", **form(k="3", mode="exact", box="0,0,0.5,1", filter=json.dumps(filter))).json()
    by_json = http.post("/search", json={"photo": encoded(), "filter": filter, **wishes}).json()

    assert by_form.pop("request_id") != by_json.pop("request_id")
    assert by_form == by_json
    assert by_json["matching"] == 2


def test_a_product_is_searched_from(http: httpx.Client) -> None:
    answer = http.post("/search", json={"product_id": "Stühle ☂", "mode": "exact", "k": 1}).json()

    assert ids(answer["exact"]) == ["Stühle ☂"]
    assert answer["similar"] is None
    assert answer["predictions"] == []


@pytest.mark.parametrize(
    ("mode", "parts"), [("exact", (True, False)), ("similar", (False, True)), ("both", (True, True))]
)
def test_the_mode_decides_the_parts(http: httpx.Client, mode: str, parts: tuple[bool, bool]) -> None:
    answer = http.post("/search", **form(mode=mode)).json()

    assert (answer["exact"] is not None, answer["similar"] is not None) == parts


@pytest.mark.parametrize(
    ("filters", "matching"),
    [
        (["colour=Red"], 2),
        (["colour=Red", "price<50"], 1),
        (["colour=Red|Blue", '{"range": {"price": {"gte": 10}}}'], 2),
        (["tags=kitchen"], 2),
        (["!colour=Red"], 3),
        (["since>2026-01-01"], 1),
        (["colour=Purple"], 0),
    ],
)
def test_filters_in_a_form_are_anded(http: httpx.Client, filters: list[str], matching: int) -> None:
    answer = http.post("/search", **form(filter=filters)).json()

    assert answer["matching"] == matching
    assert len(answer["exact"]["products"]) == matching


def test_facets_come_as_plain_json(http: httpx.Client) -> None:
    answer = http.post("/search", **form(mode="exact")).json()
    facets = {card["product_id"]: card["facets"] for card in answer["exact"]["products"]}

    assert facets["Stühle ☂"] == {"colour": "Green", "price": 80.0, "since": "2026-05-01T00:00:00+00:00"}
    assert facets[".."] == {}


def test_url_safe_base64_is_read_too(http: httpx.Client) -> None:
    photo = base64.urlsafe_b64encode(RED_PHOTO).decode().rstrip("=")

    assert http.post("/search", json={"photo": photo}).status_code == 200


def test_a_photo_never_touches_the_disk(http: httpx.Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    large = photo_bytes(BLUE, side=900)
    assert len(large) > 500_000  # what Werkzeug by itself puts into a temporary file
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))

    assert http.post("/search", **form(large)).status_code == 200
    assert http.post("/search", json={"photo": encoded(large)}).status_code == 200


# --- What is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"{", b"not json", b'{"k": 1,}', b"\xff\xfe", b"[" * 100_000])
def test_malformed_json_is_400(http: httpx.Client, body: bytes) -> None:
    problem(http.post("/search", content=body, headers={"Content-Type": "application/json"}), 400, "malformed_request")


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=x"])
def test_a_malformed_form_is_400(http: httpx.Client, kind: str) -> None:
    response = http.post("/search", content=b"--y\r\nno form", headers={"Content-Type": kind})

    problem(response, 400, "malformed_request")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([], "object"),
        ({}, "exactly one of photo"),
        ({"photo": "AAAA", "product_id": "mug-1"}, "exactly one of photo"),
        ({"product_id": "mug-1", "kk": 3}, "did you mean 'k'?"),
        ({"product_id": "mug-1", "colour": "Red"}, "There is no field 'colour'"),
        ({"product_id": "mug-1", "k": 0}, "'k'"),
        ({"product_id": "mug-1", "k": 1001}, "'k'"),
        ({"product_id": "mug-1", "k": "3"}, "'k'"),
        ({"product_id": "mug-1", "k": True}, "'k'"),
        ({"product_id": "mug-1", "mode": "best"}, "'mode'"),
        ({"product_id": 7}, "'product_id'"),
        ({"photo": "no base64!"}, "'photo'"),
        ({"product_id": "mug-1", "box": [0, 0, 1, 1]}, "box needs a photo"),
        ({"photo": "AAAA", "box": [0, 0, 1]}, "'box"),
        ({"photo": "AAAA", "box": [0.5, 0, 0.2, 1]}, "not in the photo"),
        ({"photo": "AAAA", "box": [-1, 0, 1, 1]}, "'box"),
    ],
)
def test_fields_that_cannot_be_are_422(http: httpx.Client, body: Any, said: str) -> None:
    assert said in problem(http.post("/search", json=body), 422, "bad_query")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"k": "many"}, "'k'"),
        ({"k": ["1", "2"]}, "'k'"),
        ({"mode": ["exact", "similar"]}, "'mode'"),
        ({"box": "1,2"}, "cannot be read"),
        ({"box": "nan,0,1,1"}, "not in the photo"),
        ({"nope": "1"}, "There is no field 'nope'"),
        ({"product_id": "mug-1"}, "exactly one of photo"),
    ],
)
def test_form_fields_that_cannot_be_are_422(http: httpx.Client, fields: dict[str, Any], said: str) -> None:
    assert said in problem(http.post("/search", **form(**fields)), 422, "bad_query")


@pytest.mark.parametrize(
    "filter",
    [
        {"eq": {"color": "Red"}},
        {"eq": {"price": "cheap"}},
        {"like": {"colour": "R"}},
        {"range": {"colour": {"gt": "A"}}},
        {},
        {"and": {}},
    ],
)
def test_filters_that_cannot_be_are_422(http: httpx.Client, filter: dict[str, Any]) -> None:
    by_json = problem(http.post("/search", json={"product_id": "mug-1", "filter": filter}), 422, "bad_filter")
    by_form = problem(http.post("/search", **form(filter=json.dumps(filter))), 422, "bad_filter")

    assert by_json == by_form


@pytest.mark.parametrize("filter", ["colour", "{not json", "{" * 50_000, "=Red", '{"eq": {"price": NaN}}'])
def test_filter_texts_that_cannot_be_read_are_422(http: httpx.Client, filter: str) -> None:
    problem(http.post("/search", **form(filter=filter)), 422, "bad_filter")


def test_the_nearest_facet_is_offered(http: httpx.Client) -> None:
    response = http.post("/search", json={"product_id": "mug-1", "filter": {"eq": {"color": "Red"}}})

    assert "'colour'" in problem(response, 422, "bad_filter")


@pytest.mark.parametrize(
    "photo", [b"", b"plain text", RED_PHOTO[:200], b"GIF89a" + bytes(50), b"\xff\xd8\xff" + bytes(99)]
)
def test_what_is_no_picture_is_422(http: httpx.Client, photo: bytes) -> None:
    problem(http.post("/search", **form(photo)), 422, "bad_image")
    problem(http.post("/search", json={"photo": encoded(photo)}), 422, "bad_image")


def test_an_unknown_product_is_404(http: httpx.Client) -> None:
    assert "'nobody'" in problem(http.post("/search", json={"product_id": "nobody"}), 404, "unknown_product")


@pytest.mark.parametrize("kind", ["text/plain", "image/png", "application/x-www-form-urlencoded", None])
def test_other_content_types_are_415(http: httpx.Client, kind: str | None) -> None:
    problem(
        http.post("/search", content=b"k=1", headers={"Content-Type": kind} if kind else {}), 415, "wrong_content_type"
    )


def test_a_body_that_is_too_large_is_413(http: httpx.Client) -> None:
    too_large = bytes(max_request_bytes() + 1)

    problem(http.post("/search", content=too_large, headers={"Content-Type": "application/json"}), 413, "too_large")
    problem(http.post("/search", **form(too_large)), 413, "too_large")


def test_the_largest_photo_that_is_allowed_fits_in_both_shapes(http: httpx.Client) -> None:
    largest = RED_PHOTO + bytes(Settings().max_photo_bytes - len(RED_PHOTO))  # PNG readers stop at its end

    assert http.post("/search", **form(largest)).status_code == 200
    assert http.post("/search", json={"photo": encoded(largest)}).status_code == 200
    problem(http.post("/search", **form(largest + b"\0")), 422, "bad_image")
