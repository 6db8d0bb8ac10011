"""Whatever file is damaged, repairing makes the index whole with the same photos and vectors."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import DamagedFile
from engine.storage.generation import Generation, generation_names, generation_path, open_index
from engine.vision.model import Model, write_model
from indexer.quantizer import Representation
from indexer.verify import verify_index
from tests.fakes import tiny_model
from tests.indexer.shop import Shop, encoder_of, shop


@pytest.fixture
def built(tmp_path: Path) -> Iterator[Shop]:
    with shop(tmp_path, products=12) as opened:
        opened.build(shards=3)
        yield opened


def photos(generation: Generation) -> dict[int, tuple[str, str]]:
    """Product and address of every photo."""
    return {
        int(shard.photo_ids[row]): (generation.products.product_id(int(shard.ordinals[row])), shard.uri(row))
        for shard in generation.shards
        for row in range(shard.rows)
    }


def vectors(generation: Generation) -> NDArray[np.float16]:
    """[photos, dim] by rising photo id."""
    ids = np.concatenate([shard.photo_ids for shard in generation.shards])
    return np.concatenate([shard.vectors for shard in generation.shards])[np.argsort(ids)]


NAMES = [
    "manifest.json",
    "quantizer.faiss",
    "products.arrow",
    "shard-0001.faiss",
    "shard-0001.vectors.npy",
    "shard-0001.rows.arrow",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", ["gone", "flipped"])
def test_a_damaged_file_is_made_again(built: Shop, name: str, damage: str) -> None:
    before = open_index(built.index)
    path = generation_path(built.index, "000001") / name
    data = bytearray(path.read_bytes())
    path.unlink()
    if damage == "flipped":
        data[len(data) // 2] ^= 16
        path.write_bytes(data)
    report = built.repair()
    assert [finding.path for finding in report.findings] == [path]
    assert report.built is not None
    assert report.built.encoded == {"manifest.json": 24, "shard-0001.vectors.npy": 8, "shard-0001.rows.arrow": 8}.get(
        name, 0
    )
    assert verify_index(built.index) == []
    after = open_index(built.index)
    assert photos(after) == photos(before)
    assert np.allclose(vectors(after), vectors(before), atol=1e-3)  # batches differ, and with them the last bits
    assert generation_names(built.index) == ["000002"]  # the damaged one is gone
    assert len(after.shards) == 3


def test_healthy_shards_are_linked_and_not_computed(built: Shop) -> None:
    path = generation_path(built.index, "000001")
    before = {file.name: file.stat().st_ino for file in path.iterdir()}
    (path / "shard-0001.vectors.npy").unlink()
    assert built.repair().built is not None
    after = {file.name: file.stat().st_ino for file in generation_path(built.index, "000002").iterdir()}
    for name in ("quantizer.faiss", "shard-0000.faiss", "shard-0000.vectors.npy", "shard-0002.vectors.npy"):
        assert after[name] == before[name]


def test_a_whole_index_is_left_alone(built: Shop) -> None:
    report = built.repair()
    assert (report.findings, report.built) == ((), None)
    assert generation_names(built.index) == ["000001"]


def test_a_damaged_older_generation_goes(built: Shop) -> None:
    built.build()
    (generation_path(built.index, "000001") / "shard-0002.faiss").unlink()
    report = built.repair()
    assert len(report.findings) == 1
    assert report.built is None
    assert generation_names(built.index) == ["000002"]
    assert verify_index(built.index) == []


@pytest.mark.parametrize("name", ["model.json", "encoder.onnx", "heads.safetensors"])
def test_the_model_is_brought_back(built: Shop, name: str) -> None:
    path = open_index(built.index).model_path / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    report = built.repair()
    assert [finding.path for finding in report.findings] == [path]
    assert report.built is None
    assert verify_index(built.index) == []


@pytest.mark.parametrize("text", [None, "", "000001", "nonsense\n"])
def test_a_damaged_current_names_the_newest_whole_generation_again(built: Shop, text: str | None) -> None:
    built.build()
    (built.index / "CURRENT").unlink()
    if text is not None:
        (built.index / "CURRENT").write_text(text)
    assert built.repair().built is None
    assert open_index(built.index).name == "000002"
    assert verify_index(built.index) == []


def test_changes_since_come_with_the_repair(built: Shop) -> None:
    (generation_path(built.index, "000001") / "shard-0000.faiss").unlink()
    built.stock(range(12, 14))
    with built.catalogue.transaction() as writer:
        writer.delete_product("p0002")
    report = built.repair()
    assert report.built is not None
    assert report.built.encoded == 4
    assert open_index(built.index).products.count == 13


def test_an_index_of_another_model_is_built_anew(built: Shop, tmp_path: Path) -> None:
    (generation_path(built.index, "000001") / "shard-0000.faiss").unlink()
    built.model = tiny_model(tmp_path / "other", dim=24)
    built.encoder = type(built.encoder)(24, model_id=built.model.spec.model_id)
    report = built.repair()
    assert report.built is not None
    assert report.built.manifest.dim == 24
    assert verify_index(built.index) == []


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()  # generations may share the file
    path.write_bytes(data)


def test_what_an_older_generation_has_whole_outlives_its_photos(built: Shop) -> None:
    before = photos(open_index(built.index))
    built.build(shards=3)
    flip(generation_path(built.index, "000002") / "shard-0000.vectors.npy")
    for path in built.folder.glob("p*.png"):
        path.unlink()
    report = built.repair()
    assert (report.lost_photos, report.left, report.dropped) == (0, (), ("000002",))
    assert photos(open_index(built.index)) == before


@pytest.mark.parametrize(("name", "doubtful"), [("shard-0001.vectors.npy", 0), ("shard-0001.rows.arrow", 1)])
def test_photos_that_a_repair_loses_are_counted(tmp_path: Path, name: str, doubtful: int) -> None:
    with shop(tmp_path, products=12) as opened:
        opened.photo(0).unlink()  # was never in the index, which only the rows can tell
        opened.build(shards=3)
        had = open_index(opened.index).shards[1].rows
        flip(generation_path(opened.index, "000001") / name)
        for path in opened.folder.glob("p*.png"):
            path.unlink()
        report = opened.repair()
        assert report.built is not None
        assert (report.lost_photos, report.built.unreadable_photos) == (had + doubtful, had + 1)
        assert report.left == ()


def other_model(opened: Shop) -> Model:
    """One of another network, for the same encoder class."""
    return tiny_model(opened.folder / "other", size=64)


def test_an_older_generation_goes_with_its_model_where_that_cannot_be_restored(built: Shop) -> None:
    older = open_index(built.index).model_path
    built.model = other_model(built)
    built.encoder = encoder_of(built.model)
    built.build()
    flip(older / "encoder.onnx")
    report = built.repair()
    assert (report.built, report.dropped, report.left) == (None, ("000001",), ())
    assert verify_index(built.index) == []
    assert not older.exists()


def test_a_model_that_only_an_older_generation_uses_is_brought_back(built: Shop) -> None:
    older = open_index(built.index).model_path
    built.build(other_model(built))
    flip(older / "encoder.onnx")
    report = built.repair()
    assert (report.built, report.dropped, report.left) == (None, (), ())
    assert verify_index(built.index) == []


def test_what_the_wrong_model_cannot_repair_is_left_and_told(built: Shop) -> None:
    path = open_index(built.index).model_path / "encoder.onnx"
    built.build()
    flip(path)
    model, encoder = built.model, built.encoder
    built.model = other_model(built)
    built.encoder = encoder_of(built.model)
    report = built.repair()
    assert (report.built, report.dropped) == (None, ())
    assert [finding.path for finding in report.left] == [path]
    built.model, built.encoder = model, encoder
    assert built.repair().left == ()
    assert generation_names(built.index) == ["000001", "000002"]


def test_another_export_of_the_same_network_is_as_good(built: Shop) -> None:
    flip(open_index(built.index).model_path / "encoder.onnx")
    files = {"encoder.onnx": built.model.encoder_path.read_bytes() + b"\0", "heads.safetensors": built.model.heads_path}
    built.model = write_model(built.folder / "again", built.model.spec, files)
    report = built.repair()
    assert report.built is not None
    assert (report.built.encoded, report.left) == (0, ())
    assert verify_index(built.index) == []


def test_a_damaged_model_repairs_nothing(built: Shop) -> None:
    path = open_index(built.index).model_path / "encoder.onnx"
    flip(path)
    flip(built.model.encoder_path)
    data = path.read_bytes()
    with pytest.raises(DamagedFile, match=r"model/encoder\.onnx"):
        built.repair()
    assert path.read_bytes() == data


@pytest.mark.parametrize("representation", ["rabitq", "int8", "float16"])
def test_a_repair_builds_what_was_asked_for(built: Shop, representation: Representation) -> None:
    before = built.build(shards=2, recall=0.995, representation=representation).manifest
    flip(generation_path(built.index, "000002") / "quantizer.faiss")
    report = built.repair()
    assert report.built is not None
    after = report.built.manifest
    assert (after.codec, after.recall_target, after.shards) == (before.codec, 0.995, 2)
