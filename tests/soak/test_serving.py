"""A server for long: saturated, ended and its database restarted again and again, and asked with marked photos.

`LOOKALIKE_SOAK=0.01` makes a hundredth of it. `make test` has the same, reduced, under the names of what they test.
"""

import json
import os
from collections import Counter
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from tests.indexer.shop import Shop, draw, shop
from tests.postgres import PostgresServer, StopMode
from tests.webui.canary import check_that_it_is_nowhere
from tests.webui.ending import end_under_load
from tests.webui.load import Load, searches
from tests.webui.restarting import restart_under_load
from tests.webui.serving import Serving, anonymous_kib

SHARE = float(os.environ.get("LOOKALIKE_SOAK", "1"))
RESULTS = Path(__file__).parent
FLAT = 1.1  # times the memory after a fifth of the time that there may be at the end
END_S = 10.0


def write(name: str, figures: dict[str, Any]) -> None:
    """Keeps what a run saw, so that it can be committed."""
    (RESULTS / f"serving-{name}.json").write_text(json.dumps({"share": SHARE, **figures}, indent=1) + "\n")


@pytest.fixture
def stocked(tmp_path: Path) -> Shop:
    """Two hundred products, indexed."""
    with shop(tmp_path, products=200) as opened:
        opened.build()
        return opened


@pytest.mark.soak
@pytest.mark.parametrize("workers", [1, 2])
def test_fifteen_minutes_of_saturation(stocked: Shop, tmp_path: Path, workers: int) -> None:
    seconds = max(10.0, 900 * SHARE)
    photos = [draw(number, 5) for number in range(40)]
    options = ("--workers", str(workers), "--threads", "4", "--queue", "4")
    memory: list[int] = []
    with (
        Serving(stocked.index, *options, log=tmp_path / "log") as server,
        # more than can be answered or wait, so that some are always refused
        Load(server.address, searches(photos, k="10"), threads=24 * workers, pause_s=0.01) as load,
    ):
        begun = monotonic()
        while (lasted := monotonic() - begun) < seconds:
            memory.append(anonymous_kib(server.process_ids()))
            sleep(min(seconds / 60, seconds - lasted))
        code, ending_s = server.end()
        seen = load.finish()
    write(
        f"saturation-{workers}",
        {
            "seconds": round(seconds, 1),
            "workers": workers,
            "statuses": dict(sorted(seen.statuses.items())),
            "lost": seen.lost,
            "strange": seen.strange[:20],
            "anonymous_kib": memory,
            "exit_code": code,
            "ending_s": round(ending_s, 2),
        },
    )
    assert set(seen.statuses) == {200, 503}
    assert (seen.lost, seen.strange, code) == ([], [], 0)
    assert "Traceback" not in (tmp_path / "log").read_text()
    assert memory[-1] <= FLAT * memory[len(memory) // 5]


@pytest.mark.soak
def test_twenty_ends_under_load(stocked: Shop, tmp_path: Path) -> None:
    ways = [(), ("--workers", "2"), ("--threads", "2", "--queue", "2"), ("--workers", "3", "--threads", "2")]
    found = [
        {"options": way, **end_under_load(stocked, tmp_path / f"log-{number}", *way, threads=16)}
        for number in range(max(2, round(20 * SHARE)))
        for way in [ways[number % len(ways)]]
    ]
    write("ends", {"ends": len(found), "slowest_s": max(end["seconds"] for end in found), "each": found})
    assert {end["exit_code"] for end in found} == {0}
    assert [end for end in found if end["lost"] or end["strange"] or end["traceback"]] == []
    assert max(end["seconds"] for end in found) <= END_S


@pytest.mark.soak
def test_a_database_that_restarts_under_load(tmp_path: Path, postgres_binaries: Path) -> None:
    modes: list[StopMode] = ["fast", "immediate"]
    stops = [modes[number % 2] for number in range(max(2, round(20 * SHARE)))]
    with PostgresServer(postgres_binaries) as database:
        database.start()
        url = database.new_database()
        with shop(tmp_path, products=50, where=url) as opened:
            opened.build()
            found = restart_under_load(opened, database, url, tmp_path, stops=stops)
    write("database", found)
    assert (found["acknowledged_lost"], found["acknowledged_not_found"]) == ([], [])
    assert (found["lost"], found["strange"], found["traceback"]) == ([], [], False)
    assert set(found["write_statuses"]) == {201, 503}
    assert set(found["search_statuses"]) == {200}
    assert max(found["recovered_s"]) <= 2.0


@pytest.mark.soak
def test_a_thousand_marked_photos_are_nowhere(stocked: Shop) -> None:
    found = check_that_it_is_nowhere(stocked, max(12, round(1000 * SHARE)), "--workers", "2")
    write("canary", found)
    assert (found["places"], found["files_that_came_and_went"]) == ([], [])
    assert Counter(found["statuses"]).keys() == {200, 415, 422}
