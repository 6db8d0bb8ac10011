"""Checkpoints, records and reports of a training that is killed again and again, wherever it happens to be."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.vision.model import Model
from tests.trainer.killing import killed_recipe, train_until
from tests.trainer.shapes import draw_shapes
from trainer import training
from trainer.answers import FILE as ANSWERS_FILE
from trainer.answers import read_answers
from trainer.checkpoint import BEST_FILE, FILE, load_best, load_checkpoint
from trainer.machine import Machine
from trainer.report import read_metrics
from trainer.report_page import FILE as REPORT_FILE

DEADLINE_S = 300


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_shapes(tmp_path_factory.mktemp("shapes"))


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    training.train(killed_recipe(), data, out, machine=Machine(torch.device("cpu"), 0, 1))
    return out


def require_whole(out: Path, data: Path) -> None:
    """Whatever has its final name can be read."""
    checkpoint = load_checkpoint(out)
    read_metrics(out)
    assert checkpoint is not None or not (out / FILE).exists()
    assert load_best(out) is not None or not (out / BEST_FILE).exists()
    validations = training.read_validations(killed_recipe(), data)
    assert read_answers(out, validations) is not None or not (out / ANSWERS_FILE).exists()
    if (out / REPORT_FILE).exists():
        assert (out / REPORT_FILE).read_text().rstrip().endswith("</html>")


def test_a_training_that_is_killed_anywhere_loses_nothing(data: Path, whole: Path, tmp_path: Path) -> None:
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.trainer.killing"])
    rng, out, report = np.random.default_rng(3), tmp_path / "model", tmp_path / "report.txt"
    died_at: list[str] = []
    while not died_at or died_at[-1] != "finished":
        # at least one checkpoint further each time, and in the end far enough to export
        at = int(rng.integers(12, 30 + 60 * len(died_at)))
        process = processes.Process(target=train_until, args=(data, out, at, report))
        process.start()
        process.join(DEADLINE_S)
        died_at.append(report.read_text())
        assert process.exitcode == (0 if died_at[-1] == "finished" else -9), died_at
        require_whole(out, data)
        assert len(died_at) < 25, died_at
    assert len(died_at) > 2, died_at
    expected, found = load_checkpoint(whole), load_checkpoint(out)
    assert expected is not None and found is not None
    assert expected.network.keys() == found.network.keys()
    for name, tensor in expected.network.items():
        assert torch.equal(tensor, found.network[name]), name
    assert Model.open(out).spec.model_id == Model.open(whole).spec.model_id  # of the best epoch's weights
    assert [line["epoch"] for line in read_metrics(out)] == [1, 2]
    left = {path.name for path in out.iterdir()}
    assert not [name for name in left if name.endswith(".partial")], died_at
    assert {BEST_FILE, FILE, REPORT_FILE, ANSWERS_FILE} <= left
