"""A small shop for the tests of the API: five products with every type of facet, and ids that need care in a URL."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Event, Thread

import httpx

from engine.catalogue.schema import Facet, FacetType, Product
from tests.fakes import FakeEngine, FakePhoto, photo_bytes
from webui.api.app import create_app, max_request_bytes
from webui.api.server import HttpServer
from webui.ports import Engine
from webui.service import SearchService

RED, BLUE, GREEN = (200, 30, 30), (30, 30, 200), (30, 160, 30)

FACETS = (
    Facet("colour", FacetType.KEYWORD),
    Facet("tags", FacetType.KEYWORDS),
    Facet("price", FacetType.NUMBER),
    Facet("sale", FacetType.BOOLEAN),
    Facet("since", FacetType.TIME),
)
PRODUCTS = (
    Product("mug-1", "Red mug", {"colour": "Red", "tags": ("kitchen", "new"), "price": 12.0, "sale": True}),
    Product("mug 2?#%", "Blue mug", {"colour": "Blue", "tags": ("kitchen",), "price": 9.5, "sale": False}),
    Product("Stühle ☂", "Green chair", {"colour": "Green", "price": 80.0, "since": datetime(2026, 5, 1, tzinfo=UTC)}),
    Product("a+b&c=d;e", "Red chair", {"colour": "Red", "price": 75.0}),
    Product("..", None, {}),
)
PHOTOS = (
    FakePhoto(1, "mug-1", photo_bytes(RED, seed=1)),
    FakePhoto(2, "mug-1", photo_bytes(RED, seed=2, kind="JPEG")),
    FakePhoto(3, "mug 2?#%", photo_bytes(BLUE, seed=3)),
    FakePhoto(4, "Stühle ☂", photo_bytes(GREEN, seed=4, side=600)),
    FakePhoto(5, "a+b&c=d;e", photo_bytes(RED, seed=5)),
    FakePhoto(6, "..", photo_bytes((128, 128, 128), seed=6)),
)
RED_PHOTO = photo_bytes(RED, seed=99)


def open_shop() -> FakeEngine:
    return FakeEngine(FACETS, PRODUCTS, PHOTOS)


@contextmanager
def address_of(what: Engine | SearchService) -> Iterator[str]:
    """The address where the API answers for an engine, on a port of its own, for the time of the `with`."""
    app = create_app(what if isinstance(what, SearchService) else SearchService(what))
    server = HttpServer(app, host="127.0.0.1", port=0, threads=2, max_request_bytes=max_request_bytes())
    stop = Event()
    thread = Thread(target=server.run, args=(stop,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        stop.set()
        thread.join()


def problem(response: httpx.Response, status: int, code: str) -> str:
    """Checks that an error is a problem as RFC 9457 has them; its sentence."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    found = response.json()
    assert set(found) == {"type", "title", "status", "detail", "code", "hint"}
    assert found["hint"].endswith(".")
    assert found["type"] == f"/docs#{code}"
    assert (found["status"], found["code"]) == (status, code)
    assert found["detail"].endswith((".", "?"))
    detail: str = found["detail"]
    return detail
