"""Tables -> training sets: only the rows asked for, labels as numbers, no label as none."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from engine.errors import BadRecipe, BadTable
from tests.trainer.shapes import RECIPE, draw_shapes, shapes_recipe
from trainer.tables import labels_of, read_training_data, read_validation_data

GROUPED = 'loss = "grouped_softmax"\nlabels = ["category", "tags"]'


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_shapes(tmp_path_factory.mktemp("shapes"))


def rows_of(data: Path) -> list[dict[str, str]]:
    with (data / "photos.csv").open() as file:
        return list(csv.DictReader(file))


def test_only_rows_that_pass_the_filter_are_trained_on(data: Path) -> None:
    (found,) = read_training_data(shapes_recipe(), data).sets
    expected = [row["image"] for row in rows_of(data) if row["split"] == "train"]
    assert [uri.rsplit("/", 1)[1] for uri in found.uris] == expected


def test_labels_become_numbers_of_sorted_classes_and_empty_cells_none(data: Path) -> None:
    read = read_training_data(shapes_recipe(), data)
    rows = [row for row in rows_of(data) if row["split"] == "train"]
    for task, column in (("product", "product_id"), ("shape", "category")):
        assert list(read.classes[task]) == sorted({row[column] for row in rows})
        codes = read.sets[0].labels[task][:, 0]
        assert [read.classes[task][code] for code in codes] == [row[column] for row in rows]
    for row, codes in zip(rows, read.sets[0].labels["tags"], strict=True):
        texts = [read.classes["tags"][code] for code in codes if code >= 0]
        assert texts == (row["tags"].split("|") if row["tags"] else [])


@pytest.mark.parametrize(
    ("cell", "many", "expected"),
    [
        (None, False, ()),
        ("", True, ()),
        ("  ", False, ()),
        ("a|b", False, ("a|b",)),
        ("a|b", True, ("a", "b")),
        ("a||a", True, ("a",)),
        (["a", None, "b"], True, ("a", "b")),
        (7, False, ("7",)),
    ],
)
def test_cells_hold_labels(cell: object, many: bool, expected: tuple[str, ...]) -> None:
    assert labels_of(cell, many=many) == expected


def test_validation_takes_its_own_rows_and_texts(data: Path) -> None:
    recipe = shapes_recipe()
    found = read_validation_data(recipe, recipe.validation[0], data)
    assert len(found.queries) == 6
    assert len(found.gallery) == 30
    assert found.query_labels["product_id"] == ("p0", "p1", "p2", "p3", "p4", "p5")


def line_with(text: str) -> int:
    return next(number for number, line in enumerate(RECIPE.splitlines(), 1) if text in line)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('label = "category"', 'label = "categry"', "no column 'categry' .*did you mean 'category'"),
        ('where = "split=train"', 'where = "splitt=train"', "no column 'splitt'"),
        ('where = "split=train"', 'where = "split=tarin"', "no row that passes split=tarin"),
        ('table = "photos.csv"', 'table = "photo.csv"', "no table .*photo.csv"),
        ('images = "images"', 'images = "pictures"', "there is no .*pictures; correct images"),
        ('label = "tags"', 'label = "empty"', "no photo of 'shapes' that is trained on has a 'empty'"),
        ('label = "tags"', 'label = "kind"', "the same 'kind', 'photo'"),
        ("quota = 8", "quota = 14\nper_product = 2", "needs 7 products and 'shapes' has 6; write 12 at most"),
    ],
)
def test_what_the_tables_do_not_have_is_told_with_the_recipes_line(
    data: Path, tmp_path: Path, old: str, new: str, says: str
) -> None:
    shutil.copytree(data, tmp_path / "data")
    lines = (data / "photos.csv").read_text().splitlines()
    lines = [lines[0] + ",kind,empty", *(line + ",photo," for line in lines[1:])]
    (tmp_path / "data" / "photos.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(BadRecipe, match=rf"shapes.toml, line {line_with(old)}: .*{says}"):
        read_training_data(shapes_recipe((old, new)), tmp_path / "data")


def test_a_label_that_no_query_has_is_told_with_the_recipes_line(data: Path) -> None:
    recipe = shapes_recipe(('queries = "split=val"', 'queries = ["split=val", "!tags?"]'), ('"category"]', '"tags"]'))
    with pytest.raises(BadRecipe, match=rf"line {line_with('labels = [')}: no query photo of 'shapes' has a 'tags'"):
        read_validation_data(recipe, recipe.validation[0], data)


def test_a_grouped_task_has_classes_and_a_column_of_numbers_for_each_group(data: Path) -> None:
    recipe = shapes_recipe(('label = "tags"\nloss = "multilabel_softmax"', GROUPED))
    read = read_training_data(recipe, data)
    codes = read.sets[0].labels["tags"]
    for group, column in enumerate(("category", "tags")):
        names = read.classes[f"tags.{column}"]
        found = [names[code] if code >= 0 else "" for code in codes[:, group]]
        assert found == [row[column] for row in rows_of(data) if row["split"] == "train"]


MATCHED = """
[[dataset]]
name = "matched"
table = "matched.csv"
images = "images"
quota = 4

[[task]]"""


def test_a_task_of_several_datasets_has_one_list_of_classes(data: Path, tmp_path: Path) -> None:
    """As for photos that were matched with known products, some of which have no labelled photo at all."""
    shutil.copytree(data, tmp_path / "data")
    (tmp_path / "data" / "matched.csv").write_text("image,product_id\n0-0.png,p5\n0-1.png,p9\n0-2.png,\n0-3.png,p0\n")
    recipe = shapes_recipe(
        (
            '[[task]]\nname = "product"\ndataset = "shapes"',
            f'{MATCHED}\nname = "product"\ndataset = ["shapes", "matched"]',
        )
    )
    read = read_training_data(recipe, tmp_path / "data")
    classes = read.classes["product"]
    assert classes == ("p0", "p1", "p2", "p3", "p4", "p5", "p9")
    shapes, matched = read.sets
    rows = [row for row in rows_of(data) if row["split"] == "train"]
    assert [classes[code] for code in shapes.labels["product"][:, 0]] == [row["product_id"] for row in rows]
    assert matched.labels["product"].tolist() == [[5], [6], [-1], [0]]
    assert shapes.labels.keys() == {"product", "shape", "tags"} and matched.labels.keys() == {"product"}


def test_products_are_numbered_for_batches_by_product(data: Path) -> None:
    (found,) = read_training_data(shapes_recipe(("quota = 8", "quota = 8\nper_product = 4")), data).sets
    expected = [int(row["product_id"][1:]) for row in rows_of(data) if row["split"] == "train"]
    assert found.products is not None and found.products.tolist() == expected
    assert found.per_product == 4


def test_a_row_whose_cells_have_slipped_is_not_trained_on(tmp_path: Path) -> None:
    folder = draw_shapes(tmp_path)
    with (folder / "photos.csv").open("a") as file:
        file.write("a.png,one,two,three,four,five,six,seven,eight,nine,ten\n")
    number = len(rows_of(folder))
    with pytest.raises(BadTable, match=rf"photos\.csv, row {number}: It has 11 cells"):
        read_training_data(shapes_recipe(), folder)


def test_unbalanced_rows_weigh_the_same(data: Path) -> None:
    (found,) = read_training_data(shapes_recipe(), data).sets
    assert np.ptp(found.weights) == 0
