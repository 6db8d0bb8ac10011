"""Products and their facets come back from the file as the schema types them; columns agree with plain Python."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.catalogue.schema import Facet, FacetType, Product
from engine.errors import DamagedFile
from engine.storage.products import Products, write_products

FACETS = (
    Facet("colour", FacetType.KEYWORD),
    Facet("tags", FacetType.KEYWORDS),
    Facet("price", FacetType.NUMBER),
    Facet("sale", FacetType.BOOLEAN),
    Facet("since", FacetType.TIME),
    Facet("title", FacetType.KEYWORD),  # a facet may be called as a column is
)
WORDS = st.sampled_from(["Red", "red", "Blue", "ÄÖ", "", "a b", "日本", "z" * 50])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "colour": WORDS,
    "title": WORDS,
    "tags": st.sets(WORDS, min_size=1).map(lambda words: tuple(sorted(words))),
    "price": st.floats(allow_nan=False),
    "sale": st.booleans(),
    "since": st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
}
IDS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=8)
CATALOGUES = st.dictionaries(
    IDS, st.tuples(st.none() | WORDS, st.fixed_dictionaries({}, optional=VALUES)), max_size=12
).map(lambda drawn: [Product(key, title, facets) for key, (title, facets) in sorted(drawn.items())])


def written(directory: Path, products: list[Product]) -> Products:
    write_products(directory / "products.arrow", products, FACETS)
    return Products.open(directory / "products.arrow", FACETS)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CATALOGUES)
def test_products_come_back_as_they_were(tmp_path: Path, products: list[Product]) -> None:
    found = written(tmp_path, products)
    assert found.count == len(products)
    for ordinal, product in enumerate(products):
        assert found.product_id(ordinal) == product.product_id
        assert found.ordinal(product.product_id) == ordinal
        assert found.title(ordinal) == product.title
        assert found.facets_of(ordinal) == product.facets


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CATALOGUES)
def test_columns_say_what_the_products_say(tmp_path: Path, products: list[Product]) -> None:
    table = written(tmp_path, products).facets
    colours, codes = table.keyword_values("colour"), table.keyword_codes("colour")
    assert list(colours) == sorted({p.facets["colour"] for p in products if "colour" in p.facets})
    assert [None if code < 0 else colours[code] for code in codes] == [p.facets.get("colour") for p in products]
    tags, offsets, tag_codes = (
        table.keyword_values("tags"),
        table.keywords_offsets("tags"),
        table.keywords_codes("tags"),
    )
    assert len(offsets) == len(products) + 1
    for ordinal, product in enumerate(products):
        own = tuple(tags[code] for code in tag_codes[offsets[ordinal] : offsets[ordinal + 1]])
        assert own == product.facets.get("tags", ())
        assert_number(table.numbers("price")[ordinal], product.facets.get("price"))
        assert_number(table.numbers("sale")[ordinal], product.facets.get("sale"))
        since = product.facets.get("since")
        assert_number(table.numbers("since")[ordinal], since.timestamp() if isinstance(since, datetime) else None)


def assert_number(found: float, expected: Any) -> None:
    assert np.isnan(found) if expected is None else found == expected


def test_times_a_microsecond_apart_stay_apart(tmp_path: Path) -> None:
    moments = [datetime(2026, 11, 21, 12, 0, 0, micro, tzinfo=UTC) for micro in (999_998, 999_999)]
    table = written(tmp_path, [Product(str(at), None, {"since": moment}) for at, moment in enumerate(moments)]).facets
    assert table.numbers("since").tolist() == [moment.timestamp() for moment in moments]
    assert len(set(table.numbers("since"))) == 2


def test_no_tags_at_all_is_no_value(tmp_path: Path) -> None:
    found = written(tmp_path, [Product("a", None, {"tags": ()})])
    assert found.facets_of(0) == {}


@pytest.mark.parametrize("product_id", ["", "0", "aa", "b0", "zz", "é"])
def test_a_product_that_is_not_there_has_no_ordinal(product_id: str, tmp_path: Path) -> None:
    assert written(tmp_path, [Product("a"), Product("b"), Product("c")]).ordinal(product_id) is None


def test_columns_outlive_their_file(tmp_path: Path) -> None:
    found = written(tmp_path, [Product("a", "A", {"colour": "Red"})])
    (tmp_path / "products.arrow").unlink()
    assert found.title(0) == "A"
    assert found.facets_of(0) == {"colour": "Red"}


def test_a_file_of_other_facets_is_damage(tmp_path: Path) -> None:
    write_products(tmp_path / "products.arrow", [Product("a")], FACETS[:1])
    with pytest.raises(DamagedFile, match=r"products\.arrow"):
        Products.open(tmp_path / "products.arrow", FACETS)


def test_a_file_of_rubbish_is_damage(tmp_path: Path) -> None:
    (tmp_path / "products.arrow").write_bytes(b"rubbish" * 100)
    with pytest.raises(DamagedFile, match=r"products\.arrow"):
        Products.open(tmp_path / "products.arrow", FACETS)
