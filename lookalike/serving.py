"""What a server opens before it answers, wired together: in its own process, or by each worker for itself."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from engine.catalogue.store import Catalogue
from engine.search.query import Query
from engine.search.search_engine import SearchEngine
from engine.updates import Updates
from engine.vision.encoder import Encoder, OpenVinoEncoder
from engine.vision.model import Model
from webui.api.app import create_app
from webui.batching import BatchingEncoder
from webui.decoding import DecodingPool
from webui.fetching import PhotoFetcher
from webui.metrics import Metrics
from webui.service import SearchService
from webui.state.opening import Access
from webui.state.state import State
from webui.workers import App


@dataclass(frozen=True, slots=True)
class Served:
    """What is to be served. Without a `catalogue` nothing is followed and nothing can be written; `photos` is the
    folder for photos that are written, None the one beside the catalogue's file. Without `access` everybody may ask.
    With `allow_urls` photos may be named by their URL, and are fetched from public addresses."""

    index_dir: Path
    catalogue: str | None = None
    photos: Path | None = None
    access: Access | None = None
    gpu: bool = False
    allow_urls: bool = False


@contextmanager
def opened_state(served: Served) -> Iterator[State | None]:
    """Who may ask, and where feedback goes; None where that is everybody, and nowhere."""
    if served.access is None:
        yield None
        return
    with served.access.open() as state:
        yield state


@contextmanager
def opened_service(
    served: Served, state: State | None = None, tell: Callable[[str], None] = lambda _: None
) -> Iterator[SearchService]:
    """What the API asks, ready for its first request; `tell` hears what takes a while."""
    with ExitStack() as opened:
        catalogue = None if served.catalogue is None else opened.enter_context(Catalogue.open(served.catalogue))
        metrics = Metrics()
        decoding = opened.enter_context(DecodingPool(on_death=metrics.decoder_died))
        # what changed since the index was built comes while the index answers: there may be photos to encode
        engine = opened.enter_context(
            SearchEngine.open(
                served.index_dir,
                catalogue=catalogue,
                catch_up=False,
                encoder=shared_encoder,
                loader=decoding,
                gpu=served.gpu,
            )
        )
        tell(f"{engine.products:,} products, {engine.photos:,} photos; opening the model …")
        # The first photo opens the encoder, which takes seconds: now, rather than before the first customer.
        engine.look(Query(photo=Image.new("RGB", (16, 16))))
        updates = None if catalogue is None else Updates(catalogue, engine.encoder, served.photos, loader=decoding)
        fetcher = PhotoFetcher() if served.allow_urls else None
        service = SearchService(
            engine, updates=updates, fetcher=fetcher, feedback=state, metrics=metrics, thumbnailer=decoding.thumbnail
        )
        opened.enter_context(metrics.watching(engine))
        yield service


@contextmanager
def opened_app(served: Served) -> Iterator[App]:
    """The API over what is served: what every worker opens for itself."""
    with opened_state(served) as state, opened_service(served, state) as service:
        yield create_app(service, state)


def shared_encoder(model: Model) -> Encoder:
    """The model's encoder, whose concurrent callers share batches."""
    return BatchingEncoder(OpenVinoEncoder(model))
