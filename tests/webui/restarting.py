"""A database that stops and starts again while an API searches and writes: what was answered, and what was kept."""

from collections import Counter
from contextlib import suppress
from pathlib import Path
from threading import Lock
from time import monotonic, sleep
from typing import Any

from engine.catalogue.store import Catalogue
from engine.errors import UnknownProduct
from tests.indexer.shop import Shop, draw
from tests.postgres import PostgresServer, StopMode
from tests.webui.load import Load, Request, form, searches
from tests.webui.running import until
from tests.webui.serving import Serving
from webui.client import Client

DOWN_S = 1.0  # seconds without a database
FOUND_S = 30.0  # seconds after which what is still not found is taken for lost
BEFORE = 10  # writes that are acknowledged before the next stop


class Writes:
    """Products that were sent, each once, and which of them a server says it has."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = Lock()
        self.acknowledged: list[str] = []
        self.statuses: Counter[int] = Counter()
        self.last_at = 0.0  # when the last one was acknowledged, by the monotonic clock

    def request(self, thread: int, number: int) -> Request:
        """A new product with a photo of its own."""
        product_id = f"{self._name}-{thread}-{number}"
        body, headers = form(draw(1000 + 100 * thread + number, 0), title=f"Product {product_id}")
        return Request(body, headers, "PUT", f"/v1/products/{product_id}")

    def told(self, request: Request, status: int) -> None:
        """Notes what became of one."""
        with self._lock:
            self.statuses[status] += 1
            if status in (200, 201):
                self.acknowledged.append(request.path.rpartition("/")[2])
                self.last_at = monotonic()


def restart_under_load(
    shop: Shop,
    database: PostgresServer,
    url: str,
    folder: Path,
    *,
    stops: list[StopMode],
    options: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Stops and starts the database once for each of `stops`, with writers and searchers at work all the time."""
    photos = [draw(number, 5) for number in range(8)]
    writes = Writes("written")
    recovered: list[float] = []
    arguments = ("--catalogue", url, "--photos", str(folder / "photos"), *options)
    with (
        Serving(shop.index, *arguments, log=folder / "log") as server,
        Load(server.address, searches(photos, k="3"), threads=2) as searching,
        Load(server.address, writes.request, threads=3, told=writes.told) as writing,
    ):
        for mode in stops:
            wanted = len(writes.acknowledged) + BEFORE
            until(lambda wanted=wanted: len(writes.acknowledged) >= wanted)  # type: ignore[misc]
            database.stop(mode)
            down = monotonic()
            failed = writes.statuses[503]
            until(lambda failed=failed: writes.statuses[503] > failed)  # type: ignore[misc]
            sleep(max(0.0, DOWN_S - (monotonic() - down)))
            database.start()
            up = monotonic()
            until(lambda up=up: writes.last_at > up)  # type: ignore[misc]
            recovered.append(round(writes.last_at - up, 3))
        written, searched = writing.finish(), searching.finish()
        unseen = _unseen(server.address, writes.acknowledged)
    with Catalogue.open(url) as catalogue, catalogue.snapshot() as view:
        kept = {product.product_id for product in view.products_of(writes.acknowledged)}
    return {
        "stops": stops,
        "recovered_s": recovered,
        "acknowledged": len(writes.acknowledged),
        "acknowledged_lost": sorted(set(writes.acknowledged) - kept),
        "acknowledged_not_found": unseen,
        "write_statuses": dict(sorted(writes.statuses.items())),
        "search_statuses": dict(sorted(searched.statuses.items())),
        "lost": written.lost + searched.lost,
        "strange": written.strange + searched.strange,
        "traceback": "Traceback" in (folder / "log").read_text(),
    }


def _unseen(address: str, product_ids: list[str]) -> list[str]:
    """Which of these the server does not find, after a moment."""
    missing, deadline = set(product_ids), monotonic() + FOUND_S
    with Client(address) as client:
        while missing and monotonic() < deadline:
            for product_id in sorted(missing):
                with suppress(UnknownProduct):
                    client.product(product_id)
                    missing.discard(product_id)
    return sorted(missing)
