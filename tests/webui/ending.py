"""SIGTERM while a server is under load: what became of every request, of the process, and how long it took."""

from pathlib import Path
from typing import Any

from tests.indexer.shop import Shop, draw
from tests.webui.load import Load, searches
from tests.webui.running import until
from tests.webui.serving import Serving


def end_under_load(shop: Shop, log: Path, *options: str, threads: int = 8, before: int = 30) -> dict[str, Any]:
    """Ends a server when `before` requests were answered and others are on their way."""
    photos = [draw(number, 5) for number in range(8)]
    with (
        Serving(shop.index, *options, log=log) as server,
        Load(server.address, searches(photos, k="3"), threads=threads) as load,
    ):
        until(lambda: load.answered() >= before)
        code, seconds = server.end()
        seen = load.finish()
    return {
        "exit_code": code,
        "seconds": round(seconds, 2),
        "statuses": dict(sorted(seen.statuses.items())),
        "connections_refused": seen.refused,
        "lost": seen.lost,
        "strange": seen.strange,
        "traceback": "Traceback" in log.read_text(),
    }
