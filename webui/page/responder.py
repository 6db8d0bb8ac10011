"""From something done on the page to what the page shows next, by way of the API. Knows nothing of Gradio."""

from dataclasses import dataclass

from engine.errors import LookalikeError
from webui.client import Client
from webui.page import views
from webui.page.actions import read_action
from webui.page.overview import Overview, OverviewReader
from webui.page.suggest import suggest
from webui.page.visit import Question, Visit
from webui.wire import FacetsAnswer, SearchAnswer

PHOTO_SIDE = 640  # pixels of a catalogue photo in the frame


@dataclass(frozen=True, slots=True)
class Shown:
    """What the page shows: HTML, and the catalogue's photo for the frame (None: the shopper's own)."""

    header: str
    examples: str
    photo: str | None
    seen: str
    answer: str


class Responder:
    """Answers what is done on the page. Thread-safe: every visit brings its own state."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._overviews = OverviewReader(client)

    def start(self) -> Shown:
        """A page just loaded; also while the API does not answer, which it says."""
        return self._show(Visit(), Question())

    def reply(self, visit: Visit, event: object) -> Shown | None:
        """What to show after `event`, the page's own words for what was done; None if more was done meanwhile."""
        try:
            turn, question = visit.take(read_action(event))
        except LookalikeError as error:
            return self._shown(visit.question, "", views.notice(str(error), visit.question))
        shown = self._show(visit, question)
        return shown if visit.turn == turn else None

    def _show(self, visit: Visit, question: Question) -> Shown:
        try:
            overview = self._overviews.read()
            if question.empty:
                return self._shown(question, "", views.welcome(overview))
            found, facets = self._ask(question, overview)
        except LookalikeError as error:
            return self._shown(question, "", views.notice(str(error), question))
        same, alike = views.cards_of(found)
        suggested = visit.suggested(question, lambda: suggest(same + alike, overview))
        html = views.answer(found, facets, question, overview, suggested)
        return self._shown(question, views.seen(found.predictions), html)

    def _shown(self, question: Question, seen: str, answer: str) -> Shown:
        overview = self._overviews.latest
        return Shown(
            header=views.header(overview.products if overview else None),
            examples=views.examples(overview) if overview else "",
            photo=None if question.photo_id is None else f"photos/{question.photo_id}?side={PHOTO_SIDE}",
            seen=seen,
            answer=answer,
        )

    def _ask(self, question: Question, overview: Overview) -> tuple[SearchAnswer, FacetsAnswer]:
        filter = question.choices.filter(overview.types)
        photo, product_id = question.photo, question.product_id
        if question.photo_id is not None and question.box is not None:
            # A part of a catalogue photo is no product of the catalogue: it is searched from as a photo of its own.
            photo, product_id = self._client.photo(question.photo_id, side=1024), None
        found = self._client.search(
            photo=photo, product_id=product_id, k=question.k, mode="both", filter=filter, box=question.box
        )
        return found, self._client.facets(filter)
