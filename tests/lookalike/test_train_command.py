"""`lookalike train` as people call it."""

import os
from contextlib import nullcontext
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.errors import BadRecipe, MissingFile
from engine.vision.model import Model
from lookalike.commands.train import command
from tests.trainer.shapes import RECIPE, draw_shapes

pytest.importorskip("torch", reason="training needs the extra [train]")

# the command sets them for the process that it is; here the process is the tests'
pytestmark = pytest.mark.usefixtures("unchanged_environment")


@pytest.fixture
def unchanged_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", os.environ.get("OMP_WAIT_POLICY", "PASSIVE"))


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "shapes.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return draw_shapes(tmp_path / "data")


def call(*arguments: object) -> str:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_dry_run_tells_the_batches_and_writes_nothing(recipe: Path, data: Path, tmp_path: Path) -> None:
    output = call(recipe, "--data", data, "--out", tmp_path / "model", "--dry-run")
    assert "3 steps an epoch" in output
    for row in (("shapes", "24", "8", "24"), ("tags", "multilabel_softmax", "trunk", "7", "12")):
        assert any(all(cell in line for cell in row) for line in output.splitlines()), row
    assert not (tmp_path / "model").exists()


def test_it_trains_and_says_what_came_out(recipe: Path, data: Path, tmp_path: Path) -> None:
    output = call(recipe, "--data", data, "--out", tmp_path / "model", "--epochs", 1, "--workers", 0)
    model = Model.open(tmp_path / "model")
    assert model.spec.model_id[:12] in output
    assert "precision@1" in output
    assert model.spec.training["epochs"] == 1
    assert "epochs = 1\n" in (tmp_path / "model" / "recipe.toml").read_text()


def test_of_several_processes_only_the_first_exports(
    recipe: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer.ranks import Ranks

    for rank in (1, 0):
        monkeypatch.setattr("trainer.ranks.joined", lambda rank=rank: nullcontext(Ranks(rank, 2)))
        arguments = (recipe, "--data", data, "--out", tmp_path / "model", "--export-only")
        if rank:
            assert call(*arguments) == ""
        else:  # it is the one that looks for a checkpoint
            with pytest.raises(MissingFile, match="train first"):
                call(*arguments)


def test_a_wrong_recipe_names_its_line(recipe: Path, data: Path, tmp_path: Path) -> None:
    recipe.write_text(RECIPE.replace("quota", "qouta"))
    with pytest.raises(BadRecipe, match=r"shapes.toml, line \d+: unknown key 'qouta'"):
        call(recipe, "--data", data, "--out", tmp_path / "model")


def test_weights_that_are_not_there_are_missed_before_training(recipe: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="There are no weights"):
        call(recipe, "--data", data, "--out", tmp_path / "model", "--weights", tmp_path / "none.safetensors")
    assert not (tmp_path / "model").exists()
