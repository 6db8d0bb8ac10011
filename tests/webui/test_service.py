"""The use cases without a network: what a request means, and photos that went bad."""

from datetime import UTC, datetime
from typing import Any

import pytest

from engine.errors import UnknownPhoto
from engine.search.filters import And, Equal, Range
from engine.search.query import Box
from tests.webui.shop import RED_PHOTO, open_shop
from webui.service import SearchService, SourcePhoto, filter_of, query_of
from webui.wire import SearchForm, SearchRequest


@pytest.mark.parametrize(
    ("texts", "filter"),
    [
        ([], None),
        (["colour=Red"], Equal("colour", "Red")),
        ([' {"eq": {"colour": "Red"}}'], Equal("colour", "Red")),
        (
            ["colour=Red", '{"range": {"price": {"gt": 5}}}'],
            And((Equal("colour", "Red"), Range("price", low=5.0, low_in=False))),
        ),
    ],
)
def test_filters_are_json_or_text(texts: list[str], filter: Any) -> None:
    assert filter_of(texts) == filter


def test_a_request_and_a_form_become_the_same_query() -> None:
    form = SearchForm(photo=RED_PHOTO, k=3, mode="exact", filter=["colour=Red"], box="0.1, 0,0.9,1")
    request = SearchRequest(
        photo=RED_PHOTO, k=3, mode="exact", filter={"eq": {"colour": "Red"}}, box=(0.1, 0.0, 0.9, 1.0)
    )

    for query in (query_of(form), query_of(request)):
        assert (query.photo, query.product_id, query.k, query.mode) == (RED_PHOTO, None, 3, "exact")
        assert query.filter == Equal("colour", "Red")
        assert query.box == Box(0.1, 0.0, 0.9, 1.0)


def test_times_leave_as_text_and_keywords_as_lists() -> None:
    service = SearchService(open_shop())

    assert service.product("mug-1").facets["tags"] == ["kitchen", "new"]
    since = service.product("Stühle ☂").facets["since"]
    assert isinstance(since, str)
    assert datetime.fromisoformat(since) == datetime(2026, 5, 1, tzinfo=UTC)


def test_a_catalogue_photo_that_is_no_picture_any_more_is_not_the_callers_fault() -> None:
    with pytest.raises(UnknownPhoto, match="Photo 7 cannot be read any more"):
        SearchService(open_shop()).thumbnail(SourcePhoto(7, b"text", "tag"), 64)


def test_a_photos_tag_is_that_of_its_bytes() -> None:
    service = SearchService(open_shop())

    assert service.photo(1).tag == service.photo(1).tag
    assert service.photo(1).tag != service.photo(2).tag
