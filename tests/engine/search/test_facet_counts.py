from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.catalogue.schema import Facet, FacetType, Product
from engine.search.facet_counts import Part, summarise, without
from engine.search.filters import And, Equal, Exists, Filter, Not, Or, matches, values_of
from engine.search.masks import mask
from tests.engine.search.strategies import SCHEMA, filters, products, table_of

RED, BLUE, LARGE = Equal("colour", "Red"), Equal("colour", "Blue"), Equal("size", "L")


@pytest.mark.parametrize(
    ("filter", "rest"),
    [
        (None, None),
        (RED, None),
        (Not(RED), None),
        (LARGE, LARGE),
        (And((RED, LARGE)), LARGE),
        (And((Or((RED, BLUE)), LARGE, Exists("size"))), And((LARGE, Exists("size")))),
        (And((RED, BLUE)), None),
        (Or((RED, LARGE)), Or((RED, LARGE))),  # not about the colour alone
    ],
)
def test_own_clauses_are_taken_out(filter: Filter | None, rest: Filter | None) -> None:
    assert without(filter, "colour") == rest


@settings(max_examples=25, deadline=None)
@given(products(SCHEMA), st.none() | filters(SCHEMA), st.integers(1, 4), st.integers(0, 12))
def test_counts_are_those_of_counting(several: list[Product], filter: Filter | None, limit: int, cut: int) -> None:
    tables = [table_of(SCHEMA, part) for part in (several[:cut], several[cut:]) if part]

    def passing(facet: str) -> list[Part]:
        rest = without(filter, facet) or And(())
        return [(table.facets, mask(rest, table)) for table in tables]

    for summary in summarise(SCHEMA, passing, limit):
        rest = without(filter, summary.name)
        counted = [product for product in several if rest is None or matches(rest, product.facets)]
        cells = [values_of(product.facets.get(summary.name)) for product in counted]
        counts = Counter(value for values in cells for value in values)
        assert summary.missing == sum(not values for values in cells)
        assert summary.distinct == len(counts)
        if summary.type in (FacetType.NUMBER, FacetType.TIME):
            ends = (min(counts, default=None), max(counts, default=None))
            assert (summary.values, summary.minimum, summary.maximum) == ((), *ends)
        else:
            order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
            assert summary.values == tuple(order[:limit])
            assert (summary.minimum, summary.maximum) == (None, None)


def test_facet_without_products() -> None:
    facet = Facet("colour", FacetType.KEYWORD)
    table = table_of(SCHEMA, [Product("a", None, {"colour": "Red"})])
    (summary,) = summarise((facet,), lambda _: [(table.facets, mask(Or(()), table))], 5)
    assert (summary.values, summary.distinct, summary.missing) == ((), 0, 0)
