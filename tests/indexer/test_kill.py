"""A build may die anywhere: the old generation answers, and the next build goes on and leaves nothing behind."""

import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import IndexMissing
from engine.storage.generation import open_index
from engine.telemetry import Progress
from indexer import embed
from indexer.verify import verify_index
from tests.indexer.shop import Shop, shop


class Killed(BaseException):
    """Nobody catches this on purpose."""


class Killer:
    """Progress that ends the work at the `at`-th thing it hears, and counts what it heard."""

    def __init__(self, at: int, *, truly: bool = False) -> None:
        self.heard = 0
        self._at = at
        self._truly = truly

    def _hear(self) -> None:
        self.heard += 1
        if self.heard == self._at:
            if self._truly:
                os._exit(9)  # as kill -9 does: nothing is flushed, closed or released
            raise Killed

    def start(self, title: str, total: int | None = None) -> None:
        self._hear()

    def advance(self, steps: int = 1) -> None:
        self._hear()

    def note(self, text: str) -> None:
        pass

    def finish(self) -> None:
        pass


@pytest.fixture
def grown(tmp_path: Path) -> Iterator[Shop]:
    """An index of 12 products, and 3 more in the catalogue."""
    with shop(tmp_path) as opened:
        opened.build()
        opened.stock(range(12, 15))
        yield opened


def clean(index: Path) -> bool:
    return sorted(path.name for path in index.iterdir()) == ["CURRENT", "LOCK", "generations", "models"]


def test_a_build_killed_at_any_step_changes_nothing_until_it_is_done(grown: Shop) -> None:
    steps = Killer(at=0)
    grown.build(out=grown.folder / "steps", progress=steps)
    done = False
    for at in range(1, steps.heard + 1):
        before = open_index(grown.index).name
        try:
            grown.build(progress=Killer(at))
            break
        except Killed:
            generation = open_index(grown.index)
            assert verify_index(grown.index) == []
        if generation.name != before:  # CURRENT was moved: all there is
            done = True
        assert generation.products.count == (15 if done else 12), f"step {at}"
    assert done
    grown.build()
    assert clean(grown.index)
    assert verify_index(grown.index) == []


def test_a_first_build_killed_at_any_step_is_no_index_or_a_whole_one(tmp_path: Path) -> None:
    with shop(tmp_path, products=4, photos=1) as opened:
        for at in range(1, 100):
            with pytest.raises(Killed):
                opened.build(progress=Killer(at))
            try:
                generation = open_index(opened.index)
                break
            except IndexMissing:
                continue
        assert at > 10
        assert generation.products.count == 4
        assert verify_index(opened.index) == []
        opened.build()
        assert clean(opened.index)


def build_until(folder: Path, listener: Progress) -> None:
    """What the killed process does: the catalogue and the index are there already."""
    Shop(folder).build(progress=listener)


def test_a_process_that_is_killed_leaves_the_index_answering(grown: Shop) -> None:
    steps = Killer(at=0)
    grown.build(out=grown.folder / "steps", progress=steps)
    # it dies when its manifest is written and nothing renamed yet
    process = multiprocessing.get_context("spawn").Process(
        target=build_until, args=(grown.folder, Killer(steps.heard - 3, truly=True))
    )
    process.start()
    process.join(600)
    assert process.exitcode == 9
    assert verify_index(grown.index) == []
    grown.build()  # the dead process does not hold the lock
    assert open_index(grown.index).products.count == 15
    assert clean(grown.index)


def test_what_was_embedded_before_a_kill_is_not_embedded_again(tmp_path: Path) -> None:
    photos = embed.PART + 3 * embed.BATCH
    with shop(tmp_path, products=photos, photos=1) as opened:
        # one step to begin reading, one for all that is read, one to begin embedding, then one a batch
        with pytest.raises(Killed):
            opened.build(progress=Killer(1 + 1 + 1 + embed.PART // embed.BATCH + 2))
        before = opened.encoder.photos_encoded
        assert before > embed.PART
        report = opened.build()
        assert report.encoded == opened.encoder.photos_encoded - before == photos - embed.PART
        assert report.manifest.photos == photos
        assert verify_index(opened.index) == []
