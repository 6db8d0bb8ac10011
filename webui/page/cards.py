"""Products as cards: picture, title, facets, price, similarity."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.catalogue.schema import FacetType
from webui.page.markup import number, words
from webui.wire import Card, WireFacetValue

LINE_PARTS = 3  # facets in the grey line of a card; all of them are in its tooltip
PRICE, CURRENCY = "price", "currency"


@dataclass(frozen=True, slots=True)
class CardView:
    """A card, ready to be shown. `filled` is how much of the similarity bar is green, 0 to 100."""

    product_id: str
    photo_id: int
    title: str
    line: str
    all_facets: str
    price: str | None
    score: float
    filled: int


def view(card: Card, types: Mapping[str, FacetType], telling: Sequence[str]) -> CardView:
    """The card, with the facets that tell products apart first in its line; without a title it shows its id."""
    order = dict.fromkeys([*(name for name in telling if name in card.facets), *card.facets])
    shown = [name for name in order if name.lower() not in (PRICE, CURRENCY)]
    parts = [_in_line(words(name), card.facets[name], types.get(name)) for name in shown]
    return CardView(
        product_id=card.product_id,
        photo_id=card.photo_id,
        title=card.title or card.product_id,
        line=" · ".join(parts[:LINE_PARTS]),
        all_facets=", ".join(f"{words(name)}: {_plain(value)}" for name, value in card.facets.items()),
        price=price(card.facets),
        score=card.score,
        filled=round(100 * min(max(card.score, 0.0), 1.0)),
    )


def price(facets: Mapping[str, WireFacetValue]) -> str | None:
    """The price with two decimals, and its currency where the catalogue names one; None without a price."""
    by_name = {name.lower(): value for name, value in facets.items()}
    amount, currency = by_name.get(PRICE), by_name.get(CURRENCY)
    if not isinstance(amount, float):
        return None
    return f"{amount:,.2f} {currency}" if isinstance(currency, str) else f"{amount:,.2f}"


def _in_line(name: str, value: WireFacetValue, type: FacetType | None) -> str:
    """A value that is understood without its facet's name, which a truth or a bare number is not."""
    if isinstance(value, bool):
        return name if value else f"not {name}"
    if isinstance(value, float) and name.lower() != "year":
        return f"{name} {number(value)}"
    return _plain(value)[:10] if type == FacetType.TIME else _plain(value)


def _plain(value: WireFacetValue) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value)
    return ", ".join(value) if isinstance(value, list) else value
