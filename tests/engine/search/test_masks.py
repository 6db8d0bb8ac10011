from datetime import datetime

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.catalogue.schema import Facet, FacetType, Product
from engine.search.filters import Equal, Exists, Prefix, bind, matches
from engine.search.masks import any_per_row, as_number, mask
from tests.engine.search.strategies import TIMES, filters, products, schemas, table_of


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_mask_says_of_every_product_what_matches_says(data: st.DataObject) -> None:
    schema = data.draw(schemas())
    several = data.draw(products(schema))
    table = table_of(schema, several)
    for filter in data.draw(st.lists(filters(schema), min_size=1, max_size=4)):
        expected = [matches(filter, product.facets) for product in several]
        assert mask(bind(filter, schema), table).tolist() == expected, filter
        # and what comes out of the columns is what went in
        assert [matches(filter, table.facets_of(place)) for place in range(len(several))] == expected


def test_times_a_microsecond_apart_are_told_apart() -> None:
    schema = (Facet("added", FacetType.TIME),)
    table = table_of(schema, [Product(f"p{place}", None, {"added": time}) for place, time in enumerate(TIMES)])
    for place, time in enumerate(TIMES):
        assert np.flatnonzero(mask(Equal("added", time), table)).tolist() == [place]
        assert datetime.fromtimestamp(as_number(time), time.tzinfo) == time


def test_prefix_takes_a_slice_of_the_sorted_words() -> None:
    schema = (Facet("name", FacetType.KEYWORD),)
    words = ["Su", "Sum", "Sun", "Sunday", "Sunny", "Suo", "s", "\U0010ffffx"]
    table = table_of(schema, [Product(f"p{place}", None, {"name": word}) for place, word in enumerate(words)])
    assert mask(Prefix("name", "Sun"), table).tolist() == [False, False, True, True, True, False, False, False]
    assert mask(Prefix("name", "\U0010ffff"), table).tolist() == [False] * 7 + [True]
    assert mask(Prefix("name", ""), table).all()


def test_facet_that_nobody_has() -> None:
    schema = tuple(Facet(kind.value, kind) for kind in FacetType)
    table = table_of(schema, [Product("a"), Product("b")])
    for facet in schema:
        assert not mask(Exists(facet.name), table).any()


def test_any_per_row_with_empty_rows() -> None:
    flags = np.array([True, False, False, True])
    assert any_per_row(flags, np.array([0, 0, 1, 3, 4, 4])).tolist() == [False, True, False, True, False]
