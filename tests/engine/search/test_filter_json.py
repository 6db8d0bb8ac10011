import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadFilter
from engine.search.filter_json import MAX_DEPTH, from_json, to_json
from engine.search.filters import And, Equal, Exists, Filter, Not, OneOf, Or, Prefix, Range, bind
from tests.engine.search.strategies import SCHEMA, filters


@given(filters(SCHEMA))
def test_json_keeps_a_filter(filter: Filter) -> None:
    text = json.dumps(to_json(filter), allow_nan=False)
    assert bind(from_json(json.loads(text)), SCHEMA) == filter


def test_json_of_the_documented_form() -> None:
    data = {
        "and": [
            {"eq": {"colour": "Red"}},
            {"in": {"size": ["M", "L"]}},
            {"range": {"price": {"gte": 10, "lt": 50}}},
            {"not": {"exists": "sale"}},
            {"or": [{"prefix": {"name": "Sun"}}]},
        ]
    }
    expected = And(
        (
            Equal("colour", "Red"),
            OneOf("size", ("M", "L")),
            Range("price", low=10.0, high=50.0, high_in=False),
            Not(Exists("sale")),
            Or((Prefix("name", "Sun"),)),
        )
    )
    assert from_json(data) == expected
    assert to_json(expected) == data


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "colour=Red",
        {},
        {"eq": {"colour": "Red"}, "not": {}},
        {"and": {"eq": {"a": 1}}},
        {"like": {"a": "b"}},
        {"eq": "colour"},
        {"eq": {"colour": "Red", "size": "M"}},
        {"eq": {"colour": None}},
        {"eq": {"colour": ["Red"]}},
        {"eq": {"price": float("inf")}},
        {"in": {"colour": "Red"}},
        {"exists": {"colour": True}},
        {"prefix": {"colour": 1}},
        {"range": {"price": 5}},
        {"range": {"price": {}}},
        {"range": {"price": {"from": 5}}},
        {"range": {"price": {"gt": 5, "gte": 5}}},
        {"not": [{"exists": "a"}]},
    ],
)
def test_json_that_is_no_filter_is_refused_in_a_sentence(data: object) -> None:
    with pytest.raises(BadFilter) as error:
        from_json(data)
    assert str(error.value).endswith(".")


def test_json_nested_beyond_reason_is_refused() -> None:
    deep: dict[str, object] = {"exists": "a"}
    for _ in range(MAX_DEPTH):
        deep = {"not": deep}
    with pytest.raises(BadFilter, match="nested deeper"):
        from_json(deep)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["and", "or", "not", "eq", "in", "range", "gte", "lt", "a"]), inner, max_size=2
        )
    ),
    max_leaves=8,
)


@given(json_values)
def test_no_json_can_break_the_reader(data: object) -> None:
    try:
        filter = from_json(data)
    except BadFilter:
        return
    assert from_json(to_json(filter)) == filter
