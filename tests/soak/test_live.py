"""The live parts for long: a million operations, two hundred switches, a hundred kills.

`LOOKALIKE_SOAK=0.01` makes a hundredth of it. `make test` has the same, reduced, under the names of what they test.
"""

import json
import os
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest

from engine.search.search_engine import SearchEngine
from indexer.prune import prune_index
from tests.engine.search.live_model import LiveModel
from tests.engine.search.switching import held, switches_under_load
from tests.engine.test_killed_updates import kill_writers
from tests.indexer.shop import shop

SHARE = float(os.environ.get("LOOKALIKE_SOAK", "1"))
RESULTS = Path(__file__).parent
TURNOVERS = 20
BUILT_ANEW = 5  # every so many turnovers; the others merge
FLAT = 1.25  # times the memory after the fifth turnover that there may be after the last


def write(name: str, figures: dict[str, Any]) -> None:
    """Keeps what a run saw, so that it can be committed."""
    (RESULTS / f"live-{name}.json").write_text(json.dumps({"share": SHARE, **figures}, indent=1) + "\n")


@pytest.mark.soak
def test_a_million_operations_leave_engine_and_model_of_one_mind(tmp_path: Path) -> None:
    operations = max(2000, round(1_000_000 * SHARE))
    rng = np.random.default_rng(0)
    memory: list[dict[str, int]] = []
    start = perf_counter()
    checks = 0
    with shop(tmp_path, products=100) as opened:
        opened.build(shards=2)
        model = LiveModel(opened, rng, products=400, at_once=60)
        with SearchEngine.open(opened.index, catalogue=opened.catalogue, encoder=opened.encoder) as engine:
            for turnover in range(1, TURNOVERS + 1):
                while model.operations < operations * turnover / TURNOVERS:
                    model.change()
                    if rng.random() < 0.1:
                        assert engine.caught_up(model.change_number, timeout_s=120)
                        model.check(engine)
                        checks += 1
                if turnover % BUILT_ANEW:
                    opened.merge()
                else:
                    opened.build()
                prune_index(opened.catalogue, opened.index)
                assert engine.caught_up(model.change_number, timeout_s=120)
                model.check(engine)
                memory.append(held(opened.index))
            assert engine.problem is None
    figures = {
        "operations": model.operations,
        "changes": model.change_number,
        "full_checks": checks + TURNOVERS,
        "generations": TURNOVERS + 1,
        "seconds": round(perf_counter() - start, 1),
        "anonymous_kib_by_turnover": [note["anonymous_kib"] for note in memory],
        "open_files_by_turnover": [note["open_files"] for note in memory],
    }
    write("model", figures)
    assert memory[-1]["anonymous_kib"] <= FLAT * memory[4]["anonymous_kib"]
    assert memory[-1]["open_files"] <= memory[4]["open_files"] + 4


@pytest.mark.soak
def test_two_hundred_switches_under_eight_threads(tmp_path: Path) -> None:
    switches = max(10, round(200 * SHARE))
    notes: list[dict[str, int]] = []
    start = perf_counter()
    with shop(tmp_path, products=200) as opened:
        searchers = switches_under_load(opened, switches, threads=8, build_every=20, note=notes.append)
    write(
        "switches",
        {
            "switches": switches,
            "threads": 8,
            "searches": searchers.searches,
            "errors": list(map(repr, searchers.wrong)),
            "generations_seen": len(searchers.generations),
            "seconds": round(perf_counter() - start, 1),
            "anonymous_kib": [note["anonymous_kib"] for note in notes[:: max(1, switches // 20)]],
            "open_files": [note["open_files"] for note in notes[:: max(1, switches // 20)]],
            "most_mapped_generations": max(note["mapped_generations"] for note in notes),
        },
    )
    assert searchers.wrong == []
    quarter = len(notes) // 4
    assert notes[-1]["anonymous_kib"] <= FLAT * notes[quarter]["anonymous_kib"]
    assert notes[-1]["open_files"] <= notes[quarter]["open_files"] + 4


@pytest.mark.soak
def test_a_hundred_killed_writers_lose_nothing(tmp_path: Path) -> None:
    start = perf_counter()
    done = kill_writers(tmp_path, kills=max(3, round(100 * SHARE)), seed=0)
    write("killed-upserts", {**done, "seconds": round(perf_counter() - start, 1)})
    assert (done["lost"], done["came_back"]) == (0, 0)
