"""One shopper's visit: what is being asked, kept in memory while the tab is open and nowhere else.

The photo lives in the question: it is replaced by the next one, never written to disk, and goes with the visit.
"""

from dataclasses import dataclass, field, replace
from threading import Lock

from webui.page.actions import (
    Action,
    ClearFilter,
    SearchFrom,
    SetBox,
    SetRange,
    ShowMore,
    ShowPhoto,
    Toggle,
    TryAgain,
)
from webui.page.choices import Choices, Span

FIRST_PRODUCTS = 12  # fills whole rows of two, three and four cards
MOST_PRODUCTS = 60

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Question:
    """What to search from (an own photo, or a product by one of its photos), the part of it, and the filter."""

    photo: bytes | None = None
    product_id: str | None = None
    photo_id: int | None = None
    box: Box | None = None
    choices: Choices = field(default_factory=Choices)
    k: int = FIRST_PRODUCTS

    @property
    def empty(self) -> bool:
        """Nothing to search from yet."""
        return self.photo is None and self.product_id is None

    def after(self, action: Action) -> "Question":
        """The question that follows from what was done. A new picture keeps the filter and drops the box."""
        match action:
            case ShowPhoto():
                return Question(photo=action.photo, choices=self.choices)
            case SearchFrom():
                return Question(product_id=action.product_id, photo_id=action.photo_id, choices=self.choices)
            case SetBox():
                return replace(self, box=action.box)
            case Toggle():
                return replace(self, choices=self.choices.toggle(action.facet, action.value))
            case SetRange():
                span = Span(action.low.strip() or None, action.high.strip() or None)
                return replace(self, choices=self.choices.with_span(action.facet, span))
            case ClearFilter():
                return replace(self, choices=Choices())
            case ShowMore():
                return replace(self, k=min(self.k + FIRST_PRODUCTS, MOST_PRODUCTS))
            case TryAgain():
                return self


class Visit:
    """The question of one open tab. Quick clicks arrive side by side: each counts, the last one is shown."""

    def __init__(self) -> None:
        self.question = Question()
        self.turn = 0  # actions taken so far: an answer to an older turn is not worth showing
        self._lock = Lock()

    def take(self, action: Action) -> tuple[int, Question]:
        """Apply what was done; the number of this turn and the question it left."""
        with self._lock:
            self.question = self.question.after(action)
            self.turn += 1
            return self.turn, self.question
