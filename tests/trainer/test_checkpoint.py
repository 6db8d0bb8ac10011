"""Checkpoints and records: whole or refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch

from engine.errors import BadCall, DamagedFile, UnsupportedFormat, WrongModel
from trainer.checkpoint import (
    FILE,
    PREVIOUS_FILE,
    Checkpoint,
    Checkpoints,
    digests,
    load_checkpoint,
    require_same_tables,
    require_shared,
    save_checkpoint,
)
from trainer.ranks import Ranks
from trainer.report import METRICS_FILE, read_metrics, write_metrics
from trainer.tables import TrainingSet

T = TypeVar("T")


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


def saved(step: int) -> Checkpoint:
    return Checkpoint(step, "text", {}, {"w": torch.ones(2)}, None, {})


def step_in(directory: Path, name: str = FILE) -> int:
    step: int = torch.load(directory / name, weights_only=True)["step"]
    return step


def test_the_checkpoint_before_is_kept_until_the_last_one_is_proved(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(saved(1))
    assert not (tmp_path / PREVIOUS_FILE).exists()
    checkpoints.prove()
    checkpoints.save(saved(2))
    assert (step_in(tmp_path), step_in(tmp_path, PREVIOUS_FILE)) == (2, 1)
    checkpoints.save(saved(3))  # the second was never proved, so the first is still the one to fall back to
    assert (step_in(tmp_path), step_in(tmp_path, PREVIOUS_FILE)) == (3, 1)
    checkpoints.prove()
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize("killed", [False, True])
def test_an_unproved_checkpoint_gives_way_to_the_one_before(killed: bool, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(saved(1))
    checkpoints.prove()
    checkpoints.save(saved(2))
    if killed:  # what was not proved is so still after a resume
        checkpoints = Checkpoints(tmp_path)
        found = checkpoints.load()
        assert found is not None and found.step == 2
    assert checkpoints.fall_back()
    assert step_in(tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert checkpoints.fall_back() and step_in(tmp_path) == 1  # that one was proved


def test_a_first_checkpoint_that_is_no_good_is_not_left_to_resume_with(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(saved(1))
    assert not checkpoints.fall_back()
    assert not list(tmp_path.iterdir())


def test_a_training_that_saved_nothing_does_not_fall_back_on_an_earlier_one(tmp_path: Path) -> None:
    old = Checkpoints(tmp_path)
    old.save(saved(1))
    old.prove()
    old.save(saved(2))
    assert Checkpoints(tmp_path).fall_back()
    assert (step_in(tmp_path), step_in(tmp_path, PREVIOUS_FILE)) == (2, 1)


def training_set(folder: str, **changes: Any) -> TrainingSet:
    usual = {
        "name": "s",
        "quota": 2,
        "uris": tuple(f"file:///{folder}/{name}.png" for name in "abc"),
        "labels": {"t": np.array([[0], [1], [-1]])},
        "weights": np.full(3, 1 / 3),
        "products": np.array([0, 1, 1]),
    }
    return TrainingSet(**{**usual, **changes})


def test_other_photos_labels_or_products_are_other_tables_and_another_folder_is_not(tmp_path: Path) -> None:
    tables = digests([training_set("here")])
    checkpoint = replace(saved(1), tables=tables)
    require_same_tables(checkpoint, digests([training_set("over/there")]), tmp_path)
    swapped = tuple(f"file:///here/{name}.png" for name in "bac")
    for changes in (
        {"uris": swapped},
        {"labels": {"t": np.array([[0], [0], [-1]])}},
        {"labels": {"u": np.array([[0], [1], [-1]])}},
        {"products": np.array([0, 0, 1])},
        {"products": None},
    ):
        with pytest.raises(WrongModel, match="other photos or labels of 's' than its table has now; use another --out"):
            require_same_tables(checkpoint, digests([training_set("here", **changes)]), tmp_path)


class Disagreeing(Ranks):
    """Two ranks, of which the other one finds nothing."""

    def everybodys(self, value: T) -> list[T]:
        return [value, None]  # type: ignore[list-item]


def test_a_checkpoint_that_not_all_ranks_find_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadCall, match="give an --out that all machines share"):
        require_shared(7, tmp_path, Disagreeing(0, 2))
    require_shared(None, tmp_path, Disagreeing(0, 2))
    require_shared(7, tmp_path, Ranks())


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
