"""Tables -> training sets: only the rows asked for, labels as numbers, no label as none."""

import csv
from pathlib import Path

import numpy as np
import pytest

from engine.errors import BadFilter, BadTable
from tests.trainer.shapes import draw_shapes, shapes_recipe
from trainer.tables import labels_of, read_training_data, read_validation_data


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


def test_a_column_that_is_not_there_is_named_with_the_nearest(data: Path) -> None:
    with pytest.raises(BadTable, match=r"no column 'categry' .*did you mean 'category'"):
        read_training_data(shapes_recipe(('label = "category"', 'label = "categry"')), data)


def test_a_filter_about_no_column_is_refused(data: Path) -> None:
    with pytest.raises(BadFilter, match="no column 'splitt'"):
        read_training_data(shapes_recipe(('where = "split=train"', 'where = "splitt=train"')), data)


def test_a_filter_that_nothing_passes_is_refused(data: Path) -> None:
    with pytest.raises(BadTable, match="no row that passes split=tarin"):
        read_training_data(shapes_recipe(('where = "split=train"', 'where = "split=tarin"')), data)


def test_a_row_whose_cells_have_slipped_is_not_trained_on(tmp_path: Path) -> None:
    folder = draw_shapes(tmp_path)
    with (folder / "photos.csv").open("a") as file:
        file.write("a.png,one,two,three,four,five,six,seven,eight,nine,ten\n")
    number = len(rows_of(folder))
    with pytest.raises(BadTable, match=rf"photos\.csv, row {number}: It has 11 cells"):
        read_training_data(shapes_recipe(), folder)


def test_one_class_is_nothing_to_learn(data: Path) -> None:
    with pytest.raises(BadTable, match="finds 1 different 'category'"):
        read_training_data(shapes_recipe(('where = "split=train"', 'where = "category=disc"')), data)


def test_unbalanced_rows_weigh_the_same(data: Path) -> None:
    (found,) = read_training_data(shapes_recipe(), data).sets
    assert np.ptp(found.weights) == 0
