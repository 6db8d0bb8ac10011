"""Recipes that nothing can be trained by: told with their line before anything is computed, or tried for a dry run."""

from pathlib import Path

import pytest

from engine.errors import BadRecipe
from tests.trainer.shapes import draw_shapes, shapes_recipe
from tests.trainer.test_training import HERE
from trainer import training
from trainer.plan import plan
from trainer.toml_lines import line_of


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_shapes(tmp_path_factory.mktemp("shapes"))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("ema = 0.9", 'optimizer = "adamv"', "timm has no optimizer 'adamv'"),
        ('name = "test_resnet"', 'name = "test_resent"', "timm has no model 'test_resent'; did you mean"),
        ("image_size = 32", "options = { wings = 2 }", "timm cannot make the trunk 'test_resnet'"),
        ("image_size = 32", "options.wings = 2", "timm cannot make the trunk 'test_resnet'"),
        ("image_size = 32", "frozen_stages = 5", "the trunk has 5 stages and frozen_stages is 5"),
        ('weights = "none"', 'weights = "gone.safetensors"', "there are no weights gone"),
    ],
)
def test_what_cannot_be_is_told_with_its_line(data: Path, tmp_path: Path, old: str, new: str, says: str) -> None:
    recipe = shapes_recipe((old, new))
    line = recipe.source[: recipe.source.index(new)].count("\n") + 1
    for what in (plan, lambda recipe, data, here: training.train(recipe, data, tmp_path / "out", machine=here)):
        with pytest.raises(BadRecipe, match=rf"^shapes\.toml, line {line}: {says}"):
            what(recipe, data, HERE)
    assert not (tmp_path / "out").exists()


def test_weights_that_stand_in_for_the_recipes_are_asked_for_instead(data: Path) -> None:
    recipe = shapes_recipe(('weights = "none"', 'weights = "gone.safetensors"'))
    assert plan(recipe, data, HERE, weights="none").parameters > 0


def test_the_lines_of_dotted_keys_and_tables_are_found() -> None:
    text = "[trunk]\nname = 1\noptions.wings = 2\n[[task]]\n[[task]]\nlabel = 3\n[trunk.more]\n'a' = 4\n"
    for path, line in (
        (("trunk", "options"), 3),
        (("trunk", "options", "wings"), 3),
        (("task", 1, "label"), 6),
        (("trunk", "more"), 7),
        (("trunk", "more", "a"), 8),
        (("trunk", "gone"), 1),
    ):
        assert line_of(text, path) == line, path
