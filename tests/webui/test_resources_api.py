"""Everything of the API but the search itself: products, facets, photos, health, and errors that belong to none."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from engine import errors
from tests.fakes import FakeEngine
from tests.webui.shop import FACETS, PHOTOS, PRODUCTS, address_of, open_shop, problem


@pytest.fixture(scope="module")
def shop() -> Iterator[tuple[FakeEngine, httpx.Client]]:
    engine = open_shop()
    with address_of(engine) as address, httpx.Client(base_url=address) as client:
        yield engine, client


@pytest.fixture
def engine(shop: tuple[FakeEngine, httpx.Client]) -> Iterator[FakeEngine]:
    """An engine that the test may break."""
    yield shop[0]
    shop[0].broken = None


@pytest.fixture
def http(shop: tuple[FakeEngine, httpx.Client]) -> httpx.Client:
    return shop[1]


def _segment(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


# --- Products --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: product.product_id)
def test_every_id_reaches_its_product(http: httpx.Client, product: Any) -> None:
    answer = http.get(f"/products/{_segment(product.product_id)}").json()

    photos = [photo.photo_id for photo in PHOTOS if photo.product_id == product.product_id]
    assert answer["product_id"] == product.product_id
    assert answer["title"] == product.title
    assert set(answer["facets"]) == set(product.facets)
    assert answer["photos"] == [{"photo_id": photo, "photo": f"/v1/photos/{photo}"} for photo in photos]


@pytest.mark.parametrize("product_id", ["nobody", "MUG-1", "mug-1 ", "%", "\x00", "a" * 300])
def test_other_ids_are_unknown(http: httpx.Client, product_id: str) -> None:
    assert "There is no product" in problem(http.get(f"/products/{_segment(product_id)}"), 404, "unknown_product")


def test_an_id_has_no_slash(http: httpx.Client) -> None:
    problem(http.get("/products/a/b"), 404, "not_found")
    problem(http.get("/products/a%2Fb"), 404, "not_found")
    problem(http.get("/products/"), 404, "not_found")


# --- Facets ----------------------------------------------------------------------------------------------------------


def test_facets_come_with_counts(http: httpx.Client) -> None:
    answer = http.get("/facets").json()
    by_name = {facet["name"]: facet for facet in answer["facets"]}

    assert (answer["matching"], answer["products"]) == (5, 5)
    assert list(by_name) == [facet.name for facet in FACETS]
    assert by_name["colour"] == {
        "name": "colour",
        "type": "keyword",
        "values": [{"value": "Red", "count": 2}, {"value": "Blue", "count": 1}, {"value": "Green", "count": 1}],
        "distinct": 3,
        "minimum": None,
        "maximum": None,
        "missing": 1,
    }
    assert by_name["sale"]["values"] == [{"value": False, "count": 1}, {"value": True, "count": 1}]
    assert (by_name["price"]["minimum"], by_name["price"]["maximum"], by_name["price"]["values"]) == (9.5, 80.0, [])
    assert by_name["since"]["minimum"] == "2026-05-01T00:00:00+00:00"


@pytest.mark.parametrize("filter", ['{"eq": {"colour": "Red"}}', "colour=Red"])
def test_a_facet_is_counted_without_its_own_clause(http: httpx.Client, filter: str) -> None:
    answer = http.get("/facets", params={"filter": filter}).json()
    by_name = {facet["name"]: facet for facet in answer["facets"]}

    assert answer["matching"] == 2
    assert sum(choice["count"] for choice in by_name["colour"]["values"]) == 4
    assert [choice["value"] for choice in by_name["tags"]["values"]] == ["kitchen", "new"]


def test_filters_of_facets_are_anded(http: httpx.Client) -> None:
    answer = http.get("/facets", params={"filter": ["colour=Red", '{"range": {"price": {"lt": 50}}}']}).json()

    assert answer["matching"] == 1


@pytest.mark.parametrize("filter", ["{", json.dumps({"eq": {"size": "M"}}), json.dumps([]), "nonsense"])
def test_facets_refuse_filters_that_cannot_be(http: httpx.Client, filter: str) -> None:
    problem(http.get("/facets", params={"filter": filter}), 422, "bad_filter")


def test_facets_refuse_fields_they_do_not_know(http: httpx.Client) -> None:
    assert "did you mean 'filter'?" in problem(http.get("/facets", params={"filters": "a=b"}), 422, "bad_query")


# --- Photos ----------------------------------------------------------------------------------------------------------


def test_a_photo_is_a_jpeg_no_larger_than_asked(http: httpx.Client) -> None:
    response = http.get("/photos/4", params={"side": 100})

    assert response.headers["content-type"] == "image/jpeg"
    picture = Image.open(io.BytesIO(response.content))
    assert (picture.format, picture.size) == ("JPEG", (100, 100))
    assert "no-cache" in response.headers["cache-control"]


def test_a_photo_is_320_pixels_by_default_and_never_enlarged(http: httpx.Client) -> None:
    assert Image.open(io.BytesIO(http.get("/photos/4").content)).size == (320, 320)
    assert Image.open(io.BytesIO(http.get("/photos/1?side=1024").content)).size == (48, 48)


def test_a_photo_that_is_known_is_not_sent_again(http: httpx.Client) -> None:
    first = http.get("/photos/4?side=64")
    again = http.get("/photos/4?side=64", headers={"If-None-Match": first.headers["etag"]})
    other_size = http.get("/photos/4?side=65", headers={"If-None-Match": first.headers["etag"]})

    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert other_size.status_code == 200


@pytest.mark.parametrize("photo_id", ["7", "0", "99999999999999999999999", "x", "-1", "1.0"])
def test_only_photos_of_the_index_are_served(http: httpx.Client, photo_id: str) -> None:
    response = http.get(f"/photos/{photo_id}")

    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("side", ["31", "1025", "large", ""])
def test_a_side_out_of_range_is_422(http: httpx.Client, side: str) -> None:
    assert "'side'" in problem(http.get("/photos/1", params={"side": side}), 422, "bad_query")


def test_a_file_that_is_gone_is_a_photo_unknown_and_its_path_untold(engine: FakeEngine, http: httpx.Client) -> None:
    engine.broken = errors.MissingFile("There is no file /srv/photos/1.jpg; restore it.")

    assert "/srv" not in problem(http.get("/photos/1"), 404, "unknown_photo")


# --- Health, and what belongs to no resource -------------------------------------------------------------------------


def test_health_says_what_answers(http: httpx.Client) -> None:
    assert http.get("/healthz").json() == {
        "status": "ok",
        "products": 5,
        "photos": 6,
        "generation": "000001",
        "model_id": "fake",
        "change_number": 1,
        "live_photos": 0,
        "unreadable_photos": 0,
        "stale": False,
    }


@pytest.mark.parametrize("address", ["/healthz", "/facets", "/products/mug-1", "/photos/1", "/openapi.json"])
def test_head_is_get_without_a_body(http: httpx.Client, address: str) -> None:
    head, get = http.head(address), http.get(address)

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]


@pytest.mark.parametrize(
    ("address", "methods"), [("/search", {"POST", "OPTIONS"}), ("/facets", {"GET", "HEAD", "OPTIONS"})]
)
def test_options_lists_the_methods(http: httpx.Client, address: str, methods: set[str]) -> None:
    response = http.options(address)

    assert response.status_code == 200
    assert set(response.headers["allow"].split(", ")) == methods


@pytest.mark.parametrize("address", ["/", "/nothing", "/search/", "/products//mug-1", "/healthz/x", "/../etc/passwd"])
def test_other_addresses_are_problems(http: httpx.Client, address: str) -> None:
    problem(http.get(address), 404, "not_found")


def test_other_methods_are_problems_that_say_which_would_do(http: httpx.Client) -> None:
    response = http.get("/search")

    problem(response, 405, "method_not_allowed")
    assert "POST" in response.headers["allow"]
    problem(http.post("/products/mug-1"), 405, "method_not_allowed")


@pytest.mark.parametrize(
    "kind", [errors.IndexMissing, errors.DamagedFile, errors.UnsupportedFormat, errors.WrongModel, errors.Busy]
)
def test_what_only_the_keeper_can_mend_is_503_and_goes_to_the_log(
    engine: FakeEngine, http: httpx.Client, caplog: pytest.LogCaptureFixture, kind: type[errors.LookalikeError]
) -> None:
    engine.broken = kind("/srv/index has no finished index; run `lookalike index` first.")

    with caplog.at_level(logging.ERROR):
        said = problem(http.post("/search", json={"product_id": "mug-1"}), 503, kind.code)

    assert "/srv" not in said
    assert "/srv/index has no finished index" in caplog.text


def test_what_nobody_foresaw_is_500_without_its_inside(
    engine: FakeEngine, http: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    engine.broken = ZeroDivisionError("secret of /srv")

    with caplog.at_level(logging.ERROR):
        for response in (http.post("/search", json={"product_id": "mug-1"}), http.get("/products/mug-1")):
            said = problem(response, 500, "internal")
            assert "secret" not in response.text
            assert "ZeroDivision" not in said

    assert "ZeroDivisionError: secret of /srv" in caplog.text
