"""Random schemas, products and filters over them, for tests that hold two readings of a filter together."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pyarrow as pa
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from engine.catalogue.schema import Facet, FacetType, FacetValue, Product
from engine.search.filters import And, Equal, Exists, Filter, Not, OneOf, Or, Prefix, Range, Value
from engine.storage.facets import PREFIX, facet_column
from engine.storage.products import Products

WORDS = ("", "A", "Ab", "Abe", "B", "a", "é", "Red", "Re", "10..20", "x|y", "*")
NUMBERS = (-1.5, 0.0, 1.0, 2.0, 2.0000000001, 50.0, 1e12)
START = datetime(2020, 1, 1, tzinfo=UTC)
TIMES = tuple(START + timedelta(microseconds=step) for step in (0, 1, 2, 10**6, 86_400_000_000, 10**15))

SCHEMA = (
    Facet("colour", FacetType.KEYWORD),
    Facet("tags", FacetType.KEYWORDS),
    Facet("price", FacetType.NUMBER),
    Facet("sale", FacetType.BOOLEAN),
    Facet("added", FacetType.TIME),
)


def schemas() -> SearchStrategy[tuple[Facet, ...]]:
    types = st.lists(st.sampled_from(FacetType), min_size=1, max_size=5)
    return types.map(lambda kinds: tuple(Facet(f"f{place}", kind) for place, kind in enumerate(kinds)))


def products(schema: Sequence[Facet], max_size: int = 12) -> SearchStrategy[list[Product]]:
    """Products whose ids rise, each lacking some facets."""
    facets = st.fixed_dictionaries({}, optional={facet.name: _facet_values(facet.type) for facet in schema})
    return st.lists(facets, min_size=1, max_size=max_size).map(
        lambda several: [Product(f"p{place:04d}", None, values) for place, values in enumerate(several)]
    )


def _facet_values(kind: FacetType) -> SearchStrategy[FacetValue]:
    if kind is FacetType.KEYWORDS:
        words = st.sets(st.sampled_from(WORDS), min_size=1, max_size=3)
        return words.map(lambda chosen: tuple(sorted(chosen)))
    return _values(kind)


def _values(kind: FacetType) -> SearchStrategy[Value]:
    match kind:
        case FacetType.NUMBER:
            return st.sampled_from(NUMBERS)
        case FacetType.BOOLEAN:
            return st.booleans()
        case FacetType.TIME:
            return st.sampled_from(TIMES)
        case _:
            return st.sampled_from(WORDS)


def table_of(schema: Sequence[Facet], several: Sequence[Product]) -> Products:
    """The products as an index holds them, in memory."""
    columns = {"product_id": pa.array([product.product_id for product in several]), "title": pa.nulls(len(several))}
    for facet in schema:
        values = [product.facets.get(facet.name) for product in several]
        columns[PREFIX + facet.name] = facet_column(facet.type, values)
    return Products(pa.table(columns), schema)


def filters(schema: Sequence[Facet]) -> SearchStrategy[Filter]:
    """Bound filters over the facets of a schema."""
    leaves = st.sampled_from(list(schema)).flatmap(_leaves)
    return st.recursive(leaves, _branches, max_leaves=6)


def _branches(parts: SearchStrategy[Filter]) -> SearchStrategy[Filter]:
    several = st.lists(parts, max_size=3).map(tuple)
    return st.one_of(several.map(And), several.map(Or), parts.map(Not))


def _leaves(facet: Facet) -> SearchStrategy[Filter]:
    value = _values(facet.type)
    forms: list[SearchStrategy[Filter]] = [
        st.just(Exists(facet.name)),
        value.map(lambda one: Equal(facet.name, one)),
        st.lists(value, max_size=3).map(lambda several: OneOf(facet.name, tuple(several))),
    ]
    if facet.type in (FacetType.KEYWORD, FacetType.KEYWORDS):
        forms.append(st.sampled_from(WORDS).map(lambda text: Prefix(facet.name, text)))
    if facet.type in (FacetType.NUMBER, FacetType.TIME):
        forms.append(_ranges(facet.name, value))
    return st.one_of(forms)


def _ranges(name: str, value: SearchStrategy[Value]) -> SearchStrategy[Filter]:
    both = st.builds(Range, st.just(name), value, value, st.booleans(), st.booleans())
    # the side of an end that is not there has one spelling only
    low = st.builds(lambda end, end_in: Range(name, low=end, low_in=end_in), value, st.booleans())
    high = st.builds(lambda end, end_in: Range(name, high=end, high_in=end_in), value, st.booleans())
    return st.one_of(both, low, high)
