"""`lookalike index` as people call it: a real model on a real runtime, a summary, JSON, and sentences."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.errors import BadCall, EmptyCatalogue, MissingFile
from engine.storage.generation import open_index
from indexer.verify import verify_index
from lookalike.commands.index import command
from tests.fakes import tiny_model
from tests.indexer.shop import shop


def arguments(folder: Path, *more: str) -> list[str]:
    return [
        *("--catalogue", str(folder / "shop.db")),
        *("--model", str(folder / "model")),
        *("--out", str(folder / "index")),
        *more,
    ]


def test_an_index_is_built_and_summed_up(tmp_path: Path) -> None:
    with shop(tmp_path, products=5, photos=2) as opened:
        opened.photo(4).unlink()
    first = CliRunner().invoke(command, arguments(tmp_path, "--shards", "2"), catch_exceptions=False)
    assert first.exit_code == 0
    assert "9 (9 embedded, 0 copied)" in first.output
    assert "Left out photo" in first.output
    assert "p0004-0.png" in first.output.replace("\n", "")
    second = CliRunner().invoke(command, arguments(tmp_path, "--json"), catch_exceptions=False)
    report = json.loads(second.stdout)
    assert (report["encoded"], report["copied"], len(report["unreadable"])) == (0, 9, 1)
    assert report["manifest"]["photos"] == 9
    assert report["bytes_per_photo"] > 0
    generation = open_index(tmp_path / "index")
    assert (generation.name, report["generation"]) == ("000002", "000002")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with shop(tmp_path, products=0):
        pass
    with pytest.raises(EmptyCatalogue):
        CliRunner().invoke(command, arguments(tmp_path), catch_exceptions=False)
    with pytest.raises(MissingFile, match=r"nowhere"):
        CliRunner().invoke(
            command, [*arguments(tmp_path), "--model", str(tmp_path / "nowhere")], catch_exceptions=False
        )
    with pytest.raises(MissingFile, match=r"nowhere\.db"):
        CliRunner().invoke(
            command, [*arguments(tmp_path), "--catalogue", str(tmp_path / "nowhere.db")], catch_exceptions=False
        )
    assert CliRunner().invoke(command, arguments(tmp_path, "--shards", "0")).exit_code == 2


def run(folder: Path, *more: str) -> str:
    result = CliRunner().invoke(command, arguments(folder, *more), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_an_index_is_merged_pruned_and_repaired(tmp_path: Path) -> None:
    with shop(tmp_path, products=6, photos=2) as opened:
        run(tmp_path, "--shards", "2", "--bytes-per-photo", "4", "--recall", "0.9")
        assert "up to date" in run(tmp_path, "--merge")
        opened.stock(range(6, 8))
        opened.put_vectors(range(6, 8))
        merged = json.loads(run(tmp_path, "--merge", "--json"))
        assert (merged["generation"], merged["encoded"], merged["manifest"]["shards"]) == ("000002", 0, 2)
        assert (merged["manifest"]["bytes_per_photo_asked"], merged["manifest"]["recall_target"]) == (4, 0.9)
        assert "PQ8x4" in merged["manifest"]["codec"]
        pruned = json.loads(run(tmp_path, "--prune", "--json"))
        assert pruned["generations"] == ["000001", "000002"]
        assert "is whole; nothing was done" in run(tmp_path, "--repair")
        (tmp_path / "index" / "generations" / "000002" / "shard-0001.vectors.npy").unlink()
        repaired = json.loads(run(tmp_path, "--repair", "--json"))
        assert "shard-0001.vectors.npy is missing" in repaired["findings"][0]["problem"]
        assert repaired["built"]["generation"] == "000003"
        assert verify_index(tmp_path / "index") == []


def test_what_cannot_be_asked_together_is_refused(tmp_path: Path) -> None:
    for wrong, sentence in (
        (("--merge", "--repair"), "Only one"),
        (("--merge", "--shards", "3"), "leave"),
        (("--merge", "--bytes-per-photo", "8"), "leave"),
        (("--merge", "--representation", "pq"), "leave --representation out"),
        (("--repair", "--bytes-per-photo", "16", "--recall", "0.9"), "leave --bytes-per-photo and --recall out"),
        (("--repair", "--shards", "2"), "leave"),
        (("--prune", "--workers", "2"), "leave"),
        (("--representation", "int8", "--bytes-per-photo", "16"), "int8 have one size; leave"),
    ):
        with pytest.raises(BadCall, match=sentence):
            CliRunner().invoke(command, arguments(tmp_path, *wrong), catch_exceptions=False)
    with shop(tmp_path, products=0):
        pass
    nameless = ["--catalogue", str(tmp_path / "shop.db"), "--out", str(tmp_path / "index")]
    with pytest.raises(BadCall, match="add --model"):
        CliRunner().invoke(command, nameless, catch_exceptions=False)


def test_a_repair_that_leaves_damage_or_loses_photos_has_not_worked(tmp_path: Path) -> None:
    with shop(tmp_path, products=6, photos=2):
        run(tmp_path, "--shards", "2")
    model = next((tmp_path / "index" / "models").iterdir())
    (model / "encoder.onnx").write_bytes(b"")
    tiny_model(tmp_path / "other", size=64)
    wrong = CliRunner().invoke(command, [*arguments(tmp_path, "--repair"), "--model", str(tmp_path / "other")])
    assert wrong.exit_code == 1
    assert f"is not whole; repair it with --model naming {model.name[:12]}" in wrong.stdout
    assert "is whole again" in run(tmp_path, "--repair")
    for path in tmp_path.glob("p*.png"):
        path.unlink()
    (tmp_path / "index" / "generations" / "000001" / "shard-0001.vectors.npy").write_bytes(b"")
    lost = CliRunner().invoke(command, arguments(tmp_path, "--repair"))
    assert lost.exit_code == 1
    assert "photos are lost" in lost.stdout
    assert run(tmp_path, "--repair").endswith("is whole; nothing was done.\n")
