"""Checkpoints and records: whole or refused."""

from pathlib import Path

import pytest
import torch

from engine.errors import DamagedFile, UnsupportedFormat
from trainer.checkpoint import FILE, Checkpoint, load_checkpoint, save_checkpoint
from trainer.report import METRICS_FILE, read_metrics, write_metrics


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    saved = Checkpoint(7, "text", {"t": ("a", "b")}, {"w": torch.ones(2)}, None, {"state": {}})
    save_checkpoint(tmp_path, saved)
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert (found.step, found.recipe, found.classes, found.average) == (7, "text", {"t": ("a", "b")}, None)
    assert torch.equal(found.network["w"], torch.ones(2))
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path) is None


def test_half_a_checkpoint_is_damaged(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, Checkpoint(7, "text", {}, {"w": torch.ones(2000)}, None, {}))
    whole = (tmp_path / FILE).read_bytes()
    for length in (0, 10, len(whole) // 2):
        (tmp_path / FILE).write_bytes(whole[:length])
        with pytest.raises(DamagedFile, match="remove it to start anew"):
            load_checkpoint(tmp_path)


def test_a_checkpoint_of_another_version_is_refused(tmp_path: Path) -> None:
    torch.save({"format": 99}, tmp_path / FILE)
    with pytest.raises(UnsupportedFormat):
        load_checkpoint(tmp_path)


def test_a_line_cut_short_ends_the_record(tmp_path: Path) -> None:
    lines = [{"epoch": 1, "name": "Möbel"}, {"epoch": 2}]
    write_metrics(tmp_path, lines)
    assert read_metrics(tmp_path) == lines
    path = tmp_path / METRICS_FILE
    path.write_bytes(path.read_bytes() + b'{"epoch": 3, "lo')
    assert read_metrics(tmp_path) == lines
    assert read_metrics(tmp_path / "nowhere") == []
