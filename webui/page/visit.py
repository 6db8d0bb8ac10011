"""One shopper's visit: what is being asked, kept in memory while the tab is open and nowhere else.

The photo lives in the question: it is replaced by the next one, never written to disk, and goes with the visit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from threading import Lock

from webui.page.actions import (
    Asking,
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

    def same_picture(self, other: "Question") -> bool:
        """Whether both search from the same part of the same picture."""
        mine = (self.photo, self.product_id, self.photo_id, self.box)
        return mine == (other.photo, other.product_id, other.photo_id, other.box)

    def after(self, action: Asking) -> "Question":
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
        self._suggested_for: Question | None = None
        self._suggested: Mapping[str, tuple[str, ...]] = {}
        self._lock = Lock()

    def take(self, action: Asking) -> tuple[int, Question]:
        """Apply what was done; the number of this turn and the question it left."""
        with self._lock:
            self.question = self.question.after(action)
            self.turn += 1
            return self.turn, self.question

    def suggested(
        self, question: Question, suggest: Callable[[], Mapping[str, tuple[str, ...]]]
    ) -> Mapping[str, tuple[str, ...]]:
        """The values to suggest as filters: made for a new picture, then kept, so that pills stay where they are."""
        with self._lock:
            if self._suggested_for is None or not self._suggested_for.same_picture(question):
                self._suggested_for, self._suggested = question, suggest()
            return self._suggested
