"""The parts of the page as HTML: pure functions of what the API answered and what the shopper picked."""

from collections.abc import Sequence

from webui.page.cards import view
from webui.page.markup import render
from webui.page.overview import Overview
from webui.page.pills import arrange
from webui.page.visit import MOST_PRODUCTS, Question
from webui.wire import Card, FacetsAnswer, Prediction, SearchAnswer

MOST_SEEN = 6  # predictions shown


def header(products: int | None) -> str:
    """The bar at the top; without a number while the API does not answer."""
    return render("header.html", products=products)


def welcome(overview: Overview) -> str:
    """What stands in place of an answer before there is a photo."""
    return render("welcome.html", examples=[view(card, overview) for card in overview.examples])


def examples(overview: Overview) -> str:
    """The examples by themselves, for beneath the photo."""
    return render("examples.html", examples=[view(card, overview) for card in overview.examples])


def seen(predictions: Sequence[Prediction]) -> str:
    """What the model takes the photo for, surest first."""
    surest = sorted(predictions, key=lambda prediction: -prediction.probability)
    return render("seen.html", predictions=surest[:MOST_SEEN])


def notice(sentence: str, question: Question) -> str:
    """One calm sentence in place of an answer, and the ways out of it."""
    return render("notice.html", sentence=sentence, filtered=bool(question.choices))


def answer(found: SearchAnswer, facets: FacetsAnswer, question: Question, overview: Overview) -> str:
    """The same product above products like it, the pills between them, and how it was answered below."""
    same: list[Card] = found.exact.products[:1] if found.exact else []
    alike: list[Card] = found.similar.products if found.similar else []
    return render(
        "answer.html",
        same=view(same[0], overview) if same else None,
        cards=[view(card, overview) for card in alike],
        matching=found.matching,
        products=found.products,
        filtered=bool(question.choices),
        pills=arrange(facets.facets, question.choices, overview, _labels(found.predictions)),
        more=len(alike) >= question.k and question.k < MOST_PRODUCTS,
        plan=found.plan,
    )


def _labels(predictions: Sequence[Prediction]) -> dict[str, str]:
    """What each head is surest of, by the head's name, which is the name of the facet it learnt."""
    rising = sorted(predictions, key=lambda prediction: prediction.probability)
    return {prediction.head: prediction.label for prediction in rising}
