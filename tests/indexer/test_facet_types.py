"""Types are told by the values, and cells are read as them."""

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.catalogue.schema import FacetType
from indexer.facet_types import ColumnType, parse, text_of, tidy

KEYWORD, KEYWORDS, NUMBER, BOOLEAN, TIME = FacetType


def told(*cells: Any) -> FacetType:
    column = ColumnType()
    for cell in cells:
        column.add(cell)
    return column.facet_type


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["Red", "Blue"], KEYWORD),
        (["true", "False", "YES", "no"], BOOLEAN),
        ([True, False], BOOLEAN),
        (["true", "maybe"], KEYWORD),
        (["0", "1"], NUMBER),
        (["12", "-3.5", "+0.25", ".5", "5.", "1e-05", "0"], NUMBER),
        ([2011, 2.5, Decimal("1.10")], NUMBER),
        (["007", "12"], KEYWORD),
        (["12", "unknown"], KEYWORD),
        (["1_000"], KEYWORD),
        (["1,000"], KEYWORD),
        (["nan"], KEYWORD),
        (["."], KEYWORD),
        (["e5"], KEYWORD),
        (["1e999"], KEYWORD),
        (["٣"], KEYWORD),
        (["2026-05-01", "2026-05-01T12:00:00Z", "2026-05-01 12:00+02:00"], TIME),
        ([date(2026, 5, 1), datetime(2026, 5, 1, 12)], TIME),
        (["2026-05-01", "soon"], KEYWORD),
        (["2026-13-01"], KEYWORD),
        (["20260501"], NUMBER),
        (['["a", "b"]', '["c"]'], KEYWORDS),
        ([["a", "b"], ["c"]], KEYWORDS),
        (['["a", "b"]', "c"], KEYWORDS),
        (["[a, b]"], KEYWORD),
        (['[{"a": 1}]'], KEYWORD),
        (["[" * 9999 + "]" * 9999], KEYWORD),
        (["true", "12"], KEYWORD),
        ([True, 1], KEYWORD),
    ],
)
def test_a_type_fits_every_cell(cells: list[Any], expected: FacetType) -> None:
    assert told(*cells) == expected
    assert told(*reversed(cells)) == expected


@pytest.mark.parametrize(
    ("type", "cell", "expected"),
    [
        (KEYWORD, "Red", "Red"),
        (KEYWORD, 2011, "2011"),
        (KEYWORD, 2011.0, "2011"),
        (KEYWORD, True, "true"),
        (KEYWORD, date(2026, 5, 1), "2026-05-01"),
        (KEYWORDS, '["b", "a", "b", "", null, 3]', ("3", "a", "b")),
        (KEYWORDS, ["b", " a "], ("a", "b")),
        (KEYWORDS, "alone", ("alone",)),
        (KEYWORDS, '["", null]', None),
        (NUMBER, "1e3", 1000.0),
        (NUMBER, "007", 7.0),
        (NUMBER, Decimal("1.5"), 1.5),
        (BOOLEAN, "Yes", True),
        (BOOLEAN, "0", False),
        (BOOLEAN, 1, True),
        (TIME, "2026-05-01", datetime(2026, 5, 1, tzinfo=UTC)),
        (TIME, "2026-05-01T02:00:00+02:00", datetime(2026, 5, 1, tzinfo=UTC)),
        (TIME, date(2026, 5, 1), datetime(2026, 5, 1, tzinfo=UTC)),
        (TIME, datetime(2026, 5, 1, 2, tzinfo=timezone(timedelta(hours=2))), datetime(2026, 5, 1, tzinfo=UTC)),
    ],
)
def test_a_cell_is_read_as_its_type(type: FacetType, cell: Any, expected: Any) -> None:
    value = parse(type, cell)
    assert value == expected
    assert value.__class__ is expected.__class__


@pytest.mark.parametrize(
    ("type", "cell", "reason"),
    [
        (KEYWORD, "a\0b", "NUL"),
        (KEYWORD, "\ud800", "half a character"),
        (KEYWORD, {"a": 1}, "not text"),
        (KEYWORDS, [["a"], {"b": 1}], "not text"),
        (NUMBER, "ten", "not a number"),
        (NUMBER, "inf", "not a number"),
        (NUMBER, True, "not a number"),
        (NUMBER, 10**400, "not a number"),
        (BOOLEAN, "on", "not true, false"),
        (BOOLEAN, 2, "not true, false"),
        (TIME, "yesterday", "ISO 8601"),
        (TIME, 2026, "ISO 8601"),
        (TIME, "0001-01-01T00:00:00+10:00", "ISO 8601"),
    ],
)
def test_a_cell_of_another_type_is_refused_with_a_reason(type: FacetType, cell: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse(type, cell)


@pytest.mark.parametrize("cell", [None, "", "  ", math.nan, [], ()])
def test_nothing_is_nothing_however_it_is_written(cell: Any) -> None:
    assert tidy(cell) is None


def test_sentences_are_prose_and_words_are_not() -> None:
    prose, words = ColumnType(), ColumnType()
    for number in range(10):
        prose.add(f"Sentence {number} says at length how very nice this product is, and goes on and on and on and on.")
        words.add("Red" if number else "A rather long value for a keyword, which stands alone among short ones. " * 2)
    assert (prose.is_prose, words.is_prose) == (True, False)


def test_structures_are_unusable() -> None:
    column = ColumnType()
    column.add("text")
    assert column.unusable is None
    column.add([{"a": 1}])
    assert column.unusable == "dict"


CELLS = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.datetimes(),
    st.dates(),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    st.sampled_from(["true", "no", "12", "-0.5", "007", "2026-05-01", '["a"]', "[]", "[1]", "[[]]", '[{"a": 1}]']),
    st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), min_size=1),
)


@given(st.lists(CELLS.map(tidy).filter(lambda cell: cell is not None), min_size=1, max_size=5))
def test_every_cell_can_be_read_as_the_type_its_column_was_told(cells: list[Any]) -> None:
    column = ColumnType()
    for cell in cells:
        column.add(cell)
    if column.unusable is None:
        for cell in cells:
            parse(column.facet_type, cell)


@given(CELLS)
def test_every_cell_has_a_text_that_stays_as_it_is(cell: Any) -> None:
    assert text_of(text_of(cell)) == text_of(cell)
