"""Photos that cannot be read for a while are counted, told once, and found when they can be read again."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.search.base import Base
from engine.search.follow import Follower
from engine.search.retries import EVERY_S
from engine.search.search_engine import SearchEngine
from engine.search.snapshot import Snapshot
from engine.storage.generation import open_index
from engine.updates import Updates, Upsert
from tests.engine.search.test_live import wait_until
from tests.indexer.shop import Shop, draw, shop


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Shop]:
    with shop(tmp_path, products=4) as made:
        made.build()
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def follower(opened: Shop, clock: Clock) -> Follower:
    base = Base.open(open_index(opened.index), opened.encoder)
    return Follower(
        opened.index,
        opened.catalogue,
        Snapshot(base),
        lambda generation, before: Base.open(generation, opened.encoder, before=before),
        clock,
    )


def run(follower: Follower, steps: int = 20) -> None:
    for _ in range(steps):
        follower.step()


def found(follower: Follower) -> set[str]:
    snapshot = follower.snapshot
    return {snapshot.seen(ordinal).product_id for ordinal in np.flatnonzero(snapshot.matching(None)).tolist()}


def share_down(opened: Shop) -> None:
    (opened.folder / "away").mkdir()
    for path in opened.folder.glob("p*.png"):
        path.rename(opened.folder / "away" / path.name)


def share_up(opened: Shop) -> None:
    for path in (opened.folder / "away").iterdir():
        path.rename(opened.folder / path.name)


def test_photos_of_a_share_that_was_away_are_found_when_it_is_back(
    opened: Shop, follower: Follower, clock: Clock
) -> None:
    opened.stock(range(4, 90))
    share_down(opened)
    run(follower)
    assert len(found(follower)) == 4
    assert len(follower.snapshot.delta.unreadable) == 86
    share_up(opened)
    run(follower)
    assert len(found(follower)) == 4  # not at once: a minute has to pass
    clock.now += EVERY_S
    run(follower)
    assert found(follower) == {f"p{number:04d}" for number in range(90)}
    assert follower.snapshot.photos == 180
    assert follower.snapshot.delta.unreadable == {}
    assert follower.snapshot.delta.change_number == opened.catalogue.change_number()


def test_what_stays_unreadable_stays_told_and_the_snapshot_as_it_is(
    opened: Shop, follower: Follower, clock: Clock
) -> None:
    opened.stock(range(4, 8))
    opened.photo(5).unlink()
    opened.photo(6).unlink()
    run(follower)
    before = follower.snapshot
    assert before.delta.unreadable.keys() == {"p0005", "p0006"}
    clock.now += EVERY_S
    assert follower.step() is False
    assert follower.snapshot is before
    opened.photo(6).write_bytes(draw(6, 0))
    clock.now += EVERY_S
    run(follower)
    assert follower.snapshot.delta.unreadable == {"p0005": before.delta.unreadable["p0005"]}
    assert len(follower.snapshot.product("p0006").photo_ids) == 2


def test_changes_come_before_photos_that_are_tried_again(opened: Shop, follower: Follower, clock: Clock) -> None:
    opened.stock(range(4, 6))
    opened.photo(5).unlink()
    run(follower)
    opened.photo(5).write_bytes(draw(5, 0))
    clock.now += EVERY_S
    opened.stock(range(6, 7))
    follower.step()
    assert "p0006" in found(follower)
    assert follower.snapshot.delta.unreadable.keys() == {"p0005"}
    follower.step()
    assert follower.snapshot.delta.unreadable == {}


def test_a_generation_that_was_built_without_them_goes_on_trying(
    opened: Shop, follower: Follower, clock: Clock
) -> None:
    opened.stock(range(4, 7))
    opened.photo(5, 0).unlink()
    opened.photo(5, 1).unlink()
    opened.photo(6, 1).unlink()
    run(follower)
    opened.build()
    run(follower)
    assert follower.snapshot.base.generation.name == "000002"
    assert follower.snapshot.delta.unreadable.keys() == {"p0005", "p0006"}
    assert "p0005" not in found(follower)
    opened.stock(range(5, 7))  # puts the files back; the catalogue has no change of it
    clock.now += EVERY_S
    run(follower)
    assert follower.snapshot.delta.unreadable == {}
    assert "p0005" in found(follower)
    assert follower.snapshot.photos == 14


def test_a_product_that_is_deleted_is_tried_no_more(opened: Shop, follower: Follower, clock: Clock) -> None:
    opened.stock(range(4, 6))
    share_down(opened)
    run(follower)
    Updates(opened.catalogue).delete(["p0004"])
    run(follower)
    assert follower.snapshot.delta.unreadable.keys() == {"p0005"}
    share_up(opened)
    clock.now += EVERY_S
    run(follower)
    assert found(follower) == {"p0000", "p0001", "p0002", "p0003", "p0005"}


def test_the_engine_counts_them_and_says_so_once(
    opened: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("engine.search.retries.EVERY_S", 0.05)
    with SearchEngine.open(opened.index, catalogue=opened.catalogue, encoder=opened.encoder) as engine:
        for number in (4, 5):
            opened.stock(range(number, number + 1))
            opened.photo(number).unlink()
            assert engine.caught_up(opened.catalogue.change_number(), timeout_s=30)
        assert engine.unreadable_photos == 2
        (record,) = caplog.records
        assert "1 new photos cannot be read" in record.getMessage()
        assert opened.photo(4).name in record.getMessage()
        opened.stock(range(4, 6))
        wait_until(lambda: engine.unreadable_photos == 0)
        done = Updates(opened.catalogue, opened.encoder).upsert(Upsert("new", photos=[draw(60, 0)]))
        assert engine.caught_up(done.change_number, timeout_s=30)
        assert engine.photos == 13
    assert len(caplog.records) == 1
