"""Products written and deleted through the API, found by the searches that follow; on a real index."""

import json
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy.engine import make_url

from engine import errors
from tests.indexer.shop import draw
from tests.postgres import PostgresServer
from tests.webui.live_shop import LiveShop, live_shop
from tests.webui.shop import address_of, open_shop, problem
from webui.api.app import max_request_bytes
from webui.client import Client
from webui.service import SearchService


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveShop]:
    with live_shop(tmp_path_factory.mktemp("live")) as opened:
        yield opened


@pytest.fixture(scope="module")
def http(live: LiveShop) -> Iterator[httpx.Client]:
    with address_of(live.service) as address, httpx.Client(base_url=f"{address}/v1", timeout=60) as client:
        yield client


def photo(number: int, shot: int = 0) -> str:
    return b64encode(draw(number, shot)).decode()


def found(http: httpx.Client, number: int, shot: int = 5) -> list[str]:
    """The products found for a photo that the catalogue does not have."""
    answer = http.post("/search", json={"photo": photo(number, shot), "mode": "exact", "k": 3}).json()
    return [card["product_id"] for card in answer["exact"]["products"]]


def test_a_product_that_was_written_is_found_at_once(http: httpx.Client, live: LiveShop) -> None:
    facets = {"colour": "Red", "price": 12, "tags": ["new", "hot"], "sale": True, "since": "2026-05-01T14:00+02:00"}
    response = http.put(
        "/products/new 1", json={"title": "New", "facets": facets, "photos": [photo(100), photo(100, 1)]}
    )
    written = response.json()

    assert response.status_code == 201
    assert (written["effect"], written["photos_new"], written["visible"]) == ("new", 2, True)
    assert written["change_number"] == live.shop.catalogue.change_number()
    assert found(http, 100)[0] == "new 1"
    answer = http.get("/products/new 1").json()
    assert answer["title"] == "New"
    assert answer["facets"] == {
        "colour": "Red",
        "price": 12.0,
        "tags": ["hot", "new"],
        "sale": True,
        "since": "2026-05-01T12:00:00+00:00",
    }
    assert [one["photo_id"] for one in answer["photos"]] == written["photo_ids"]
    assert http.get(answer["photos"][0]["photo"].removeprefix("/v1")).headers["content-type"] == "image/jpeg"


def test_writing_the_same_again_changes_nothing(http: httpx.Client) -> None:
    product = {"title": "Same", "facets": {"price": 3.5}, "photos": [photo(101)]}
    first = http.put("/products/same", json=product)
    again = http.put("/products/same", json=product)

    assert (first.status_code, again.status_code) == (201, 200)
    assert (again.json()["effect"], again.json()["photos_new"]) == ("unchanged", 0)
    assert again.json()["change_number"] == first.json()["change_number"]
    assert again.json()["photo_ids"] == first.json()["photo_ids"]


def test_what_is_not_given_stays_and_null_takes_a_facet_away(http: httpx.Client) -> None:
    http.put("/products/kept", json={"title": "Kept", "facets": {"price": 1, "colour": "Blue"}, "photos": [photo(102)]})

    assert http.put("/products/kept", json={"facets": {"price": 2}}).json()["effect"] == "changed"
    answer = http.get("/products/kept").json()
    assert (answer["title"], answer["facets"], len(answer["photos"])) == ("Kept", {"colour": "Blue", "price": 2.0}, 1)

    assert http.put("/products/kept", json={"facets": {"colour": None}}).json()["effect"] == "changed"
    assert http.get("/products/kept").json()["facets"] == {"price": 2.0}
    assert http.put("/products/kept", json={"facets": {"colour": None}}).json()["effect"] == "unchanged"


def test_a_form_means_the_same_as_json(http: httpx.Client) -> None:
    files = [("photo", ("a.png", draw(103, 0))), ("photo", ("b.png", draw(103, 1)))]
    facets = json.dumps({"colour": "Green", "price": 7})
    written = http.put("/products/form", data={"title": "Form", "facets": facets}, files=files).json()

    assert written["photos_new"] == 2
    assert http.get("/products/form").json()["facets"] == {"colour": "Green", "price": 7.0}
    assert found(http, 103)[0] == "form"


def test_a_product_is_found_once_it_has_a_photo(http: httpx.Client) -> None:
    assert http.put("/products/bare", json={"title": "Bare"}).json()["visible"] is True
    problem(http.get("/products/bare"), 404, "unknown_product")

    http.put("/products/bare", json={"photos": [photo(104)]})
    assert http.get("/products/bare").json()["title"] == "Bare"


def test_what_was_deleted_is_found_no_more(http: httpx.Client) -> None:
    written = http.put("/products/gone", json={"photos": [photo(105), photo(105, 1)]}).json()
    one, other = written["photo_ids"]

    deleted = http.delete(f"/products/gone/photos/{one}").json()
    assert (deleted["product_id"], deleted["photo_id"], deleted["visible"]) == ("gone", one, True)
    assert [photo["photo_id"] for photo in http.get("/products/gone").json()["photos"]] == [other]
    problem(http.get(f"/photos/{one}"), 404, "unknown_photo")
    assert found(http, 105)[0] == "gone"

    deleted = http.delete("/products/gone").json()
    assert (deleted["photo_id"], deleted["visible"]) == (None, True)
    assert "gone" not in found(http, 105)
    problem(http.get("/products/gone"), 404, "unknown_product")
    problem(http.delete("/products/gone"), 404, "unknown_product")


def test_products_of_the_generation_are_deleted_like_new_ones(http: httpx.Client, live: LiveShop) -> None:
    before = live.engine.deleted_photos
    assert found(http, 11)[0] == "p0011"
    http.delete("/products/p0011")

    assert "p0011" not in found(http, 11)
    assert live.engine.deleted_photos == before + 2


def test_a_photo_of_another_product_is_not_deleted(http: httpx.Client) -> None:
    (mine, _) = http.get("/products/p0001").json()["photos"]

    problem(http.delete(f"/products/p0002/photos/{mine['photo_id']}"), 404, "unknown_photo")
    problem(http.delete("/products/nobody/photos/1"), 404, "unknown_product")
    for number in ("0", str(2**62), str(2**63), "9" * 4000):
        problem(http.delete(f"/products/p0001/photos/{number}"), 404, "unknown_photo")
    problem(http.delete(f"/products/p0001/photos/{'9' * 5000}"), 404, "not_found")  # no number any more
    assert len(http.get("/products/p0001").json()["photos"]) == 2


def test_the_client_writes_and_deletes(http: httpx.Client, live: LiveShop) -> None:
    with Client(f"http://{http.base_url.host}:{http.base_url.port}") as client:
        since = datetime(2026, 5, 1, tzinfo=UTC)
        written = client.write_product(
            "käse...",
            title="Cheese",
            facets={"colour": "Red", "price": 3, "tags": ("b", "a"), "sale": False, "since": since},
            photos=[draw(100, 0), draw(100, 1)],
        )
        assert (written.effect, written.photos_new, written.visible) == ("new", 2, True)
        product = client.product(written.product_id)
        assert product.facets == {
            "colour": "Red",
            "price": 3.0,
            "tags": ["a", "b"],
            "sale": False,
            "since": since.isoformat(),
        }

        client.write_product(written.product_id, facets={"sale": None})
        assert "sale" not in client.product(written.product_id).facets
        assert client.delete_photo(written.product_id, written.photo_ids[0]).visible
        assert [one.photo_id for one in client.product(written.product_id).photos] == [written.photo_ids[1]]
        assert client.delete_product(written.product_id).visible
        with pytest.raises(errors.UnknownProduct):
            client.product(written.product_id)

        answer = client.search(url="https://shop.example/3.png", k=1)
        assert answer.exact is not None
        assert answer.exact.products[0].product_id == "p0003"
        client.feedback("click", answer.request_id, product_id="p0003", position=1)
        assert [one.product_id for one in live.feedback.kept] == ["p0003"]


NO_PHOTO = b64encode(b"no photo").decode()


@pytest.mark.parametrize(
    ("product_id", "product", "code", "said"),
    [
        ("bad", {"photos": [NO_PHOTO]}, "bad_image", "photo 1 of 'bad'"),
        ("bad", {"photos": [photo(1), NO_PHOTO]}, "bad_image", "photo 2 of 'bad'"),
        ("bad", {"photos": ["!"]}, "bad_query", "photos.0"),
        ("bad", {"photos": [photo(1)] * 21}, "bad_query", "at most 20"),
        ("bad", {"photo": photo(1)}, "bad_query", "did you mean 'photos'?"),
        ("bad", {"title": 7}, "bad_query", "'title'"),
        ("bad", {"title": "a\0b"}, "bad_query", "character 0"),
        ("bad", {"title": "a" * 1001}, "bad_query", "'title'"),
        ("bad", {"facets": {"size": "M"}}, "bad_call", "no facet 'size'"),
        ("bad", {"facets": {"price": "cheap"}}, "bad_call", "'price'"),
        ("bad", {"facets": {"price": True}}, "bad_call", "'price'"),
        ("bad", {"facets": {"price": 10**400}}, "bad_query", "finite"),
        ("bad", {"facets": {"price": {"eur": 1}}}, "bad_query", "facets.price"),
        ("bad", {"facets": {"tags": "new"}}, "bad_call", "'tags'"),
        ("bad", {"facets": {"tags": [1]}}, "bad_query", "facets.tags"),
        ("bad", {"facets": {"colour": ["Red"]}}, "bad_call", "'colour'"),
        ("bad", {"facets": {"colour": "a\0b"}}, "bad_query", "character 0"),
        ("bad", {"facets": {"since": "yesterday"}}, "bad_query", "no time"),
        ("bad", {"facets": {"since": "0001-01-01T00:00:00+23:59"}}, "bad_query", "no time"),
        ("bad", {"facets": ["colour"]}, "bad_query", "'facets'"),
        ("bad\x07", {}, "bad_call", "cannot be a product_id"),
        ("b" * 201, {}, "bad_call", "cannot be a product_id"),
    ],
)
def test_what_cannot_be_written_is_422_and_changes_nothing(
    http: httpx.Client, live: LiveShop, product_id: str, product: dict[str, Any], code: str, said: str
) -> None:
    before = live.shop.catalogue.change_number()
    segment = "".join(f"%{byte:02X}" for byte in product_id.encode())

    assert said in problem(http.put(f"/products/{segment}", json=product), 422, code)
    assert live.shop.catalogue.change_number() == before


@pytest.mark.parametrize("facets", ["{", "[]", "null", '{"price": NaN}', '{"colour": "\\ud800"}', "colour=Red"])
def test_facets_of_a_form_that_are_no_json_object_are_422(http: httpx.Client, facets: str) -> None:
    response = http.put("/products/bad", data={"facets": facets}, files={"photo": ("a.png", draw(1, 0))})

    assert "'facets'" in problem(response, 422, "bad_query")


def test_bodies_that_cannot_be_read_are_told_apart(http: httpx.Client) -> None:
    def put(body: bytes, kind: str) -> httpx.Response:
        return http.put("/products/bad", content=body, headers={"Content-Type": kind})

    problem(put(b"{", "application/json"), 400, "malformed_request")
    problem(put(b'{"title": "\\ud800"}', "application/json"), 400, "malformed_request")
    problem(put(b"--y", "multipart/form-data; boundary=x"), 400, "malformed_request")
    problem(put(b"title", "text/plain"), 415, "wrong_content_type")
    problem(put(bytes(max_request_bytes() + 1), "application/json"), 413, "too_large")


def test_a_server_without_a_catalogue_writes_nothing_and_says_so() -> None:
    with address_of(open_shop()) as address, httpx.Client(base_url=f"{address}/v1") as http:
        for response in (http.put("/products/a", json={}), http.delete("/products/mug-1")):
            assert "--catalogue" in problem(response, 403, "not_offered")
        problem(http.delete("/products/mug-1/photos/1"), 403, "not_offered")
        assert http.get("/products/mug-1").status_code == 200


class AwayUpdates:
    """A catalogue whose database does not answer."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def upsert(self, *_: object) -> Any:
        raise self.error

    def delete(self, *_: object, **__: object) -> Any:
        raise self.error


@pytest.mark.parametrize("error", [errors.Busy("/srv/shop.db is locked."), errors.Unavailable("db.internal is away.")])
def test_a_catalogue_that_cannot_be_written_now_is_503_with_a_time(error: errors.LookalikeError) -> None:
    service = SearchService(open_shop(), updates=AwayUpdates(error))
    with address_of(service) as address, httpx.Client(base_url=f"{address}/v1") as http:
        for response in (http.put("/products/a", json={}), http.delete("/products/mug-1")):
            said = problem(response, 503, error.code)
            assert "/srv" not in said
            assert "internal" not in said
            assert int(response.headers["retry-after"]) >= 1


def test_a_database_that_is_gone_is_503_for_writes_while_searches_go_on(
    tmp_path: Path, postgres_server: PostgresServer, postgres_url: str
) -> None:
    with (
        live_shop(tmp_path, where=postgres_url) as live,
        address_of(live.service) as address,
        httpx.Client(base_url=f"{address}/v1", timeout=60) as http,
    ):
        assert http.put("/products/before", json={"photos": [photo(100)]}).status_code == 201
        name = make_url(postgres_url).database
        assert name is not None
        with psycopg.connect(f"{postgres_server.options} dbname=postgres", autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

        response = http.put("/products/after", json={"photos": [photo(101)]})
        assert name not in problem(response, 503, "unavailable")
        assert "retry-after" in response.headers
        problem(http.delete("/products/before"), 503, "unavailable")
        assert found(http, 100)[0] == "before"
        assert http.get(f"{address}/readyz").status_code == 200


def test_a_write_that_cannot_be_followed_at_once_is_answered_all_the_same(live: LiveShop) -> None:
    blind = open_shop()
    blind.broken = errors.Unavailable("The catalogue is away.")
    service = SearchService(blind, updates=live.service._updates)
    blind.facets = live.engine.facets

    with address_of(service) as address:
        written = httpx.put(f"{address}/v1/products/blind", json={"photos": [photo(106)]}, timeout=60).json()

    assert (written["effect"], written["visible"]) == ("new", False)
    assert live.engine.caught_up(written["change_number"], timeout_s=60)
    assert live.engine.product("blind").photo_ids == tuple(written["photo_ids"])
