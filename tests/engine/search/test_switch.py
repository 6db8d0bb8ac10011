"""Many threads search while the catalogue changes and generations are switched; `make soak` does so for longer."""

import sys
from pathlib import Path

import pytest

from tests.engine.search.switching import switches_under_load
from tests.indexer.shop import shop


@pytest.mark.skipif(sys.platform != "linux", reason="what a process holds is read from /proc")
def test_searches_see_one_moment_each_while_generations_switch(tmp_path: Path) -> None:
    notes: list[dict[str, int]] = []
    with shop(tmp_path, products=8) as opened:
        searchers = switches_under_load(opened, 3, threads=3, build_every=2, note=notes.append)
    assert searchers.wrong == []
    assert searchers.searches > 8
    assert len(searchers.generations) >= 2
    assert max(note["mapped_generations"] for note in notes) <= 3  # one answers, one comes, one is let go
    assert notes[-1]["open_files"] <= notes[0]["open_files"] + 4
