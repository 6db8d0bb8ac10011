"""The parts of the page as HTML: pure functions of what the API answered and what the shopper picked."""

from collections.abc import Mapping, Sequence

from webui.page.cards import CardView, view
from webui.page.markup import render
from webui.page.overview import Overview
from webui.page.pills import arrange
from webui.page.suggest import telling_first
from webui.page.visit import MOST_PRODUCTS, Question
from webui.wire import Card, FacetsAnswer, Prediction, SearchAnswer

MOST_SEEN = 6  # predictions shown


def header(products: int | None) -> str:
    """The bar at the top; without a number while the API does not answer."""
    return render("header.html", products=products)


def welcome(overview: Overview) -> str:
    """What stands in place of an answer before there is a photo."""
    return render("welcome.html", examples=_examples(overview))


def examples(overview: Overview) -> str:
    """The examples by themselves, for beneath the photo."""
    return render("examples.html", examples=_examples(overview))


def seen(predictions: Sequence[Prediction]) -> str:
    """What the model takes the photo for, surest first; what two heads agree on is said once."""
    rising = sorted(predictions, key=lambda prediction: prediction.probability)
    by_label = {prediction.label: prediction for prediction in rising}
    surest = sorted(by_label.values(), key=lambda prediction: -prediction.probability)
    return render("seen.html", predictions=surest[:MOST_SEEN])


def notice(sentence: str, question: Question) -> str:
    """One calm sentence in place of an answer, and the ways out of it."""
    return render("notice.html", sentence=sentence, filtered=bool(question.choices))


def answer(
    found: SearchAnswer,
    facets: FacetsAnswer,
    question: Question,
    overview: Overview,
    suggested: Mapping[str, Sequence[str]],
    *,
    feedback: bool,
) -> str:
    """The same product above products like it, the pills between them, and how it was answered below; with `feedback`
    also what can be told of it."""
    same, alike = cards_of(found)
    telling = telling_first(same + alike, overview)
    return render(
        "answer.html",
        same=view(same[0], overview.types, telling) if same else None,
        cards=[view(card, overview.types, telling) for card in alike],
        matching=found.matching,
        products=found.products,
        filtered=bool(question.choices),
        pills=arrange(facets.facets, question.choices, overview, suggested),
        more=len(alike) >= question.k and question.k < MOST_PRODUCTS,
        plan=found.plan,
        request_id=found.request_id if feedback else "",
    )


def told(sentence: str) -> str:
    """One line about what was told."""
    return render("told.html", sentence=sentence)


def cards_of(found: SearchAnswer) -> tuple[list[Card], list[Card]]:
    """The same product, if any, as a list of its own; and the products like it."""
    return (found.exact.products[:1] if found.exact else []), (found.similar.products if found.similar else [])


def _examples(overview: Overview) -> list[CardView]:
    return [view(card, overview.types, overview.offered) for card in overview.examples]
