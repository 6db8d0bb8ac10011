from engine.catalogue.schema import FacetType
from webui.page.cards import price, view
from webui.wire import Card, WireFacetValue

TYPES = {
    "colour": FacetType.KEYWORD,
    "style": FacetType.KEYWORDS,
    "price": FacetType.NUMBER,
    "year": FacetType.NUMBER,
    "height": FacetType.NUMBER,
    "sale": FacetType.BOOLEAN,
    "added": FacetType.TIME,
}


def card(title: str | None = "A chair", score: float = 0.93, **facets: WireFacetValue) -> Card:
    return Card(product_id="sku-1", title=title, facets=facets, score=score, photo_id=7, photo="/photos/7")


def line(telling: tuple[str, ...] = (), **facets: WireFacetValue) -> str:
    return view(card(**facets), TYPES, telling).line


def test_a_product_without_a_title_shows_its_id() -> None:
    assert view(card(title=None), TYPES, ()).title == "sku-1"


def test_the_line_begins_with_the_facets_that_tell_products_apart() -> None:
    assert line(("style", "year"), colour="Red", style=["plain", "round"], year=2011.0) == "plain, round · 2011 · Red"


def test_values_are_understood_without_their_facet() -> None:
    assert line(sale=True, height=80.0, added="2026-05-01T00:00:00+00:00") == "sale · height 80 · 2026-05-01"
    assert line(sale=False) == "not sale"


def test_a_price_stands_by_itself() -> None:
    shown = view(card(colour="Red", price=1039.9), TYPES, ())
    assert (shown.line, shown.price) == ("Red", "1,039.90")
    assert price({"Price": 5.0, "currency": "EUR"}) == "5.00 EUR"
    assert price({"price": "ask us"}) is None
    assert price({"price": True}) is None
    assert price({}) is None


def test_the_bar_stays_within_its_ends() -> None:
    assert [view(card(score=score), TYPES, ()).filled for score in (-0.5, 0.5, 1.0004)] == [0, 50, 100]
