"""What a server tells about itself at `/metrics`, in Prometheus's text format.

One process keeps its numbers in memory. Several workers keep them in files of a folder that they share, so that
whichever of them is asked tells the sum: whoever starts workers sets `PROMETHEUS_MULTIPROC_DIR` to an empty folder
before anything imports this (prometheus_client reads it when it is imported), and calls `forget_worker` for each that
ends. Counters and times then outlive their worker; what a worker sees of the index does not.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import inf
from threading import Event, Thread
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from engine.errors import LookalikeError
from engine.search.query import SearchResult
from webui.ports import Engine

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
REFRESH_S = 1.0  # between two looks of a worker at its own engine

_REQUEST_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_STAGE_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)


class Metrics:
    """Counters, times and gauges of one worker; safe to share between threads."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Histogram(
            "lookalike_request_seconds",
            "Time to answer a request, by address and status.",
            ["method", "address", "status"],
            buckets=_REQUEST_S,
            registry=registry,
        )
        self._stages = Histogram(
            "lookalike_stage_seconds",
            "Time that searches spend in each stage of their plan.",
            ["stage"],
            buckets=_STAGE_S,
            registry=registry,
        )
        self._searches = Counter("lookalike_searches", "Searches that were answered.", ["mode"], registry=registry)
        self._empty = Counter(
            "lookalike_empty_results", "Searches whose answer has no product.", ["mode"], registry=registry
        )
        self._writes = Counter(
            "lookalike_writes",
            "Products written and deleted, by whether it was seen here.",
            ["kind", "visible"],
            registry=registry,
        )
        self._visible = Histogram(
            "lookalike_visible_seconds",
            "Time from the commit of a write through this API until it can be found.",
            buckets=_REQUEST_S,
            registry=registry,
        )
        self._feedback = Counter("lookalike_feedback", "Feedback that was kept.", ["kind"], registry=registry)
        self._decoders = Counter(
            "lookalike_decoder_deaths",
            "Decoding processes that a photo, or somebody else, has ended, and that were replaced.",
            registry=registry,
        )
        self._index = _IndexGauges(registry)

    def answered(self, method: str, address: str, status: int, seconds: float) -> None:
        """A request was answered; `address` is the pattern that it met, so that there are few of them."""
        self._requests.labels(method, address, str(status)).observe(seconds)

    def searched(self, mode: str, result: SearchResult) -> None:
        """A search was answered."""
        self._searches.labels(mode).inc()
        exact = result.exact.hits if result.exact is not None else ()
        if not exact and not result.similar:
            self._empty.labels(mode).inc()
        self.spent(result.plan.milliseconds)

    def spent(self, milliseconds: Mapping[str, float]) -> None:
        """So much time went into these stages."""
        for stage, spent in milliseconds.items():
            self._stages.labels(stage).observe(spent / 1000)

    def wrote(self, kind: str, *, visible: bool, seconds: float) -> None:
        """A write is on the disk, and after so many seconds was visible here, or still was not."""
        self._writes.labels(kind, str(visible).lower()).inc()
        if visible:
            self._visible.observe(seconds)

    def fed_back(self, kind: str) -> None:
        """Feedback was kept."""
        self._feedback.labels(kind).inc()

    def decoder_died(self) -> None:
        """A decoding process was replaced."""
        self._decoders.inc()

    def refresh(self, engine: Engine) -> None:
        """Notes what the engine is like now."""
        self._index.refresh(engine)

    @contextmanager
    def watching(self, engine: Engine) -> Iterator[None]:
        """Keeps the gauges fresh for as long as the `with` lasts, for when another worker is asked."""
        stop = Event()

        def look() -> None:
            while not stop.wait(REFRESH_S):
                self.refresh(engine)

        thread = Thread(target=look, name="gauges", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def exposition(self, engine: Engine) -> bytes:
        """All of it as text, of all workers where they share a folder."""
        self.refresh(engine)
        if SHARED_FOLDER not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)


class _IndexGauges:
    """What the index is like here; of several workers the one that is furthest behind is told."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, what: str, *, of_workers: Literal["least", "most"]) -> Gauge:
            mode: Literal["livemin", "livemax"] = "livemin" if of_workers == "least" else "livemax"
            return Gauge(f"lookalike_{name}", what, registry=registry, multiprocess_mode=mode)

        self._products = gauge("products", "Products that can be found.", of_workers="least")
        self._photos = gauge("photos", "Photos that can be found.", of_workers="least")
        self._generation = gauge("generation", "Number of the generation that answers.", of_workers="least")
        self._change = gauge("change_number", "Last change of the catalogue that can be found.", of_workers="least")
        self._delta = gauge("delta_photos", "Photos newer than the generation, compared one by one.", of_workers="most")
        self._tombstones = gauge(
            "tombstones", "Photos of the generation that were deleted and are passed over.", of_workers="most"
        )
        self._unreadable = gauge("unreadable_photos", "New photos whose files cannot be read.", of_workers="most")
        self._lag = gauge(
            "visibility_lag_seconds", "All that was written longer ago than this can be found.", of_workers="most"
        )
        self._stale = gauge("stale", "1 while the catalogue cannot be followed.", of_workers="most")
        self._up = gauge("up", "1 while the index can be asked.", of_workers="least")

    def refresh(self, engine: Engine) -> None:
        try:
            lag = engine.visibility_lag_s
            self._products.set(engine.products)
            self._photos.set(engine.photos)
            self._generation.set(_number(engine.generation))
            self._change.set(engine.change_number)
            self._delta.set(engine.live_photos)
            self._tombstones.set(engine.deleted_photos)
            self._unreadable.set(engine.unreadable_photos)
            self._lag.set(0.0 if lag is None else lag)
            self._stale.set(engine.problem is not None)
            self._up.set(1)
        except LookalikeError:
            self._up.set(0)
            self._lag.set(inf)


def _number(generation: str) -> int:
    return int(generation) if generation.isdigit() else 0


def forget_worker(process_id: int, folder: str) -> None:
    """Takes what a worker that ended saw of the index out of the shared `folder`; what it counted stays."""
    multiprocess.mark_process_dead(process_id, folder)  # type: ignore[no-untyped-call]
