"""Which weights are exported and what is told of them, whatever a kill has left."""

from pathlib import Path

import torch

from tests.trainer.shapes import shapes_recipe
from tests.trainer.test_report_page import line
from trainer.checkpoint import save_best
from trainer.exported import choose
from trainer.report import write_metrics

BEST_BY = shapes_recipe(("ema = 0.9", 'ema = 0.9\nbest_by = "product_id"'))
LINES = [line(1, 0.5), line(2, 0.6), line(3, 0.7)]  # each epoch has three steps


def kept(directory: Path, epoch: int) -> None:
    save_best(directory, epoch, {"w": torch.full((1,), float(epoch))})


def test_without_a_label_to_choose_by_the_last_weights_are_exported(tmp_path: Path) -> None:
    write_metrics(tmp_path, LINES)
    kept(tmp_path, 1)
    found = choose(shapes_recipe(), tmp_path, 9)
    assert (found.weights, found.epoch, found.measured) == (None, 3, LINES[2])


def test_figures_are_those_of_the_weights_that_were_kept_not_of_a_better_epoch_that_was_not(tmp_path: Path) -> None:
    """As a kill leaves it between the record of the third epoch and its weights."""
    write_metrics(tmp_path, LINES)
    kept(tmp_path, 2)
    found = choose(BEST_BY, tmp_path, 6)
    assert found.weights is not None and found.weights["w"].item() == 2
    assert (found.epoch, found.measured, [each["epoch"] for each in found.lines]) == (2, LINES[1], [1, 2])


def test_weights_that_are_newer_than_the_checkpoint_are_exported_with_their_figures(tmp_path: Path) -> None:
    write_metrics(tmp_path, LINES)
    kept(tmp_path, 3)
    found = choose(BEST_BY, tmp_path, 6)
    assert found.weights is not None and (found.epoch, found.measured) == (3, LINES[2])


def test_weights_without_a_record_are_not_exported(tmp_path: Path) -> None:
    write_metrics(tmp_path, LINES[:2])
    kept(tmp_path, 3)
    found = choose(BEST_BY, tmp_path, 6)
    assert (found.weights, found.epoch, found.measured) == (None, 2, LINES[1])


def test_what_was_measured_after_the_checkpoint_is_not_told_of_it(tmp_path: Path) -> None:
    write_metrics(tmp_path, LINES)
    found = choose(shapes_recipe(), tmp_path, 8)  # in the third epoch
    assert (found.epoch, found.measured) == (2, LINES[1])
    assert choose(shapes_recipe(), tmp_path, 2).measured is None
    assert choose(shapes_recipe(), tmp_path / "nowhere", 2).epoch == 0
