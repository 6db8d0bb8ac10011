"""What the network can ask for, without a network: requests in, answers out, errors raised.

Frameworks stand in front of this, the engine behind it. Nothing here is written to a disk: a photo that is searched
for lives as long as its request.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.schema import FacetValue
from engine.errors import BadFilter, BadImage, BadQuery, MissingFile, UnknownPhoto
from engine.search.filter_json import from_json
from engine.search.filter_syntax import parse
from engine.search.filters import And, Filter
from engine.search.plan import Plan
from engine.search.query import Box, Hit, Query, SearchResult
from webui import wire
from webui.thumbnails import Thumbnailer, thumbnail

if TYPE_CHECKING:
    from engine.search.facet_counts import FacetSummary

MAX_PHOTO_ID = 2**63 - 1


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
    def change_number(self) -> int: ...
    @property
    def live_photos(self) -> int: ...
    @property
    def unreadable_photos(self) -> int: ...
    @property
    def problem(self) -> str | None:
        """Why the catalogue cannot be followed at present."""

    def search(self, query: Query) -> SearchResult:
        """Raises BadQuery, BadFilter, BadImage, UnknownProduct."""

    def product(self, product_id: str) -> ProductDetail:
        """Raises UnknownProduct."""

    def photo(self, photo_id: int) -> bytes:
        """The photo's file as it is. Raises UnknownPhoto, and MissingFile where the file is gone."""

    def facet_counts(self, filter: Filter | None = None, *, limit: int = 50) -> "Sequence[FacetSummary]":
        """Raises BadFilter."""

    def matching(self, filter: Filter | None) -> NDArray[np.bool_]:
        """Which products pass: bool [products]. Raises BadFilter."""


@dataclass(frozen=True, slots=True)
class SourcePhoto:
    """A photo of the index as its file has it; `tag` changes when the bytes do."""

    photo_id: int
    data: bytes
    tag: str


class SearchService:
    """The use cases of the API, each a method; safe to share between threads if the engine is."""

    def __init__(self, engine: Engine, *, thumbnailer: Thumbnailer = thumbnail) -> None:
        """`thumbnailer` makes small pictures of the index's photos."""
        self._engine = engine
        self._thumbnail = thumbnailer

    def search(self, request: wire.SearchRequest | wire.SearchForm) -> wire.SearchAnswer:
        """The products in a photo, or those like a product of the catalogue."""
        query = query_of(request)
        result = self._engine.search(query)
        return wire.SearchAnswer(
            mode=query.mode,
            k=query.k,
            exact=_exact_part(result),
            similar=None if result.similar is None else wire.SimilarPart(products=_cards(result.similar)),
            predictions=[
                wire.Prediction(head=one.head, label=one.label, probability=one.probability)
                for one in result.predictions
            ],
            matching=result.matching,
            products=self._engine.products,
            plan=_plan(result.plan),
            generation=result.plan.generation,
            model_id=result.plan.model_id,
        )

    def product(self, product_id: str) -> wire.ProductAnswer:
        """One product with all its photos."""
        found = self._engine.product(product_id)
        return wire.ProductAnswer(
            product_id=found.product_id,
            title=found.title,
            facets=_facets(found.facets),
            photos=[wire.PhotoLink(photo_id=photo_id, photo=_photo_path(photo_id)) for photo_id in found.photo_ids],
        )

    def facets(self, filters: Sequence[str]) -> wire.FacetsAnswer:
        """Every facet with its counts under the `filters` (JSON or text, and-ed)."""
        filter = filter_of(filters)
        return wire.FacetsAnswer(
            matching=int(self._engine.matching(filter).sum()),
            products=self._engine.products,
            facets=[_summary(facet) for facet in self._engine.facet_counts(filter)],
        )

    def photo(self, photo_id: int) -> SourcePhoto:
        """A photo of the index. Raises UnknownPhoto, also when its file has gone since it was indexed."""
        if not 0 <= photo_id <= MAX_PHOTO_ID:
            raise UnknownPhoto(f"There is no photo {photo_id}; the ids of photos come with the answers.")
        try:
            data = self._engine.photo(photo_id)
        except MissingFile as error:
            raise UnknownPhoto(f"The file of photo {photo_id} is gone; index the catalogue again.") from error
        return SourcePhoto(photo_id, data, sha256(data).hexdigest()[:20])

    def thumbnail(self, photo: SourcePhoto, side: int) -> bytes:
        """The photo as a small JPEG. Raises UnknownPhoto where the catalogue's file is no picture any more."""
        try:
            return self._thumbnail(photo.data, f"photo {photo.photo_id}", side)
        except BadImage as error:  # not the caller's picture: not the caller's fault
            raise UnknownPhoto(f"Photo {photo.photo_id} cannot be read any more; index the catalogue again.") from error

    def health(self) -> wire.Health:
        """What answers here."""
        engine = self._engine
        return wire.Health(
            status="ok",
            products=engine.products,
            photos=engine.photos,
            generation=engine.generation,
            model_id=engine.manifest.model_id,
            change_number=engine.change_number,
            live_photos=engine.live_photos,
            unreadable_photos=engine.unreadable_photos,
            stale=engine.problem is not None,
        )


# --- Requests -> what the engine is asked ----------------------------------------------------------------------------


def query_of(request: wire.SearchRequest | wire.SearchForm) -> Query:
    """The query that a request means. Raises BadQuery and BadFilter."""
    if isinstance(request, wire.SearchForm):
        filter = filter_of(request.filter)
        box = None if request.box is None else _box_of_text(request.box)
    else:
        filter = None if request.filter is None else from_json(request.filter)
        box = None if request.box is None else Box(*request.box)
    return Query(
        photo=request.photo, product_id=request.product_id, k=request.k, mode=request.mode, filter=filter, box=box
    )


def filter_of(texts: Sequence[str]) -> Filter | None:
    """The and of filters written as JSON objects or as people type them; None without any."""
    parts = [_filter_of_json(text) if text.lstrip().startswith("{") else parse([text]) for text in texts]
    present = tuple(part for part in parts if part is not None)
    return present[0] if len(present) == 1 else And(present) if present else None


def _filter_of_json(text: str) -> Filter:
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadFilter(f"The filter is no JSON ({error}); check its brackets and quotes.") from None
    return from_json(data)


def _box_of_text(text: str) -> Box:
    try:
        left, top, right, bottom = map(float, text.split(","))
    except ValueError:
        raise BadQuery(f"The box {text!r} cannot be read; give left,top,right,bottom as fractions.") from None
    return Box(left, top, right, bottom)


# --- What the engine says -> answers ---------------------------------------------------------------------------------


def _plan(plan: Plan) -> wire.Plan:
    # what is damaged, and not where: names of the server's files are for its log
    damaged = tuple(f"{sentence.partition(':')[0]}." for sentence in plan.partial)
    return wire.Plan.model_validate(replace(plan, partial=damaged).to_dict())


def _exact_part(result: SearchResult) -> wire.ExactPart | None:
    part = result.exact
    if part is None:
        return None
    return wire.ExactPart(products=_cards(part.hits), probability=part.probability, verdict=part.verdict)


def _cards(hits: Sequence[Hit]) -> list[wire.Card]:
    return [
        wire.Card(
            product_id=hit.product_id,
            title=hit.title,
            facets=_facets(hit.facets),
            score=hit.score,
            photo_id=hit.photo_id,
            photo=_photo_path(hit.photo_id),
        )
        for hit in hits
    ]


def _summary(facet: "FacetSummary") -> wire.FacetSummary:
    return wire.FacetSummary(
        name=facet.name,
        type=facet.type,
        values=[wire.FacetChoice.model_validate({"value": value, "count": count}) for value, count in facet.values],
        distinct=facet.distinct,
        minimum=_end(facet.minimum),
        maximum=_end(facet.maximum),
        missing=facet.missing,
    )


def _facets(facets: Mapping[str, FacetValue]) -> dict[str, wire.WireFacetValue]:
    return {name: _wire_value(value) for name, value in facets.items()}


def _wire_value(value: FacetValue) -> wire.WireFacetValue:
    match value:
        case datetime():
            return value.isoformat()
        case tuple():
            return list(value)
        case _:
            return value


def _end(value: float | datetime | None) -> float | str | None:
    return value.isoformat() if isinstance(value, datetime) else value


def _photo_path(photo_id: int) -> str:
    return f"/photos/{photo_id}"
