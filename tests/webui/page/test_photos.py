from io import BytesIO

import httpx
import pytest
from PIL import Image

from webui.client import Client

pytest.importorskip("fastapi", reason="the page's server comes with gradio")


def browser_of(client: Client) -> httpx.Client:
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from webui.page.photos import photo_routes

    app = FastAPI()
    app.include_router(photo_routes(client))
    return TestClient(app)


def test_photos_are_passed_on_and_kept_by_the_browser(client: Client) -> None:
    response = browser_of(client).get("/photos/3?side=100")
    assert response.headers["content-type"] == "image/jpeg"
    assert "max-age" in response.headers["cache-control"]
    assert Image.open(BytesIO(response.content)).size == (100, 100)


@pytest.mark.parametrize(
    ("path", "status"),
    [("/photos/999", 404), ("/photos/3?side=5000", 422), ("/photos/..%2F3", 404), ("/photos/x", 422)],
)
def test_other_photos_are_refused(client: Client, path: str, status: int) -> None:
    assert browser_of(client).get(path).status_code == status


def test_an_api_that_is_away_is_a_bad_gateway() -> None:
    nobody = Client("http://127.0.0.1:9")  # the discard port: nothing listens
    assert browser_of(nobody).get("/photos/1").status_code == 502
