"""Recipes: what they mean when they are right, and the line when they are wrong."""

from pathlib import Path

import pytest

from engine.errors import BadRecipe, MissingFile
from tests.trainer.shapes import RECIPE, shapes_recipe
from trainer.recipe import parse_recipe, read_recipe, with_epochs

RECIPES = Path(__file__).parents[2] / "recipes"


def line_with(text: str) -> int:
    return next(number for number, line in enumerate(RECIPE.splitlines(), 1) if text in line)


TAGS_LINE = line_with('name = "tags"')


def refusal(old: str, new: str) -> str:
    with pytest.raises(BadRecipe) as refused:
        shapes_recipe((old, new))
    return str(refused.value)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_recipes_we_ship_can_be_read(path: Path) -> None:
    assert read_recipe(path).name == path.stem


def test_one_filter_or_several_can_be_given() -> None:
    recipe = shapes_recipe(('where = "split=train"', 'where = ["split=train", "!tags?"]'))
    assert recipe.dataset[0].where == ("split=train", "!tags?")
    assert shapes_recipe().dataset[0].where == ("split=train",)


def test_served_size_is_the_trained_size_unless_said() -> None:
    assert shapes_recipe().trunk.served_size == 32
    assert shapes_recipe(("image_size = 32", "image_size = 32\neval_size = 48")).trunk.served_size == 48


def test_an_unknown_key_is_named_with_its_line_and_the_nearest_right_one() -> None:
    sentence = refusal("quota = 8", "qouta = 8")
    line = line_with("quota = 8")
    assert sentence == f"shapes.toml, line {line}: unknown key 'qouta' in [[dataset]]; did you mean 'quota'?"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('loss = "multilabel_softmax"', 'loss = "triplet"', "'triplet' in [[task]]"),
        ("epochs = 3", "epochs = 0", "epochs = 0 in [schedule]"),
        ("ema = 0.9", "ema = 1.5", "ema = 1.5 in [schedule]"),
        ("image_size = 32", 'image_size = "big"', "image_size = 'big' in [trunk]"),
        ('queries = "split=val"', 'queries = "split"', "cannot be read"),
        ("mixup = 0.3", "mixup = 0.9", "at most 1"),
        ("quota = 8", "quota = 8\nper_product = 3", "no whole number of products with 3 photos each; write 6"),
        ('name = "tags"', 'name = "ta.gs"', "has a dot"),
        ('label = "tags"', 'labels = ["tags"]', "labels is for grouped_softmax"),
        ('label = "category"', 'sampled_classes = 5\nlabel = "category"', "for losses with proxies on the embedding"),
    ],
)
def test_a_wrong_value_is_named_with_its_line(old: str, new: str, says: str) -> None:
    sentence = refusal(old, new)
    assert f"line {line_with(old)}:" in sentence
    assert says in sentence


def test_a_missing_key_points_at_its_table() -> None:
    sentence = refusal('label = "tags"\n', "")
    assert f"line {TAGS_LINE - 1}: [[task]] lacks 'label'" in sentence


def test_the_line_is_that_of_the_right_one_of_several_tables() -> None:
    sentence = refusal('name = "tags"\ndataset = "shapes"', 'name = "tags"\ndataset = "shops"')
    assert f"line {TAGS_LINE + 1}: there is no [[dataset]] named 'shops'; there is shapes" in sentence


def test_a_task_of_several_datasets_names_each_once_and_only_those_there_are() -> None:
    several = 'name = "tags"\ndataset = ["shapes", '
    line = f"line {TAGS_LINE + 1}: "
    for other, says in (("shops", "there is no [[dataset]] named 'shops'"), ("shapes", "dataset names one twice")):
        assert line + says in refusal('name = "tags"\ndataset = "shapes"', f'{several}"{other}"]')


def test_arcface_belongs_on_the_embedding() -> None:
    assert "arcface works on the embedding" in refusal('loss = "multilabel_softmax"', 'loss = "arcface"')


def task_refusal(*lines: str) -> str:
    """What is said of a [[task]] on the embedding with these lines besides; it must name the last of them."""
    text = RECIPE.replace('on = "embedding"', "\n".join(['on = "embedding"', *lines]))
    line = next(number for number, each in enumerate(text.splitlines(), 1) if each == lines[-1])
    with pytest.raises(BadRecipe, match=f"line {line}:") as refused:
        parse_recipe(text, "shapes.toml")
    return str(refused.value)


def test_settings_that_contradict_a_loss_are_named_with_their_line() -> None:
    pairs = ('loss = "pairwise"',)
    assert "lower distance to a higher" in task_refusal(*pairs, "positive_margins = [0.7, 0.1]")
    assert "no one target to smooth" in task_refusal(*pairs, "label_smoothing = 0.1")
    assert "for losses with proxies" in task_refusal(*pairs, "sampled_classes = 10")
    apart = ('loss = "multilabel_arcface"', 'positives = "apart"')
    assert "no one target to smooth" in task_refusal(*apart, "label_smoothing = 0.1")


def test_a_grouped_task_takes_several_columns_on_the_trunk() -> None:
    grouped = 'loss = "grouped_softmax"'
    assert "write labels = [" in refusal('label = "tags"\nloss = "multilabel_softmax"', f'label = "tags"\n{grouped}')
    assert "names a column twice" in refusal(
        'label = "tags"\nloss = "multilabel_softmax"', f'labels = ["a", "a"]\n{grouped}'
    )
    assert "for heads on the features" in refusal(
        'label = "product_id"\non = "embedding"', f'labels = ["a", "b"]\n{grouped}\non = "embedding"'
    )


def test_the_embedding_needs_a_task() -> None:
    assert "no [[task]] with a weight trains the embedding" in refusal('on = "embedding"', 'on = "trunk"')


def test_two_tasks_of_one_name_are_refused() -> None:
    assert "a second [[task]] named 'product'" in refusal('name = "tags"', 'name = "product"')


def test_what_is_no_toml_says_where() -> None:
    assert "line 2" in refusal('name = "shapes"\nseed', "name = shapes\nseed")


def test_a_missing_recipe_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="There is no recipe"):
        read_recipe(tmp_path / "none.toml")


def test_another_number_of_epochs_is_written_into_the_recipe() -> None:
    changed = with_epochs(shapes_recipe(), 7, "shapes.toml")
    assert changed.schedule.epochs == 7
    assert parse_recipe(changed.source, "again").schedule.epochs == 7
    assert changed.model_dump(exclude={"schedule"}) == shapes_recipe().model_dump(exclude={"schedule"})
