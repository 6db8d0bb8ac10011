"""Opening an index: what answers, and one sentence where nothing can."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import DamagedFile, IndexMissing, UnsupportedFormat
from engine.storage.generation import CURRENT, generation_path, open_index
from engine.storage.shard import shard_files
from tests.indexer.shop import Shop, shop


@pytest.fixture
def built(tmp_path: Path) -> Iterator[Shop]:
    with shop(tmp_path, products=4, photos=1) as opened:
        opened.build()
        yield opened


def test_current_decides_what_answers(built: Shop) -> None:
    built.stock(range(4, 6), photos=1)
    built.build()
    assert open_index(built.index).products.count == 6
    (built.index / CURRENT).write_text("000001\n")
    assert open_index(built.index).products.count == 4


def test_a_closed_generation_lets_its_shards_go(built: Shop) -> None:
    generation = open_index(built.index)
    shard = generation.shards[0]
    generation.close()
    assert generation.shards == ()
    assert shard.uri(0).endswith(".png")  # a query that still runs is not disturbed


@pytest.mark.parametrize("where", ["nowhere", "shop.db"])
def test_no_index_is_told_so(built: Shop, where: str) -> None:
    with pytest.raises(IndexMissing, match="lookalike index"):
        open_index(built.folder / where)


def test_a_directory_without_current_is_no_index(built: Shop) -> None:
    (built.index / CURRENT).unlink()
    with pytest.raises(IndexMissing):
        open_index(built.index)


@pytest.mark.parametrize("data", [b"", b"../../etc", b"\xff\xfe", b"1 2"])
def test_a_current_that_is_no_name_is_damage(built: Shop, data: bytes) -> None:
    (built.index / CURRENT).write_bytes(data)
    with pytest.raises(DamagedFile, match="CURRENT"):
        open_index(built.index)


def test_a_current_that_names_no_generation_is_damage(built: Shop) -> None:
    (built.index / CURRENT).write_text("000009\n")
    with pytest.raises(DamagedFile, match="000009"):
        open_index(built.index)


@pytest.mark.parametrize("change", ["cut", "longer", "gone"])
def test_a_half_written_generation_is_refused_by_name(built: Shop, change: str) -> None:
    path = generation_path(built.index, "000001")
    for file in sorted(path.iterdir()):
        data = file.read_bytes()
        match change:
            case "cut":
                file.write_bytes(data[: len(data) // 2])
            case "longer":
                file.write_bytes(data + b"}")
            case "gone":
                file.unlink()
        with pytest.raises(DamagedFile, match=file.name):
            open_index(built.index)
        file.write_bytes(data)
    assert open_index(built.index).products.count == 4


def test_healthy_shards_answer_without_the_damaged_one(tmp_path: Path) -> None:
    with shop(tmp_path, products=12, photos=1) as opened:
        opened.build(shards=3)
        path = generation_path(opened.index, "000001")
        whole = open_index(opened.index)
        assert whole.damaged == ()
        for name, change in itertools.product(shard_files(1), ("cut", "rubbish", "gone")):
            data = (path / name).read_bytes()
            match change:
                case "cut":
                    (path / name).write_bytes(data[:-1])
                case "rubbish":
                    (path / name).write_bytes(b"\xff" * len(data))
                case "gone":
                    (path / name).unlink()
            with pytest.raises(DamagedFile, match=name):
                open_index(opened.index)
            partial = open_index(opened.index, allow_damaged=True)
            assert partial.shard_numbers == (0, 2)
            assert [len(shard.photo_ids) for shard in partial.shards] == [whole.shards[0].rows, whole.shards[2].rows]
            (sentence,) = partial.damaged
            assert "Shard 1 of 3" in sentence
            assert name in sentence
            (path / name).write_bytes(data)


def test_without_any_whole_shard_nothing_answers(built: Shop) -> None:
    (generation_path(built.index, "000001") / "shard-0000.faiss").unlink()
    with pytest.raises(DamagedFile, match="shard-0000"):
        open_index(built.index, allow_damaged=True)


@pytest.mark.parametrize("name", ["manifest.json", "quantizer.faiss", "products.arrow"])
def test_what_all_shards_need_must_be_whole(tmp_path: Path, name: str) -> None:
    with shop(tmp_path, products=12, photos=1) as opened:
        opened.build(shards=3)
        (generation_path(opened.index, "000001") / name).write_bytes(b"")
        with pytest.raises(DamagedFile, match=name):
            open_index(opened.index, allow_damaged=True)


def test_a_later_format_is_refused(built: Shop) -> None:
    path = generation_path(built.index, "000001") / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(UnsupportedFormat, match="99"):
        open_index(built.index)
