"""The API in front of a real index: what it says is what the engine says."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pytest

from engine.search.query import Query
from engine.search.search_engine import SearchEngine
from lookalike.commands.search import answer_to_dict
from tests.indexer.shop import Shop, draw
from tests.webui.shop import address_of
from webui.client import Client

PRODUCTS = 30  # of the built shop


@dataclass(frozen=True)
class Opened:
    engine: SearchEngine
    client: Client
    address: str


@pytest.fixture(scope="module")
def opened(built_shop: Shop) -> Iterator[Opened]:
    with SearchEngine.open(built_shop.index) as engine, address_of(engine) as address, Client(address) as client:
        yield Opened(engine, client, address)


def test_every_photo_finds_its_own_product_first(opened: Opened) -> None:
    for number in range(PRODUCTS):
        answer = opened.client.search(photo=draw(number, 7), k=3, mode="exact")
        assert answer.exact is not None
        assert answer.exact.products[0].product_id == f"p{number:04d}"
        assert len(answer.exact.products) == 3


def test_the_api_and_the_command_line_say_the_same(opened: Opened) -> None:
    query = Query(photo=draw(3, 9), k=4)
    said = answer_to_dict(opened.engine.search(query), query, opened.engine)

    answer = httpx.post(f"{opened.address}/search", files={"photo": draw(3, 9)}, data={"k": 4}).json()

    for cards in (answer["exact"]["products"], answer["similar"]["products"]):
        for card in cards:
            assert card.pop("photo") == f"/v1/photos/{card['photo_id']}"
    for one in (answer, said):
        one["plan"].pop("milliseconds")
        one["plan"].pop("sentence")
    assert answer.pop("request_id")
    assert answer == json.loads(json.dumps(said))


def test_a_filter_holds_for_every_product_and_k_is_reached(opened: Opened) -> None:
    answer = opened.client.search(
        photo=draw(3, 9), k=6, filter={"and": [{"eq": {"colour": "Red"}}, {"range": {"price": {"gte": 5}}}]}
    )

    assert answer.exact is not None
    assert answer.similar is not None
    assert answer.matching == 9
    assert len(answer.exact.products) == len(answer.similar.products) == 6
    for card in (*answer.exact.products, *answer.similar.products):
        price = card.facets["price"]
        assert card.facets["colour"] == "Red"
        assert isinstance(price, float)
        assert price >= 5


def test_facets_are_counted(opened: Opened) -> None:
    answer = opened.client.facets({"eq": {"colour": "Blue"}})
    by_name = {facet.name: facet for facet in answer.facets}

    assert (answer.matching, answer.products) == (10, PRODUCTS)
    assert {choice.value: choice.count for choice in by_name["colour"].values} == {"Blue": 10, "Green": 10, "Red": 10}
    assert (by_name["price"].minimum, by_name["price"].maximum) == (0.0, 27.0)


def test_products_and_photos_are_there(opened: Opened) -> None:
    product = opened.client.product("p0007")

    assert product.title == "Product 7"
    assert len(product.photos) == 2
    for photo in product.photos:
        assert opened.client.photo(photo.photo_id, side=32).startswith(b"\xff\xd8\xff")


def test_many_at_once_are_answered_as_one_by_one(opened: Opened) -> None:
    photos = [draw(number, 5) for number in range(PRODUCTS)]

    def ask(photo: bytes) -> list[tuple[str, float]]:
        answer = opened.client.search(photo=photo, k=5, mode="exact")
        assert answer.exact is not None
        return [(card.product_id, card.score) for card in answer.exact.products]

    with ThreadPoolExecutor(8) as pool:
        at_once = list(pool.map(ask, photos))

    assert at_once == [ask(photo) for photo in photos]
