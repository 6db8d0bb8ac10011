"""Vectors that any kept generation has whole are not computed again, and not lost with their photos."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import WrongCatalogue
from engine.storage.generation import generation_path, open_index
from tests.fakes import tiny_model
from tests.indexer.shop import Shop, shop


@pytest.fixture
def built(tmp_path: Path) -> Iterator[Shop]:
    with shop(tmp_path, products=8) as opened:
        opened.build(shards=2)
        yield opened


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()  # generations may share the file
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["shard-0000.vectors.npy", "shard-0001.rows.arrow", "manifest.json"])
def test_what_the_last_generation_cannot_give_comes_from_the_one_before(built: Shop, name: str) -> None:
    built.build(shards=2)
    flip(generation_path(built.index, "000002") / name)
    for number in range(8):
        built.photo(number, 0).unlink()
    report = built.build(shards=2)
    assert (report.encoded, report.unreadable_photos, report.manifest.photos) == (0, 0, 16)


def test_an_older_generation_that_is_damaged_too_gives_what_is_whole_of_it(built: Shop) -> None:
    built.build(shards=2)
    flip(generation_path(built.index, "000002") / "shard-0000.vectors.npy")
    flip(generation_path(built.index, "000002") / "shard-0001.vectors.npy")
    lost = open_index(built.index).shards[1].rows
    flip(generation_path(built.index, "000001") / "shard-0001.vectors.npy")
    assert built.build(shards=2).encoded == lost


def test_a_model_that_an_older_generation_was_made_by_embeds_nothing_again(built: Shop, tmp_path: Path) -> None:
    assert built.build(tiny_model(tmp_path / "other", size=64)).encoded == 16
    assert built.build().encoded == 0


def test_an_index_without_current_still_gives_its_vectors(built: Shop) -> None:
    (built.index / "CURRENT").unlink()
    report = built.build()
    assert (report.generation, report.encoded) == ("000002", 0)
    assert open_index(built.index).name == "000002"


def test_an_index_without_current_still_belongs_to_its_catalogue(built: Shop, tmp_path: Path) -> None:
    (built.index / "CURRENT").unlink()
    (built.index / "LOCK").unlink()
    (tmp_path / "b").mkdir()
    with shop(tmp_path / "b", products=2) as other, pytest.raises(WrongCatalogue):
        other.build(out=built.index)
