"""The typed client against the real application."""

import subprocess
import sys
from collections.abc import Iterator
from math import inf

import httpx
import pytest

from engine import errors
from engine.catalogue.schema import Product
from tests.fakes import FakeEngine
from tests.webui.shop import PRODUCTS, RED_PHOTO, address_of, open_shop
from webui.client import LONGEST_WAIT_S, Client
from webui.problems import of_error
from webui.wire import SearchAnswer, SearchRequest


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
    with pytest.raises(errors.IndexMissing, match="cannot do this now"):
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


def test_a_vector_is_searched_for(client: Client) -> None:
    with pytest.raises(errors.BadQuery):
        client.search(vector=[0.5, 0.25])
    answer = client.search(vector=(one / 16 for one in range(1, 17)), mode="exact", explain=False)

    assert answer.exact is not None
    assert len(answer.exact.products) == 5
    assert answer.plan is None
    with pytest.raises(errors.BadQuery, match="no field 'vector'"):
        client.search(photo=RED_PHOTO, vector=[1.0])


def test_several_searches_come_back_each_as_an_answer_or_an_error(client: Client) -> None:
    one, other, wrong = client.search_batch(
        [
            SearchRequest(photo=RED_PHOTO, k=2, filter={"eq": {"colour": "Red"}}, box=(0.0, 0.0, 0.5, 1.0)),
            SearchRequest(product_id="..", mode="exact", explain=False),
            SearchRequest(product_id="nobody"),
        ]
    )

    assert isinstance(one, SearchAnswer)
    assert isinstance(other, SearchAnswer)
    assert one.exact is not None
    assert other.exact is not None
    assert [card.product_id for card in one.exact.products] == ["mug-1", "a+b&c=d;e"]
    assert (other.exact.products[0].product_id, other.plan) == ("..", None)
    assert isinstance(wrong, errors.UnknownProduct)


def test_a_photo_is_looked_at(client: Client) -> None:
    seen = client.predict(RED_PHOTO, box=[0, 0, 1, 0.5], choices=1)

    assert seen.facets == {"colour": "Red"}
    assert [choice.label for choice in seen.attributes[0].choices] == ["Red"]
    with pytest.raises(errors.NotOffered):
        client.predict(url="https://shop.example/a.png")


def test_what_a_server_does_not_offer_is_told(client: Client) -> None:
    for ask in (
        lambda: client.write_product("a", title="A"),
        lambda: client.delete_product("mug-1"),
        lambda: client.delete_photo("mug-1", 1),
        lambda: client.feedback("not_found", "r"),
        lambda: client.search(url="https://shop.example/a.png"),
    ):
        with pytest.raises(errors.NotOffered):
            ask()


def test_readiness_and_metrics(engine: FakeEngine, client: Client) -> None:
    assert client.ready().visibility_lag_s is None
    assert "lookalike_products 5.0" in client.metrics()
    engine.visibility_lag_s = inf
    try:
        with pytest.raises(errors.Unavailable) as told:
            client.ready()
        assert told.value.retry_after_s is not None
    finally:
        engine.visibility_lag_s = None


class Saturated:
    """A server that answers 503 so many times, then as it should."""

    def __init__(self, times: int, headers: dict[str, str], status: int = 503) -> None:
        self.times, self.headers, self.status = times, headers, status
        self.keys: list[str | None] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.keys.append(request.headers.get("Authorization"))
        if len(self.keys) <= self.times:
            problem = of_error(errors.Busy("No."))
            return httpx.Response(self.status, headers=self.headers, content=problem.model_dump_json())
        return httpx.Response(204)


def told_again(server: Saturated, retries: int) -> list[float]:
    """How long a client that gives feedback waited before each time that it sent it again."""
    waits: list[float] = []
    transport = httpx.MockTransport(server)
    with Client("http://there", key="secret", retries=retries, transport=transport, sleep=waits.append) as client:
        client.feedback("not_found", "r")
    return waits


def test_a_key_goes_with_every_request_and_what_passes_is_tried_again() -> None:
    server = Saturated(2, {"Retry-After": "3"})

    assert told_again(server, retries=2) == [3, 3]
    assert server.keys == ["Bearer secret"] * 3
    assert told_again(Saturated(1, {"Retry-After": "99999"}), retries=1) == [LONGEST_WAIT_S]


@pytest.mark.parametrize(
    ("server", "retries"),
    [
        (Saturated(1, {"Retry-After": "1"}), 0),
        (Saturated(3, {"Retry-After": "1"}), 2),
        (Saturated(1, {}), 5),
        (Saturated(1, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}), 5),
        (Saturated(1, {"Retry-After": "1"}, status=429), 5),
    ],
)
def test_nothing_is_sent_again_that_was_not_asked_for(server: Saturated, retries: int) -> None:
    with pytest.raises(errors.Busy) as told:
        told_again(server, retries)

    assert len(server.keys) == (retries + 1 if server.times > 1 else 1)
    assert told.value.retry_after_s == (1 if server.headers.get("Retry-After") == "1" else None)


def test_the_client_needs_no_engine() -> None:
    script = "import sys; from lookalike import Client; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()

    assert {"httpx", "pydantic"} <= set(loaded)
    assert set(loaded).isdisjoint({"numpy", "PIL", "faiss", "flask", "sqlalchemy", "pyarrow", "openvino", "torch"})
