"""From something done on the page to what the page shows next, by way of the API. Knows nothing of Gradio."""

from dataclasses import dataclass

from engine.errors import LookalikeError, NotOffered
from webui.client import Client
from webui.page import views
from webui.page.actions import SearchFrom, Telling, TellMissing, TellWrong, read_action
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


@dataclass(frozen=True, slots=True)
class Told:
    """What was told of an answer, and how that went: one line as HTML. All else stays as it is shown."""

    line: str


class Responder:
    """Answers what is done on the page. Thread-safe: every visit brings its own state."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._overviews = OverviewReader(client)
        self._keeps_feedback = True  # until the API says otherwise: there is no asking it without telling it something

    def start(self) -> Shown:
        """A page just loaded; also while the API does not answer, which it says."""
        return self._show(Visit(), Question())

    def reply(self, visit: Visit, event: object) -> Shown | Told | None:
        """What to show after `event`, the page's own words for what was done; None if more was done meanwhile."""
        try:
            action = read_action(event)
        except LookalikeError as error:
            return self._shown(visit.question, "", views.notice(str(error), visit.question))
        if isinstance(action, TellWrong | TellMissing):
            return Told(views.told(self._tell(action)))
        turn, question = visit.take(action)
        if isinstance(action, SearchFrom):
            self._tell(action)
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
        html = views.answer(found, facets, question, overview, suggested, feedback=self._keeps_feedback)
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

    def _tell(self, what: Telling | SearchFrom) -> str:
        """Passes feedback on; the sentence to show for it."""
        try:
            match what:
                case TellMissing():
                    self._client.feedback("not_found", what.request_id)
                case TellWrong() | SearchFrom() if what.seen is not None and self._keeps_feedback:
                    self._client.feedback(
                        "wrong" if isinstance(what, TellWrong) else "click",
                        what.seen.request_id,
                        product_id=what.product_id,
                        position=what.seen.position,
                    )
        except NotOffered as error:
            self._keeps_feedback = False
            return str(error)
        except LookalikeError as error:  # of a click nobody is told: the search goes on
            return str(error)
        return "Noted, thank you."

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
