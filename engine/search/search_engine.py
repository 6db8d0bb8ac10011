"""The search engine: an index opened for questions, and with a catalogue kept up to date with it."""

import logging
from math import inf
from pathlib import Path
from threading import Event, Lock, Thread
from time import monotonic
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.schema import Facet
from engine.catalogue.store import Catalogue
from engine.errors import LookalikeError, Unavailable
from engine.search.answers import Question, select
from engine.search.base import Base, OpenEncoder
from engine.search.facet_counts import FacetSummary
from engine.search.filters import Filter
from engine.search.follow import Follower
from engine.search.look import Look
from engine.search.many import Neighbour, nearest
from engine.search.masks import Mask
from engine.search.query import Query, SearchResult
from engine.search.snapshot import ProductDetail, Snapshot
from engine.storage.generation import Generation, open_index
from engine.storage.manifest import Manifest
from engine.telemetry import Stopwatch
from engine.vision.encoder import Encoder
from engine.vision.model import Head, Model

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.1  # seconds between two looks at the catalogue
AGAIN_AFTER_S = 1.0  # seconds until the next look after one that failed
MANY_LIVE_PHOTOS = 20_000  # compared one by one in every search: milliseconds by then, and growing


class SearchEngine:
    """Answers queries, each from one immutable snapshot; safe to share between threads."""

    def __init__(
        self,
        generation: Generation,
        encoder: Encoder | OpenEncoder | None = None,
        *,
        threads: int = 0,
        gpu: bool = False,
    ) -> None:
        """`encoder` None opens the model's own when the first photo comes, with `threads` (0: all cores). With `gpu`
        searches without a filter compare every row there, in as many bytes of its memory as the rows have.

        Raises WrongModel where the encoder's vectors are not those of the index, Unavailable where there is no GPU.
        """
        self._encoder, self._threads, self._gpu = encoder, threads, gpu
        self._snapshot: Snapshot | None = Snapshot(Base.open(generation, encoder, threads=threads, gpu=gpu))
        self._follower: Follower | None = None
        self._looking = Lock()
        self._thread: Thread | None = None
        self._stop = Event()
        self._own_catalogue: Catalogue | None = None
        self._current_at: float | None = None  # when the catalogue was last asked and had nothing new
        self.problem: str | None = None  # why the catalogue cannot be followed at present

    @classmethod
    def open(
        cls,
        index_dir: str | Path,
        *,
        catalogue: Catalogue | str | Path | None = None,
        catch_up: bool = True,
        encoder: Encoder | OpenEncoder | None = None,
        threads: int = 0,
        gpu: bool = False,
    ) -> Self:
        """Opens the generation of `index_dir` that answers.

        A shard that is damaged or missing is left out, as long as another one is whole: answers go on with the others
        and their plan says that they are `partial`. `lookalike index --repair` makes the index whole again.

        With its `catalogue` the engine follows: a thread looks for changes ten times a second, and for new generations
        of the index. All that the catalogue holds now can be found when this returns; without `catch_up` it returns
        at once and the thread brings the rest.

        `encoder` may be one that is there or a way to open the index's model, which a later generation's own model is
        opened with as well; the first cannot follow to another model.

        With `gpu` searches without a filter compare every row there, in as many bytes of its memory as the rows have.

        Raises IndexMissing, DamagedFile, UnsupportedFormat, WrongModel; with `gpu` Unavailable where there is none that
        FAISS can use or it is too small; with a catalogue also MissingFile, Unavailable, WrongCatalogue where the index
        is not that catalogue's, LogTrimmed where it is too old to be followed from.
        """
        engine = cls(open_index(Path(index_dir), allow_damaged=True), encoder, threads=threads, gpu=gpu)
        if catalogue is None:
            return engine
        try:
            if not isinstance(catalogue, Catalogue):
                engine._own_catalogue = catalogue = Catalogue.open(catalogue)
            engine._follow(Path(index_dir), catalogue, catch_up=catch_up)
        except BaseException:
            engine.close()
            raise
        return engine

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stops following and lets go of the files; the memory goes when the last query that still reads them ends.

        Whatever is asked afterwards raises Unavailable.
        """
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with self._looking:
            self._follower = self._snapshot = None
        if self._own_catalogue is not None:
            self._own_catalogue.close()

    # --- Following -------------------------------------------------------------------------------------------------

    @property
    def change_number(self) -> int:
        """The last change of the catalogue that can be found."""
        return self.snapshot.delta.change_number

    @property
    def live_photos(self) -> int:
        """Photos that are newer than the generation, which every search compares one by one."""
        return len(self.snapshot.delta.live)

    @property
    def unreadable_photos(self) -> int:
        """Photos that are newer than the generation and cannot be found, because their files cannot be read."""
        return sum(map(len, self.snapshot.delta.unreadable.values()))

    @property
    def deleted_photos(self) -> int:
        """Photos of the generation that were deleted since, which every scan passes over."""
        return self.snapshot.delta.deleted_rows

    @property
    def visibility_lag_s(self) -> float | None:
        """All that was written longer ago than this can be found: seconds, which grow while the catalogue cannot be
        read; infinite until everything was found once, None without a catalogue."""
        if self._follower is None:
            return None
        return inf if self._current_at is None else monotonic() - self._current_at

    def caught_up(self, change_number: int, timeout_s: float = 0.0) -> bool:
        """Whether the changes up to this number can be found: looks at once, and again for up to `timeout_s` seconds.

        Raises LookalikeError where the catalogue or the index cannot be read now.
        """
        deadline = monotonic() + timeout_s
        while self.change_number < change_number:
            follower = self._follower
            if follower is None or self._stop.is_set():
                return False
            if not self._look_once(follower) and self.change_number < change_number:
                if monotonic() >= deadline:
                    return False
                self._stop.wait(min(LOOK_EVERY_S, deadline - monotonic()))
        return True

    def _follow(self, index_dir: Path, catalogue: Catalogue, *, catch_up: bool) -> None:
        self._follower = Follower(index_dir, catalogue, self.snapshot, self._open_base)
        if catch_up:
            self.caught_up(catalogue.change_number())
        self._thread = Thread(target=self._keep_following, args=(self._follower,), name="follow", daemon=True)
        self._thread.start()

    def _open_base(self, generation: Generation, before: Base) -> Base:
        return Base.open(generation, self._encoder, threads=self._threads, gpu=self._gpu, before=before)

    def _look_once(self, follower: Follower) -> bool:
        """One step of the follower; False if there was nothing new."""
        with self._looking:
            if self._stop.is_set():
                return False
            asked_at = monotonic()
            before, could_read = self.live_photos, not self.snapshot.delta.unreadable
            more = follower.step()
            self._snapshot = follower.snapshot
            if not more:
                self._current_at = asked_at
            if before < MANY_LIVE_PHOTOS <= self.live_photos:
                log.warning(
                    "%d photos are newer than the index and every search compares them all; fold them in with "
                    "`lookalike index --merge`.",
                    self.live_photos,
                )
            if could_read and self.snapshot.delta.unreadable:  # once, however many follow
                log.warning(
                    "%d new photos cannot be read and are not found until they can, which is tried every minute: %s",
                    self.unreadable_photos,
                    next(iter(self.snapshot.delta.unreadable.values()))[0],
                )
            return more

    def _keep_following(self, follower: Follower) -> None:
        """Until the engine is closed: what cannot be read now is tried again, while the last snapshot answers."""
        pause = 0.0
        while not self._stop.wait(pause):
            try:
                pause = 0.0 if self._look_once(follower) else LOOK_EVERY_S
                self.problem = None
            except Exception as error:  # whatever it is: a thread that ends would leave the engine stale for ever
                if self.problem != str(error):  # once, not every second
                    unforeseen = not isinstance(error, LookalikeError)
                    log.warning(
                        "The index cannot follow its catalogue and answers as before: %s", error, exc_info=unforeseen
                    )
                self.problem = str(error)
                pause = AGAIN_AFTER_S

    # --- What is in it ---------------------------------------------------------------------------------------------

    @property
    def snapshot(self) -> Snapshot:
        """What can be found at this moment, for asking several things about the same one. Raises Unavailable once the
        engine is closed, as everything does that asks it."""
        snapshot = self._snapshot
        if snapshot is None:
            raise Unavailable("This search engine was closed; open the index again.")
        return snapshot

    @property
    def model(self) -> Model:
        return self.snapshot.base.model

    @property
    def encoder(self) -> Encoder:
        """What sees photos for this index; opened now if it was not."""
        return self.snapshot.base.eyes.encoder

    @property
    def heads(self) -> tuple[Head, ...]:
        """What the model predicts of a photo."""
        return self.model.spec.heads

    @property
    def generation(self) -> str:
        """The name of the generation that answers."""
        return self.snapshot.base.generation.name

    @property
    def manifest(self) -> Manifest:
        return self.snapshot.base.generation.manifest

    @property
    def facets(self) -> tuple[Facet, ...]:
        """What products can be filtered by."""
        return self.snapshot.facets

    @property
    def products(self) -> int:
        """How many products can be found."""
        return self.snapshot.products

    @property
    def photos(self) -> int:
        """How many photos can be found."""
        return self.snapshot.photos

    @property
    def content_hashes(self) -> frozenset[bytes]:
        """The sha256 of every photo's file, 32 bytes each."""
        return self.snapshot.content_hashes

    def product(self, product_id: str) -> ProductDetail:
        """Raises UnknownProduct."""
        return self.snapshot.product(product_id)

    def photo(self, photo_id: int) -> bytes:
        """The bytes of a photo's file. Raises UnknownPhoto, or MissingFile where the file is gone."""
        return self.snapshot.photo(photo_id)

    def matching(self, filter: Filter | None) -> Mask:
        """Which products pass, in an order of the moment (see `Snapshot.matching`). Raises BadFilter."""
        return self.snapshot.matching(filter)

    def facet_counts(self, filter: Filter | None = None, *, limit: int = 50) -> tuple[FacetSummary, ...]:
        """Every facet of the products under the filter, each without its own clauses; at most `limit` values each.

        Raises BadFilter.
        """
        return self.snapshot.facet_counts(filter, limit)

    # --- Questions -------------------------------------------------------------------------------------------------

    def search(self, query: Query) -> SearchResult:
        """Answers a query. Raises BadFilter, BadQuery, BadImage, UnknownProduct."""
        watch, snapshot = Stopwatch(), self.snapshot
        selection = select(snapshot, query.filter, watch)  # a wrong filter is told before a photo is encoded
        look = snapshot.base.eyes.look(query, snapshot, watch)
        return Question(snapshot, query, look, selection, watch).answer()

    def nearest(self, vectors: NDArray[np.floating], k: int = 10) -> list[tuple[Neighbour, ...]]:
        """The k products nearest to each of many vectors [n, dim], without a filter, in one go; many times as fast as
        asking one by one. Raises BadQuery."""
        return nearest(self.snapshot, vectors, k)

    def look(self, query: Query) -> Look:
        """What the engine sees in a query, for asking more than one question about it; raises what `search` does."""
        snapshot = self.snapshot
        return snapshot.base.eyes.look(query, snapshot, Stopwatch())

    def answer(self, query: Query, look: Look) -> SearchResult:
        """`search` with a look that was taken before."""
        watch, snapshot = Stopwatch(), self.snapshot
        return Question(snapshot, query, look, select(snapshot, query.filter, watch), watch).answer()
