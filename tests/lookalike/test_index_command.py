"""`lookalike index` as people call it: a real model on a real runtime, a summary, JSON, and sentences."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.errors import EmptyCatalogue, MissingFile
from engine.storage.generation import open_index
from lookalike.commands.index import command
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
