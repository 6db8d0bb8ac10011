from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine.catalogue.schema import Facet, FacetType
from engine.search.filter_json import from_json
from engine.search.filters import bind, matches
from webui.page.choices import Choices, Span

FACETS = (
    Facet("colour", FacetType.KEYWORD),
    Facet("style", FacetType.KEYWORDS),
    Facet("price", FacetType.NUMBER),
    Facet("sale", FacetType.BOOLEAN),
    Facet("added", FacetType.TIME),
)
TYPES = {facet.name: facet.type for facet in FACETS}
COLOURS, STYLES = ["Red", "Blue", "Green"], ["plain", "striped"]

products = st.fixed_dictionaries(
    {},
    optional={
        "colour": st.sampled_from(COLOURS),
        "style": st.lists(st.sampled_from(STYLES), min_size=1, unique=True).map(lambda some: tuple(sorted(some))),
        "price": st.integers(0, 20).map(float),
        "sale": st.booleans(),
    },
)
presses = st.lists(
    st.one_of(
        st.tuples(st.just("colour"), st.sampled_from(COLOURS)),
        st.tuples(st.just("style"), st.sampled_from(STYLES)),
        st.tuples(st.just("sale"), st.sampled_from(["true", "false"])),
    ),
    max_size=6,
)
ends = st.one_of(st.none(), st.integers(0, 20).map(str))


def passes(choices: Choices, product: dict[str, Any]) -> bool:
    filter = choices.filter(TYPES)
    return filter is None or matches(bind(from_json(filter), FACETS), product)


@given(presses, ends, ends, products)
def test_choices_within_a_facet_are_ored_and_across_facets_anded(
    pressed: list[tuple[str, str]], low: str | None, high: str | None, product: dict[str, Any]
) -> None:
    choices = Choices().with_span("price", Span(low, high))
    for facet, value in pressed:
        choices = choices.toggle(facet, value)
    picked = {press for press in pressed if pressed.count(press) % 2}

    def has(facet: str, value: str) -> bool:
        own = product.get(facet)
        return value in own if isinstance(own, tuple) else own == {"true": True, "false": False}.get(value, value)

    for facet in {facet for facet, _ in picked}:
        if not any(has(facet, value) for name, value in picked if name == facet):
            assert not passes(choices, product)
            return
    price = product.get("price")
    out_of_range = (low, high) != (None, None) and (
        price is None or (low is not None and price < float(low)) or (high is not None and price > float(high))
    )
    assert passes(choices, product) != out_of_range


def test_nothing_picked_is_no_filter() -> None:
    assert Choices().filter(TYPES) is None
    assert not Choices().toggle("colour", "Red").toggle("colour", "Red")
    assert not Choices().with_span("price", Span("1", None)).with_span("price", Span())


def test_the_last_day_of_a_time_range_is_in() -> None:
    choices = Choices().with_span("added", Span("2026-05-01", "2026-05-02"))
    assert passes(choices, {"added": datetime(2026, 5, 2, 23, 59, tzinfo=UTC)})
    assert not passes(choices, {"added": datetime(2026, 5, 3, tzinfo=UTC)})
    assert not passes(choices, {"added": datetime(2026, 4, 30, 23, 59, tzinfo=UTC)})


def test_an_end_that_is_no_date_is_left_for_the_api_to_refuse() -> None:
    span = Choices().with_span("added", Span(None, "soon")).filter(TYPES)
    assert span == {"and": [{"range": {"added": {"lt": "soon"}}}]}


def test_a_range_reads_as_one() -> None:
    assert Span("10", "50").label() == "10 \N{EN DASH} 50"
    assert Span("10", None).label() == "from 10"
    assert Span(None, "50").label() == "up to 50"
