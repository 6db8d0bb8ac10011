from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadFilter
from engine.search.filter_syntax import parse
from engine.search.filters import And, Equal, Exists, Filter, Not, OneOf, Or, Prefix, Range


@pytest.mark.parametrize(
    ("text", "filter"),
    [
        ("colour=Red", Equal("colour", "Red")),
        (" colour = Red ", Equal("colour", "Red")),
        ("product name=Red Shoe", Equal("product name", "Red Shoe")),
        ("colour=Red|Blue", OneOf("colour", ("Red", "Blue"))),
        ("price<50", Range("price", high="50", high_in=False)),
        ("price<=50", Range("price", high="50")),
        ("price>50", Range("price", low="50", low_in=False)),
        ("price>=50", Range("price", low="50")),
        ("price=10..50", Range("price", low="10", high="50")),
        ("price=-1.5..50", Range("price", low="-1.5", high="50")),
        ("price=10..", Range("price", low="10")),
        ("price=..50", Range("price", high="50")),
        ("added=2026-05-01T00:00:00Z..", Range("added", low="2026-05-01T00:00:00Z")),
        ("sale?", Exists("sale")),
        ("!sale?", Not(Exists("sale"))),
        ("!colour=Red", Not(Equal("colour", "Red"))),
        ("! colour=Red", Not(Equal("colour", "Red"))),
        ("!!colour=Red", Equal("colour", "Red")),
        ("name=Sun*", Prefix("name", "Sun")),
        ("name=Sun*|Moon", Or((Prefix("name", "Sun"), Equal("name", "Moon")))),
        ("price=1..2|5", Or((Range("price", low="1", high="2"), Equal("price", "5")))),
        ("name=a*b", Equal("name", "a*b")),
        ("title=a=b", Equal("title", "a=b")),
        ("title=why?", Equal("title", "why?")),
        ("title=a<b", Equal("title", "a<b")),
        (r"title=a\|b", Equal("title", "a|b")),
        (r"a\=b=c", Equal("a=b", "c")),
        (r"why\??", Exists("why?")),
        (r"\!a=b", Equal("!a", "b")),
        (r"name=\*", Equal("name", "*")),
        (r"ratio=1\..2", Equal("ratio", "1..2")),
        (r"path=a\\b", Equal("path", r"a\b")),
    ],
)
def test_every_documented_form(text: str, filter: Filter) -> None:
    assert parse([text]) == filter


def test_several_texts_are_and_ed() -> None:
    assert parse([]) is None
    assert parse(["a=1", "b?"]) == And((Equal("a", "1"), Exists("b")))


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "=",
        "=Red",
        "colour",
        "colour=",
        "colour=Red|",
        "?",
        "price<",
        "price=..",
        "price=1..2..3",
        "!",
        "!!",
        "<5",
    ],
)
def test_text_that_is_no_filter_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadFilter) as error:
        parse([text])
    assert repr(text) in str(error.value) or "has no ends" in str(error.value)


ordinary = st.text(st.characters(codec="utf-8", exclude_characters="\\ ", exclude_categories=("C", "Z")), min_size=1)


def escaped(text: str) -> str:
    return "".join("\\" + character for character in text)


@given(ordinary, st.lists(ordinary, min_size=1, max_size=4))
def test_anything_can_be_said_with_backslashes(name: str, values: list[str]) -> None:
    filter = parse([f"{escaped(name)}={'|'.join(map(escaped, values))}"])
    assert filter == (Equal(name, values[0]) if len(values) == 1 else OneOf(name, tuple(values)))


@given(st.text(max_size=12))
def test_no_text_can_break_the_parser(text: str) -> None:
    with suppress(BadFilter):
        assert parse([text]) is not None


def test_a_thousand_nots_are_no_trouble() -> None:
    assert parse(["!" * 1001 + "a=1"]) == Not(Equal("a", "1"))
