"""Several real processes against one: the same loss, the same gradients, the same model."""

import os
import subprocess
import sys
from pathlib import Path
from typing import TypeVar

import pytest
import torch
from torch import multiprocessing

from engine.errors import BadRecipe
from tests.trainer.shapes import RECIPE, draw_shapes
from tests.trainer.test_training import StopAfter
from tests.trainer.two_ranks import PHOTOS, in_group, parts_of_losses, whole_batch
from trainer import training
from trainer.checkpoint import Checkpoint, load_checkpoint
from trainer.machine import Machine
from trainer.ranks import Ranks
from trainer.recipe import parse_recipe
from trainer.report import read_metrics
from trainer.sampler import BatchSampler
from trainer.tables import read_training_data

SIZE = 2
T = TypeVar("T")


@pytest.fixture(autouse=True)
def on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "lo0")


def test_two_processes_with_half_the_batch_each_find_the_loss_and_gradients_of_one_with_all(tmp_path: Path) -> None:
    multiprocessing.spawn(in_group, (SIZE, str(tmp_path), parts_of_losses), SIZE)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(SIZE)]
    for name, expected in whole_batch().items():
        assert float(expected["loss"]) > 0, name
        together = torch.empty_like(expected["inputs"])
        for rank, part in enumerate(parts):
            together[torch.tensor(Ranks(rank, SIZE).part(range(PHOTOS)))] = part[name]["inputs"]
        torch.testing.assert_close(together, expected["inputs"], msg=name)
        for part in parts:
            for key in expected.keys() - {"inputs"}:
                torch.testing.assert_close(part[name][key], expected[key], msg=f"{name}: {key}")


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_ranks_part_a_batch_among_them_evenly(size: int) -> None:
    batch = list(range(11))
    parts = [Ranks(rank, size).part(batch) for rank in range(size)]
    assert sorted(entry for part in parts for entry in part) == batch
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


# without mixing, which is among photos of one rank, and with statistics that are not of one rank's photos; with plain
# descent, because AdamW makes of a gradient's last digit what it makes of its first
ON_RANKS = (
    RECIPE.replace("image_size = 32", "image_size = 32\nfreeze_batch_norm = true")
    .replace("test_resnet", "test_mambaout")  # which keeps a part of a head that gets no gradients
    .replace("mixup = 0.3\ncutmix = 0.3\n", "")
    .replace("quota = 8", "quota = 10\nper_product = 2")
    .replace("epochs = 3", 'epochs = 3\noptimizer = "momentum"\nlearning_rate = 1e-3\nhead_learning_rate = 1e-2')
    + """
[[task]]
name = "pairs"
dataset = "shapes"
label = "product_id"
on = "embedding"
loss = "pairwise"
weight = 1e-4

[[task]]
name = "banked"
dataset = "shapes"
label = "product_id"
on = "embedding"
loss = "arcface"
sampled_classes = 5

[[task]]
name = "looks"
dataset = "shapes"
labels = ["category", "product_id"]
loss = "grouped_softmax"
"""
)
HERE = Machine(torch.device("cpu"), workers=0, threads=1)


def checkpoint(out: Path) -> Checkpoint:
    found = load_checkpoint(out)
    assert found is not None
    return found


def assert_near(found: Checkpoint, expected: Checkpoint) -> None:
    assert found.step == expected.step
    for name, tensor in expected.network.items():
        torch.testing.assert_close(found.network[name], tensor, rtol=1e-3, atol=2e-5, msg=name)
    torch.testing.assert_close(found.banks["banked"], expected.banks["banked"], rtol=1e-3, atol=2e-5)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a photo that cannot be read, which only the second of two ranks meets."""
    folder, recipe = draw_shapes(tmp_path_factory.mktemp("shapes")), parse_recipe(ON_RANKS, "ranks.toml")
    (photos,) = read_training_data(recipe, folder).sets
    batches = list(BatchSampler([photos], recipe.seed).batches(0, 9))
    met = [{draw.row for batch in batches for draw in batch[rank::SIZE]} for rank in range(SIZE)]
    name = photos.uris[min(met[1] - met[0])].rpartition("/")[2]
    (folder / "images" / name).write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process that trains all of `ON_RANKS`."""
    out = tmp_path_factory.mktemp("alone")
    training.train(parse_recipe(ON_RANKS, "ranks.toml"), data, out, machine=HERE)
    return out


def under_torchrun(*command: str) -> subprocess.CompletedProcess[str]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(SIZE)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [*torchrun, *command], env=environment, capture_output=True, text=True, check=False, timeout=600
    )


def test_a_rank_that_fails_ends_without_taking_leave_and_ends_the_others() -> None:
    """Taking leave of others that are still in a step may never come to an end."""
    done = under_torchrun("-m", "tests.trainer.failing_rank")
    assert done.returncode != 0
    assert "failed, still in the group" in done.stdout


def test_training_under_torchrun_makes_the_model_of_one_process(data: Path, alone: Path, tmp_path: Path) -> None:
    recipe, out = tmp_path / "ranks.toml", tmp_path / "model"
    recipe.write_text(ON_RANKS)
    command = ["-m", "lookalike", "train", str(recipe), "--data", str(data), "--out", str(out), "--workers", "0"]
    done = under_torchrun(*command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("holds the model") == 1  # one of them talks
    assert (done.stdout + done.stderr).count("Left out") == 1  # of what another one met, too
    assert_near(checkpoint(out), checkpoint(alone))
    for found, expected in zip(read_metrics(out), read_metrics(alone), strict=True):
        assert found["losses"] == pytest.approx(expected["losses"], rel=1e-3)
        assert found["validation"].keys() == expected["validation"].keys()


def test_a_training_with_banks_and_pairs_that_was_stopped_goes_on_as_if_it_had_not(
    data: Path, alone: Path, tmp_path: Path
) -> None:
    recipe = parse_recipe(ON_RANKS, "ranks.toml")
    with pytest.raises(KeyboardInterrupt):
        training.train(recipe, data, tmp_path, machine=HERE, progress=StopAfter(4))
    assert checkpoint(tmp_path).step < checkpoint(alone).step
    training.train(recipe, data, tmp_path, resume=True, machine=HERE)
    found, expected = checkpoint(tmp_path), checkpoint(alone)
    assert all(torch.equal(found.network[name], tensor) for name, tensor in expected.network.items())
    assert torch.equal(found.banks["banked"], expected.banks["banked"])


class Alike(Ranks):
    """Of several processes that all find the same, this one, without the others."""

    def everybodys(self, value: T) -> list[T]:
        return [value] * self.size


def test_more_processes_than_photos_are_refused(data: Path, tmp_path: Path) -> None:
    machine = Machine(torch.device("cpu"), workers=0, threads=1, ranks=Alike(0, 11))
    with pytest.raises(BadRecipe, match=r"line \d+: a batch of 10 photos has none for some of 11 processes"):
        training.train(parse_recipe(ON_RANKS, "ranks.toml"), data, tmp_path, machine=machine)
    (tmp_path / "checkpoint.pt").touch()  # nor may they go on with a training of fewer
    with pytest.raises(BadRecipe, match="a batch of 10 photos has none for some of 11 processes"):
        training.train(parse_recipe(ON_RANKS, "ranks.toml"), data, tmp_path, machine=machine, resume=True)
