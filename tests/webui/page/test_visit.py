import base64

import pytest

from engine.errors import BadCall, BadImage
from engine.settings import settings
from webui.page.actions import read_action
from webui.page.choices import Span
from webui.page.visit import FIRST_PRODUCTS, MOST_PRODUCTS, Question, Visit

PHOTO = {"do": "photo", "photo": base64.b64encode(b"jpeg").decode()}
FROM = {"do": "from", "product_id": "sku-1", "photo_id": 7}
RED = {"do": "toggle", "facet": "colour", "value": "Red"}


def after(*events: dict[str, object]) -> Question:
    question = Question()
    for event in events:
        question = question.after(read_action(event))
    return question


def test_a_new_picture_keeps_the_filter_and_drops_the_box() -> None:
    question = after(PHOTO, {"do": "box", "box": [0.1, 0.2, 0.9, 1]}, RED, {"do": "more"}, FROM)
    assert (question.photo, question.product_id, question.photo_id, question.box) == (None, "sku-1", 7, None)
    assert question.choices.has("colour", "Red")
    assert question.k == FIRST_PRODUCTS


def test_clearing_drops_the_filter_and_keeps_the_picture() -> None:
    question = after(PHOTO, RED, {"do": "range", "facet": "price", "low": "5"}, {"do": "clear"})
    assert question.photo == b"jpeg"
    assert not question.choices


def test_a_range_with_blank_ends_is_taken_away() -> None:
    assert after({"do": "range", "facet": "price", "low": " 5 ", "high": ""}).choices.spans["price"] == Span("5", None)
    assert not after({"do": "range", "facet": "price", "low": "5"}, {"do": "range", "facet": "price"}).choices


def test_more_products_end_somewhere() -> None:
    assert after(PHOTO, *[{"do": "more"}] * 50).k == MOST_PRODUCTS


@pytest.mark.parametrize(
    "event",
    [
        None,
        [],
        {},
        {"do": "everything"},
        {"do": "photo", "photo": "not base64!"},
        {"do": "from", "product_id": "", "photo_id": 7},
        {"do": "from", "product_id": "sku-1", "photo_id": "../7"},
        {"do": "box", "box": [0, 0, 2, 1]},
        {"do": "toggle", "facet": "colour"},
        {"do": "clear", "and": "more"},
    ],
)
def test_what_no_page_of_ours_sends_is_refused(event: object) -> None:
    with pytest.raises(BadCall, match="reload"):
        read_action(event)


def test_a_photo_too_large_to_keep_is_refused() -> None:
    photo = base64.b64encode(bytes(settings().max_photo_bytes + 1)).decode()
    with pytest.raises(BadImage, match="smaller"):
        read_action({"do": "photo", "photo": photo})


def test_every_action_is_a_turn() -> None:
    visit = Visit()
    turn, question = visit.take(read_action(PHOTO))
    assert (turn, visit.turn, question) == (1, 1, visit.question)
    visit.take(read_action(RED))
    assert visit.turn == 2


def test_suggestions_stay_until_the_picture_changes() -> None:
    visit = Visit()
    made: list[str] = []

    def suggested(question: Question) -> object:
        return visit.suggested(question, lambda: {"made": (made.append("x") or str(len(made)),)})["made"]

    assert suggested(after(PHOTO)) == ("1",)
    assert suggested(after(PHOTO, RED)) == ("1",)
    assert suggested(after(PHOTO, {"do": "box", "box": [0, 0, 0.5, 1]})) == ("2",)
    assert suggested(after(FROM)) == ("3",)
