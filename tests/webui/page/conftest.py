"""A drawn shop behind the real API, asked in this process through the real client."""

from collections.abc import Iterator

import httpx
import pytest

from tests.webui.page.small_shop import SmallShop, drawn_shop
from webui.api.app import create_app
from webui.client import Client
from webui.service import SearchService


@pytest.fixture(scope="session")
def shop() -> SmallShop:
    return drawn_shop()


@pytest.fixture
def client(shop: SmallShop) -> Iterator[Client]:
    with client_of(shop) as client:
        yield client


def client_of(shop: SmallShop) -> Client:
    return Client("http://127.0.0.1", transport=httpx.WSGITransport(app=create_app(SearchService(shop))))
