import base64
from io import BytesIO

import httpx
import numpy as np
import pytest
from PIL import Image

from engine.search.query import Query, SearchResult
from tests.webui.page.conftest import client_of
from tests.webui.page.small_shop import COLOURS, NASTY_TITLE, SmallShop, draw, drawn_shop
from webui.api.app import create_app
from webui.client import Client
from webui.page.overview import EXAMPLES, OverviewReader
from webui.page.responder import Responder, Shown
from webui.page.visit import Visit
from webui.service import SearchService


def photo_event(image: Image.Image) -> dict[str, str]:
    file = BytesIO()
    image.save(file, "PNG")
    return {"do": "photo", "photo": base64.b64encode(file.getvalue()).decode()}


def a_mug() -> Image.Image:
    return draw("Mug", COLOURS["Red"], np.random.default_rng(5))


def show(responder: Responder, visit: Visit, *events: object) -> Shown:
    shown = None
    for event in events:
        shown = responder.reply(visit, event)
    assert shown is not None
    return shown


def test_a_fresh_page_counts_the_products_and_offers_examples(client: Client) -> None:
    shown = Responder(client).start()
    assert "60 products" in shown.header
    assert shown.answer.count("data-ask") == EXAMPLES
    assert "Show us a photo" in shown.answer


def test_examples_are_of_every_kind(client: Client) -> None:
    examples = OverviewReader(client).read().examples
    assert len({card.product_id for card in examples}) == EXAMPLES
    assert {card.facets["category"] for card in examples} == {"Mug", "Lamp", "Chair", "Bag", "Vase"}


def test_the_overview_is_read_again_for_another_generation_only() -> None:
    shop = drawn_shop(10)
    reader = OverviewReader(client_of(shop))
    first = reader.read()
    assert reader.read() is first
    shop.generation = "000002"
    assert reader.read().generation == "000002"


def test_a_photo_is_answered_with_similarity_and_no_probability(client: Client) -> None:
    shown = show(Responder(client), Visit(), photo_event(a_mug()))
    assert "The same product" in shown.answer
    assert "similarity" in shown.answer
    assert "sure" not in shown.answer
    assert "We see" in shown.seen
    assert shown.photo is None


def test_titles_are_text_whatever_they_hold(client: Client) -> None:
    shown = show(Responder(client), Visit(), {"do": "from", "product_id": "sku-1", "photo_id": 1})
    assert NASTY_TITLE.startswith("<script>")
    assert "<script" not in shown.answer
    assert "&lt;script&gt;" in shown.answer


def test_the_filter_tells_how_many_pass(client: Client, shop: SmallShop) -> None:
    mugs = sum(thing.facets["category"] == "Mug" for thing in shop.things)
    toggle = {"do": "toggle", "facet": "category", "value": "Mug"}
    shown = show(Responder(client), Visit(), photo_event(a_mug()), toggle)
    assert f"{mugs} of 60 pass your filter" in shown.answer


def test_an_error_is_one_sentence_and_the_filter_can_be_cleared(client: Client) -> None:
    visit = Visit()
    no_photo = {"do": "photo", "photo": base64.b64encode(b"hello").decode()}
    toggle = {"do": "toggle", "facet": "category", "value": "Mug"}
    shown = show(Responder(client), visit, toggle, no_photo)
    assert 'role="alert"' in shown.answer
    assert "clear the filter" in shown.answer
    assert "60 products" in shown.header


def test_an_api_that_is_away_is_said_and_found_again(shop: SmallShop) -> None:
    away = True

    def answer(request: httpx.Request) -> httpx.Response:
        if away:
            raise httpx.ConnectError("refused", request=request)
        return there.handle_request(request)

    there = httpx.WSGITransport(app=create_app(SearchService(shop)))
    responder, visit = Responder(Client("http://127.0.0.1", transport=httpx.MockTransport(answer))), Visit()
    shown = responder.start()
    assert "does not answer" in shown.answer
    assert "products" not in shown.header
    away = False
    shown = show(responder, visit, {"do": "again"})
    assert "Show us a photo" in shown.answer
    assert "60 products" in shown.header


def test_what_the_page_does_not_understand_is_said(client: Client) -> None:
    assert "reload" in show(Responder(client), Visit(), {"do": "dance"}).answer


def test_a_part_of_a_catalogue_photo_is_searched_from_as_a_photo(client: Client) -> None:
    visit, responder = Visit(), Responder(client)
    whole = show(responder, visit, {"do": "from", "product_id": "sku-4", "photo_id": 4})
    part = show(responder, visit, {"do": "box", "box": [0, 0, 0.5, 0.5]})
    assert whole.photo == part.photo == "photos/4?side=640"
    assert "<strong>1.00</strong>" in whole.answer
    assert "<strong>1.00</strong>" not in part.answer


def test_an_answer_to_an_older_turn_is_not_shown(shop: SmallShop) -> None:
    visit = Visit()

    class Overtaken(SmallShop):
        """While a search is under way, the shopper does something else."""

        def search(self, query: Query) -> SearchResult:
            visit.turn += 1
            return super().search(query)

    responder = Responder(client_of(Overtaken(shop.things, shop.facets)))
    assert responder.reply(visit, photo_event(a_mug())) is None


@pytest.mark.parametrize("count", [1, 3])
def test_a_tiny_catalogue_is_served_all_the_same(count: int) -> None:
    responder = Responder(client_of(drawn_shop(count)))
    assert f"{count} product" in responder.start().header
    shown = show(responder, Visit(), photo_event(a_mug()))
    assert "The same product" in shown.answer
    assert ("Nothing else" in shown.answer) == (count == 1)
