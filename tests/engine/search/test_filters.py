from datetime import UTC, datetime

import pytest
from hypothesis import given

from engine.catalogue.schema import Facet, FacetType
from engine.errors import BadFilter
from engine.search.filters import (
    And,
    Equal,
    Exists,
    Filter,
    Not,
    OneOf,
    Or,
    Prefix,
    Range,
    bind,
    matches,
    require_names,
    same,
)
from tests.engine.search.strategies import SCHEMA, filters

RED_SHOE = {
    "colour": "Red",
    "tags": ("new", "wool"),
    "price": 50.0,
    "sale": False,
    "added": datetime(2026, 5, 1, tzinfo=UTC),
}


@pytest.mark.parametrize(
    ("filter", "passes"),
    [
        (Equal("colour", "Red"), True),
        (Equal("colour", "red"), False),
        (Equal("tags", "wool"), True),
        (Equal("tags", "silk"), False),
        (OneOf("colour", ("Blue", "Red")), True),
        (OneOf("colour", ()), False),
        (Range("price", low=50.0), True),
        (Range("price", low=50.0, low_in=False), False),
        (Range("price", high=50.0, high_in=False), False),
        (Range("price", low=10.0, high=50.0), True),
        (Equal("sale", False), True),
        (Exists("sale"), True),
        (Range("added", low=datetime(2026, 5, 1, tzinfo=UTC)), True),
        (Prefix("colour", "Re"), True),
        (Prefix("tags", "wo"), True),
        (Prefix("tags", "oo"), False),
        (And(()), True),
        (Or(()), False),
        (Not(Equal("colour", "Blue")), True),
    ],
)
def test_leaf_means_what_it_says(filter: Filter, passes: bool) -> None:
    assert matches(filter, RED_SHOE) is passes


@pytest.mark.parametrize(
    "leaf",
    [Equal("x", "a"), OneOf("x", ("a", "")), Range("x", low=0.0), Exists("x"), Prefix("x", "")],
)
def test_missing_value_fails_every_leaf_and_passes_its_opposite(leaf: Filter) -> None:
    for record in ({}, {"x": None}, {"x": float("nan")}, {"x": ()}):
        assert not matches(leaf, record)
        assert matches(Not(leaf), record)


def test_raw_rows_compare_as_what_they_read_like() -> None:
    row = {"split": "val", "price": "9.50", "year": 2015, "new": True, "code": "007", "added": "2026-05-01"}
    assert matches(OneOf("split", ("train", "val")), row)
    assert matches(Range("price", low="9", high="10"), row)  # as text, "9.50" > "10"
    assert matches(Equal("year", "2015"), row)
    assert matches(Equal("new", "True"), row)
    assert not matches(Equal("code", "7"), row)
    assert matches(Range("added", low="2026-04-30T23:59:59Z"), row)
    assert not matches(Range("split", low="1"), row)


def test_same_does_not_take_truths_for_numbers() -> None:
    assert not same(True, 1.0)
    assert not same(1, True)
    assert same(datetime(2026, 5, 1), datetime(2026, 5, 1, tzinfo=UTC))


def test_bind_gives_values_the_types_of_their_facets() -> None:
    raw = And(
        (
            Range("price", low="10", high=50.0),
            Equal("sale", "TRUE"),
            Not(Equal("added", "2026-05-01T02:00:00+02:00")),
            OneOf("colour", ("10", "Red")),
        )
    )
    assert bind(raw, SCHEMA) == And(
        (
            Range("price", low=10.0, high=50.0),
            Equal("sale", True),
            Not(Equal("added", datetime(2026, 5, 1, tzinfo=UTC))),
            OneOf("colour", ("10", "Red")),
        )
    )


@pytest.mark.parametrize(
    ("filter", "says"),
    [
        (Equal("color", "Red"), "did you mean 'colour'?"),
        (Equal("weight of it", "1"), "there are colour, tags, price, sale, added"),
        (Equal("price", "cheap"), "'cheap' is none; give a number"),
        (Equal("price", "nan"), "give a number"),
        (Equal("price", True), "give a number"),
        (Equal("sale", "yes"), "give true or false"),
        (Range("added", low="yesterday"), "give a time such as 2026-05-01"),
        (Equal("colour", 7.0), "give text"),
        (Range("colour", low="A"), "have no range"),
        (Range("sale", low="true"), "have no range"),
        (Prefix("price", "1"), "have no beginning"),
        (Not(And((Exists("price"), Exists("prices")))), "did you mean 'price'?"),
    ],
)
def test_bind_refuses_what_the_facets_cannot_answer(filter: Filter, says: str) -> None:
    with pytest.raises(BadFilter, match=says.replace("?", r"\?")):
        bind(filter, SCHEMA)


@given(filters(SCHEMA))
def test_binding_twice_is_binding_once(filter: Filter) -> None:
    assert bind(filter, SCHEMA) == filter


def test_range_needs_an_end() -> None:
    with pytest.raises(BadFilter, match="has no ends"):
        Range("price")


def test_require_names_says_what_is_there() -> None:
    with pytest.raises(BadFilter, match=r"There is no column of photos\.csv 'splt' to filter by; did you mean 'split'"):
        require_names(Equal("splt", "val"), ["image", "split"], "column of photos.csv")
    require_names(Equal("split", "val"), [Facet("split", FacetType.KEYWORD).name])
