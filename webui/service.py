"""What the network can ask for, without a network: requests in, answers out, errors raised.

Frameworks stand in front of this, the engine behind it. Nothing here is written to a disk but what a shop writes into
its catalogue: a photo that is searched for lives as long as its request.
"""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from math import inf
from time import perf_counter
from uuid import uuid4

from engine.errors import BadImage, LookalikeError, MissingFile, NotOffered, Unavailable, UnknownPhoto
from engine.search.query import Query
from engine.updates import Done
from webui import replies, wire
from webui.metrics import Metrics
from webui.ports import Engine, Feedback, FeedbackStore, Fetcher, Updates
from webui.problems import of_error
from webui.requests import box_of, check_one_source, filter_of, query_of, upsert_of
from webui.thumbnails import thumbnail

log = logging.getLogger(__name__)

MAX_PHOTO_ID = 2**63 - 1
VISIBLE_S = 1.0  # seconds that a write waits to be visible here before it is answered anyway
BATCH_THREADS = 8  # searches of one batch at the same time: as many photos as share an encoder's batch


@dataclass(frozen=True, slots=True)
class SourcePhoto:
    """A photo of the index as its file has it; `tag` changes when the bytes do."""

    photo_id: int
    data: bytes
    tag: str


class SearchService:
    """The use cases of the API, each a method; safe to share between threads if the engine is."""

    def __init__(
        self,
        engine: Engine,
        *,
        updates: Updates | None = None,
        fetcher: Fetcher | None = None,
        feedback: FeedbackStore | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """What is None is not offered: asking for it raises NotOffered. `updates` write to the catalogue that `engine`
        follows."""
        self._engine = engine
        self._updates = updates
        self._fetcher = fetcher
        self._feedback = feedback
        self.metrics = metrics or Metrics()

    # --- Searching -------------------------------------------------------------------------------------------------

    def search(self, request: wire.SearchRequest | wire.SearchForm) -> wire.SearchAnswer:
        """The products in a photo, or those like a product of the catalogue."""
        check_one_source(request)
        query = query_of(request, None if request.url is None else self._fetch(request.url))
        result = self._engine.search(query)
        self.metrics.searched(query.mode, result)
        return replies.search_answer(
            query, result, products=self._engine.products, explain=request.explain, request_id=uuid4().hex
        )

    def search_batch(self, request: wire.BatchRequest) -> wire.BatchAnswer:
        """Several searches at once; what is wrong with one is told in its place."""
        with ThreadPoolExecutor(min(BATCH_THREADS, len(request.searches))) as pool:
            return wire.BatchAnswer(answers=list(pool.map(self._batch_item, request.searches)))

    def _batch_item(self, request: wire.SearchRequest) -> wire.BatchItem:
        try:
            return wire.BatchItem(answer=self.search(request), problem=None)
        except LookalikeError as error:
            problem = of_error(error)
            if problem.status >= 500:
                log.error("%s: %s", type(error).__name__, error)
            return wire.BatchItem(answer=None, problem=problem)

    def predict(self, request: wire.PredictRequest | wire.PredictForm) -> wire.PredictAnswer:
        """What the model sees in a photo."""
        check_one_source(request)
        photo = request.photo if request.url is None else self._fetch(request.url)
        look = self._engine.look(Query(photo=photo, box=box_of(request.box)))
        return replies.predict_answer(
            look,
            self._engine.heads,
            self._engine.facets,
            choices=request.choices,
            model_id=self._engine.manifest.model_id,
        )

    def _fetch(self, url: str) -> bytes:
        if self._fetcher is None:
            raise NotOffered("Photos by URL are not allowed on this server; send the photo itself.")
        return self._fetcher.fetch(url)

    # --- The catalogue ---------------------------------------------------------------------------------------------

    def product(self, product_id: str) -> wire.ProductAnswer:
        """One product with all its photos."""
        return replies.product_answer(self._engine.product(product_id))

    def facets(self, filters: Sequence[str]) -> wire.FacetsAnswer:
        """Every facet with its counts under the `filters` (JSON or text, and-ed)."""
        filter = filter_of(filters)
        return wire.FacetsAnswer(
            matching=int(self._engine.matching(filter).sum()),
            products=self._engine.products,
            facets=[replies.facet_summary(facet) for facet in self._engine.facet_counts(filter)],
        )

    def photo(self, photo_id: int) -> SourcePhoto:
        """A photo of the index. Raises UnknownPhoto, also when its file has gone since it was indexed."""
        _check_photo_id(photo_id)
        try:
            data = self._engine.photo(photo_id)
        except MissingFile as error:
            raise UnknownPhoto(f"The file of photo {photo_id} is gone; index the catalogue again.") from error
        return SourcePhoto(photo_id, data, sha256(data).hexdigest()[:20])

    def thumbnail(self, photo: SourcePhoto, side: int) -> bytes:
        """The photo as a small JPEG. Raises UnknownPhoto where the catalogue's file is no picture any more."""
        try:
            return thumbnail(photo.data, f"photo {photo.photo_id}", side)
        except BadImage as error:  # not the caller's picture: not the caller's fault
            raise UnknownPhoto(f"Photo {photo.photo_id} cannot be read any more; index the catalogue again.") from error

    # --- Writing ---------------------------------------------------------------------------------------------------

    def write_product(self, product_id: str, request: wire.ProductRequest) -> wire.ProductWritten:
        """Brings a product into the catalogue, or changes it; on the disk when this returns."""
        upsert = upsert_of(product_id, request, self._engine.facets)
        done, visible = self._write("upsert", lambda updates: updates.upsert(upsert))
        (written,) = done.written
        return wire.ProductWritten(
            product_id=product_id,
            effect=written.effect.value,
            photo_ids=list(written.photo_ids),
            photos_new=written.photos_new,
            change_number=done.change_number,
            visible=visible,
        )

    def delete_product(self, product_id: str) -> wire.Deleted:
        """Deletes a product with its photos."""
        done, visible = self._write("delete", lambda updates: updates.delete([product_id]))
        return wire.Deleted(product_id=product_id, photo_id=None, change_number=done.change_number, visible=visible)

    def delete_photo(self, product_id: str, photo_id: int) -> wire.Deleted:
        """Deletes a photo of a product, which stays. Raises UnknownPhoto also for a photo of another product."""
        _check_photo_id(photo_id)
        if photo_id not in self._engine.product(product_id).photo_ids:
            raise UnknownPhoto(f"The product {product_id!r} has no photo {photo_id}; its ids come with the product.")
        done, visible = self._write("delete_photo", lambda updates: updates.delete(photo_ids=[photo_id]))
        return wire.Deleted(product_id=product_id, photo_id=photo_id, change_number=done.change_number, visible=visible)

    def _write(self, kind: str, what: Callable[[Updates], Done]) -> tuple[Done, bool]:
        """What was done, and whether it is visible here by now."""
        if self._updates is None:
            raise NotOffered("This server writes nothing; start it with --catalogue, or use `lookalike upsert`.")
        done = what(self._updates)
        start = perf_counter()
        try:
            visible = self._engine.caught_up(done.change_number, VISIBLE_S)
        except LookalikeError as error:  # it is written all the same, and will be found
            log.warning("A write cannot be followed at once: %s", error)
            visible = False
        self.metrics.wrote(kind, visible=visible, seconds=perf_counter() - start)
        return done, visible

    def give_feedback(self, request: wire.FeedbackRequest, key: str | None = None) -> None:
        """Keeps what somebody made of an answer; `key` is the name of the API key that it came with."""
        if self._feedback is None:
            raise NotOffered("This server keeps no feedback; whoever runs it can give it a place to (--state).")
        self._feedback.record(Feedback(request.kind, request.request_id, request.product_id, request.position, key))
        self.metrics.fed_back(request.kind)

    # --- How it is -------------------------------------------------------------------------------------------------

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

    def ready(self) -> wire.Ready:
        """Raises Unavailable until everything that changed since the index was built can be found."""
        engine = self._engine
        generation, change_number = engine.generation, engine.change_number
        lag = engine.visibility_lag_s
        if lag == inf:
            raise Unavailable(f"Still reading what changed since the index was built, at change {change_number}.")
        return wire.Ready(status="ready", generation=generation, change_number=change_number, visibility_lag_s=lag)

    def exposition(self) -> bytes:
        """The metrics as Prometheus reads them."""
        return self.metrics.exposition(self._engine)


def _check_photo_id(photo_id: int) -> None:
    if not 0 <= photo_id <= MAX_PHOTO_ID:
        raise UnknownPhoto("There is no photo with such a number; the ids of photos come with the answers.")
