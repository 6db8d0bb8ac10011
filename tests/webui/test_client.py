"""The typed client against the real application."""

from collections.abc import Iterator

import httpx
import pytest

from engine import errors
from engine.catalogue.schema import Product
from tests.fakes import FakeEngine
from tests.webui.shop import PRODUCTS, RED_PHOTO, address_of, open_shop
from webui.client import Client


@pytest.fixture(scope="module")
def shop() -> Iterator[tuple[FakeEngine, Client]]:
    engine = open_shop()
    with address_of(engine) as address, Client(address) as client:
        yield engine, client


@pytest.fixture
def engine(shop: tuple[FakeEngine, Client]) -> Iterator[FakeEngine]:
    yield shop[0]
    shop[0].broken = None


@pytest.fixture
def client(shop: tuple[FakeEngine, Client]) -> Client:
    return shop[1]


def test_a_photo_is_searched_for_with_every_wish(client: Client) -> None:
    answer = client.search(photo=RED_PHOTO, k=1, mode="exact", filter={"eq": {"colour": "Red"}}, box=[0, 0, 0.5, 0.5])

    assert answer.exact is not None
    assert [card.product_id for card in answer.exact.products] == ["mug-1"]
    assert answer.similar is None
    assert (answer.matching, answer.k, answer.mode) == (2, 1, "exact")
    assert answer.exact.products[0].facets["sale"] is True
    assert answer.exact.products[0].facets["price"] == 12.0
    assert answer.exact.products[0].facets["tags"] == ["kitchen", "new"]


def test_a_product_is_searched_from(client: Client) -> None:
    answer = client.search(product_id="mug 2?#%", k=2, filter={"in": {"colour": ["Blue", "Green"]}})

    assert answer.exact is not None
    assert [card.product_id for card in answer.exact.products] == ["mug 2?#%", "Stühle ☂"]


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: product.product_id)
def test_every_product_is_found_by_its_id(client: Client, product: Product) -> None:
    assert client.product(product.product_id).product_id == product.product_id


def test_facets_photos_and_health(client: Client) -> None:
    assert client.facets().matching == 5
    assert client.facets({"eq": {"colour": "Red"}}).matching == 2
    sale = next(facet for facet in client.facets().facets if facet.name == "sale")
    assert [choice.value for choice in sale.values] == [False, True]
    assert client.photo(1, side=32).startswith(b"\xff\xd8\xff")
    assert client.health().products == 5


def test_errors_come_back_as_what_they_were(client: Client) -> None:
    with pytest.raises(errors.UnknownProduct, match="'nobody'"):
        client.product("nobody")
    with pytest.raises(errors.UnknownPhoto):
        client.photo(99)
    with pytest.raises(errors.BadFilter, match="did you mean 'colour'"):
        client.facets({"eq": {"color": "Red"}})
    with pytest.raises(errors.BadImage):
        client.search(photo=b"text")
    with pytest.raises(errors.BadQuery, match="exactly one"):
        client.search()
    with pytest.raises(errors.BadQuery):
        client.search(product_id="mug-1", k=0)


def test_errors_of_the_server_come_back_too(engine: FakeEngine, client: Client) -> None:
    engine.broken = errors.IndexMissing("no index")
    with pytest.raises(errors.IndexMissing, match="cannot answer now"):
        client.search(product_id="mug-1")
    engine.broken = ZeroDivisionError()
    with pytest.raises(errors.LookalikeError, match="made a mistake"):
        client.search(product_id="mug-1")


def test_nobody_there_is_told_with_what_to_do() -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(errors.Unavailable, match="lookalike serve"):
        client.health()


@pytest.mark.parametrize(
    "response", [httpx.Response(502, html="<h1>Bad gateway</h1>"), httpx.Response(200, json={"status": "fine"})]
)
def test_somebody_else_there_is_told(response: httpx.Response) -> None:
    transport = httpx.MockTransport(lambda _: response)

    with (
        Client("http://elsewhere", transport=transport) as client,
        pytest.raises(errors.Unavailable, match="http://elsewhere"),
    ):
        client.health()


def test_fields_that_a_newer_server_adds_are_passed_over() -> None:
    health = {"status": "ok", "products": 1, "photos": 1, "generation": "1", "model_id": "m", "mood": "good"}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=health))

    with Client("http://newer", transport=transport) as client:
        assert client.health().products == 1
