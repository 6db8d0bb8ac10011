from engine.catalogue.schema import FacetType
from webui.page.overview import Overview
from webui.page.suggest import FACETS, suggest, telling_first
from webui.wire import Card, WireFacetValue

NAMES = ("department", "colour", "style", "year", "gender", "usage", "season")
OVERVIEW = Overview(
    generation="000001",
    products=100,
    types={name: FacetType.NUMBER if name == "year" else FacetType.KEYWORD for name in NAMES},
    offered=NAMES,
    examples=(),
)


def card(**facets: WireFacetValue) -> Card:
    return Card(product_id="sku", title=None, facets=facets, score=0.5, photo_id=1, photo="/photos/1")


CARDS = [
    card(department="Home", colour="Red", style=["plain", "round"], year=2011.0),
    card(department="Home", colour="Blue", style=["plain"], year=2012.0),
    card(department="Home", colour="Blue", style=["plain"], year=2012.0),
]


def test_facets_on_which_products_differ_come_first() -> None:
    assert telling_first(CARDS, OVERVIEW) == ("colour", "style", "year", "department", "gender", "usage", "season")


def test_the_most_frequent_values_near_the_photo_are_suggested() -> None:
    suggested = suggest(CARDS, OVERVIEW)
    assert suggested["colour"] == ("Blue", "Red")
    assert suggested["style"] == ("plain", "round")
    assert suggested["department"] == ("Home",)


def test_only_some_facets_with_values_are_suggested() -> None:
    suggested = suggest(CARDS, OVERVIEW)
    assert len(suggested) == FACETS
    assert "year" not in suggested


def test_truths_are_suggested_as_filters_name_them() -> None:
    overview = Overview("000001", 2, {"sale": FacetType.BOOLEAN}, ("sale",), ())
    assert suggest([card(sale=True), card(sale=True), card(sale=False)], overview) == {"sale": ("true", "false")}


def test_a_word_that_two_facets_have_is_suggested_once() -> None:
    overview = Overview("000001", 2, dict.fromkeys(("category", "type"), FacetType.KEYWORD), ("category", "type"), ())
    cards = [card(category="Watches", type="Watches"), card(category="Bags", type="Clutches")]
    assert suggest(cards, overview) == {"category": ("Watches", "Bags"), "type": ("Clutches",)}
