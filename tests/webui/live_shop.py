"""A real index that follows its catalogue behind the API, with all that a server may be started with."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from engine.catalogue.schema import Facet, FacetType
from engine.errors import BadImage
from engine.search.search_engine import SearchEngine
from engine.updates import Updates
from tests.indexer.shop import Shop, draw, shop
from webui.ports import Feedback
from webui.service import SearchService

MORE_FACETS = (
    Facet("tags", FacetType.KEYWORDS),
    Facet("sale", FacetType.BOOLEAN),
    Facet("since", FacetType.TIME),
)


@dataclass
class FakeFetcher:
    """Photos by address, in memory."""

    photos: dict[str, bytes]

    def fetch(self, url: str) -> bytes:
        if url not in self.photos:
            raise BadImage(f"There is nothing at {url}; check the address.")
        return self.photos[url]


@dataclass
class FakeFeedback:
    """Feedback in a list; `broken` is raised instead."""

    kept: list[Feedback] = field(default_factory=list)
    broken: Exception | None = None

    def record(self, feedback: Feedback) -> None:
        if self.broken is not None:
            raise self.broken
        self.kept.append(feedback)


@dataclass(frozen=True)
class LiveShop:
    """What is behind the API."""

    shop: Shop
    engine: SearchEngine
    feedback: FakeFeedback
    service: SearchService


@contextmanager
def live_shop(folder: Path, products: int = 12, *, where: str | None = None) -> Iterator[LiveShop]:
    """A shop with an index, served live; its catalogue is a file in the folder, or lives at `where`."""
    with shop(folder, products=0, where=where) as opened:
        with opened.catalogue.transaction() as writer:
            writer.declare_facets(MORE_FACETS)
        opened.stock(range(products))
        opened.build(shards=1)
        with SearchEngine.open(opened.index, catalogue=opened.catalogue, encoder=opened.encoder) as engine:
            feedback = FakeFeedback()
            service = SearchService(
                engine,
                updates=Updates(opened.catalogue, opened.encoder, folder / "photos"),
                fetcher=FakeFetcher({"https://shop.example/3.png": draw(3, 9)}),
                feedback=feedback,
            )
            yield LiveShop(opened, engine, feedback, service)
