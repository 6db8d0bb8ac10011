"""Whatever file is damaged, repairing makes the index whole with the same photos and vectors."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.storage.generation import Generation, generation_names, generation_path, open_index
from indexer.verify import verify_index
from tests.fakes import tiny_model
from tests.indexer.shop import Shop, shop


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


@pytest.mark.parametrize("text", ["", "000001", "nonsense\n"])
def test_a_damaged_current_names_the_newest_whole_generation_again(built: Shop, text: str) -> None:
    built.build()
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
