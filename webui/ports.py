"""What the use cases need and others bring: the engine, and where they are offered, writing, fetching and feedback.

`webui/service.py` knows only these; what stands behind them is wired in `lookalike/commands/serve.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.schema import Facet, FacetValue
from engine.search.query import Query, SearchResult
from engine.vision.model import Head
from webui.wire import FeedbackKind

if TYPE_CHECKING:
    from engine.search.facet_counts import FacetSummary
    from engine.search.filters import Filter
    from engine.search.look import Look
    from engine.updates import Done, Upsert

# --- The engine ------------------------------------------------------------------------------------------------------


class ProductDetail(Protocol):
    """A product with its photos, best known as `engine.search.search_engine.ProductDetail`."""

    @property
    def product_id(self) -> str: ...
    @property
    def title(self) -> str | None: ...
    @property
    def facets(self) -> Mapping[str, FacetValue]: ...
    @property
    def photo_ids(self) -> Sequence[int]: ...


class Manifest(Protocol):
    """The one thing asked of an index's manifest here."""

    @property
    def model_id(self) -> str: ...


class Engine(Protocol):
    """What answers, best known as `engine.search.search_engine.SearchEngine`; used by many threads at once."""

    @property
    def products(self) -> int: ...
    @property
    def photos(self) -> int: ...
    @property
    def generation(self) -> str: ...
    @property
    def manifest(self) -> Manifest: ...
    @property
    def facets(self) -> Sequence[Facet]:
        """What products can be filtered by."""

    @property
    def heads(self) -> Sequence[Head]:
        """What the model predicts of a photo."""

    @property
    def change_number(self) -> int: ...
    @property
    def live_photos(self) -> int: ...
    @property
    def unreadable_photos(self) -> int: ...
    @property
    def deleted_photos(self) -> int:
        """Photos of the generation that were deleted since: rows that every scan passes over."""

    @property
    def visibility_lag_s(self) -> float | None:
        """All that was written longer ago than this can be found; infinite before the first look at the catalogue has
        brought everything, None without one."""

    @property
    def problem(self) -> str | None:
        """Why the catalogue cannot be followed at present."""

    def search(self, query: Query) -> SearchResult:
        """Raises BadQuery, BadFilter, BadImage, UnknownProduct."""

    def look(self, query: Query) -> "Look":
        """What is seen in a photo. Raises what `search` does."""

    def product(self, product_id: str) -> ProductDetail:
        """Raises UnknownProduct."""

    def photo(self, photo_id: int) -> bytes:
        """The photo's file as it is. Raises UnknownPhoto, and MissingFile where the file is gone."""

    def facet_counts(self, filter: "Filter | None" = None, *, limit: int = 50) -> "Sequence[FacetSummary]":
        """Raises BadFilter."""

    def matching(self, filter: "Filter | None") -> NDArray[np.bool_]:
        """Which products pass: bool [products]. Raises BadFilter."""

    def caught_up(self, change_number: int, timeout_s: float = 0.0) -> bool:
        """Whether the changes up to this number can be found, looked at for so long. Raises LookalikeError where the
        catalogue cannot be read now."""


# --- What a server may be started without ----------------------------------------------------------------------------


class Updates(Protocol):
    """Writes to the catalogue, best known as `engine.updates.Updates`; used by many threads at once."""

    def upsert(self, product: "Upsert") -> "Done":
        """Raises BadImage, BadCall, Busy, Unavailable."""

    def delete(self, product_ids: Sequence[str] = (), *, photo_ids: Sequence[int] = ()) -> "Done":
        """Raises UnknownProduct, UnknownPhoto, Busy, Unavailable."""


class Fetcher(Protocol):
    """Brings photos from the network."""

    def fetch(self, url: str) -> bytes:
        """The bytes at an address. Raises a LookalikeError for one that is not asked, or that does not answer well."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """What somebody made of an answer; never a photo.

    `request_id` is the answer's own; `product_id` and its `position` in the answer (from 1) say what was clicked or
    was wrong; `key` is the name of the API key that it came with, None where there was none.
    """

    kind: FeedbackKind
    request_id: str
    product_id: str | None = None
    position: int | None = None
    key: str | None = None


class FeedbackStore(Protocol):
    """Keeps feedback; used by many threads at once."""

    def record(self, feedback: Feedback) -> None:
        """Keeps it durably. Raises Busy, Unavailable."""
