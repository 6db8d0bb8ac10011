"""/docs says what /openapi.json says, to people, and asks nobody else for anything."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.webui.shop import open_shop
from webui.api.app import create_app
from webui.hints import HINTS
from webui.service import SearchService


class Page(HTMLParser):
    """What the tests ask of a page: ids, links, everything that would be loaded, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name == "href" and tag == "a":
                self.links.append(value or "")
            elif name in ("href", "src", "srcset", "action", "data", "style"):
                self.loaded.append(f"{tag} {name}={value}")

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def response() -> TestResponse:
    return create_app(SearchService(open_shop())).test_client().get("/docs")


@pytest.fixture(scope="module")
def page(response: TestResponse) -> Page:
    return Page(response.text)


@pytest.fixture(scope="module")
def document() -> Any:
    return create_app(SearchService(open_shop())).test_client().get("/openapi.json").json


def test_it_needs_no_network_and_no_script(response: TestResponse, page: Page) -> None:
    assert (response.status_code, response.mimetype) == (200, "text/html")
    assert page.loaded == []
    assert page.tags.isdisjoint({"script", "link", "img", "iframe", "object", "form"})
    assert "url(" not in response.text
    assert "@import" not in response.text
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_every_link_leads_somewhere_and_every_id_is_one(page: Page) -> None:
    assert len(set(page.ids)) == len(page.ids)
    assert {link for link in page.links if not link.startswith("#")} == {"/openapi.json"}
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)


def test_every_operation_schema_and_field_is_there(page: Page, document: Any) -> None:
    for path, item in document["paths"].items():
        assert path in page.text
        for operation in item.values():
            assert operation["operationId"] in page.ids
            assert operation["summary"] in page.text
    for name, schema in document["components"]["schemas"].items():
        assert f"schema-{name}" in page.ids
        for field in schema.get("properties", {}):
            assert re.search(rf"\b{field}\b", page.text), f"{name}.{field}"


def test_every_kind_of_problem_is_under_its_code(page: Page) -> None:
    assert set(HINTS) <= set(page.ids)
    for hint in HINTS.values():
        assert hint.remedy in page.text


def test_text_of_the_document_is_text_on_the_page(response: TestResponse) -> None:
    assert "PUT /v1/products/{product_id}" in response.text  # of a docstring, braces and all
    assert "<key>" not in response.text  # of a hint
    assert "&lt;key&gt;" in response.text
