"""The report: right about what was missed, whole in one file, safe whatever a label says."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.shapes import draw_shapes, shapes_recipe
from trainer import training
from trainer.answers import Answers, read_answers, write_answers
from trainer.charts import line_chart, ticks
from trainer.report import best_epoch
from trainer.report_page import CLASSES, class_rows, section, thumbnail, tiles, write_report
from trainer.tables import TrainingData, ValidationData, read_training_data
from trainer.validate import Nearest, precisions


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_shapes(tmp_path_factory.mktemp("shapes"))


@pytest.fixture(scope="module")
def validation(data: Path) -> ValidationData:
    return training.read_validations(shapes_recipe(), data)[0]


@pytest.fixture(scope="module")
def trained(data: Path) -> TrainingData:
    return read_training_data(shapes_recipe(), data)


def answered(validation: ValidationData, taken: dict[int, str]) -> Nearest:
    """Every query found its own product's first photo, but those `taken` for another; the sixth cannot be read."""
    there = validation.gallery_labels["product_id"]
    wanted = [label or "" for label in validation.query_labels["product_id"]]
    right = np.array([there.index(label) for label in wanted])
    rows = np.array([there.index(taken.get(query, label)) for query, label in enumerate(wanted)])
    cosines = np.linspace(0.9, 0.4, len(rows)).astype(np.float32)
    return Nearest(rows, cosines, right, cosines - 0.1, np.arange(len(rows)) != 5)


def test_mistakes_come_surest_first_with_what_would_have_been_right(validation: ValidationData) -> None:
    found = section("shapes", validation, answered(validation, {3: "p0", 1: "p2"}))
    assert [(card.wanted_label, card.found_label, card.cosine) for card in found.misses] == [
        ("p1", "p2", "0.800"),
        ("p3", "p0", "0.600"),
    ]
    assert all(card.right.startswith("data:image/jpeg;base64,") for card in found.misses)
    assert [card.wanted_label for card in found.hits] == ["p4", "p2", "p0"]  # the least sure first, p5 unread
    assert not any(card.right for card in found.hits)


def test_classes_come_worst_first_with_what_they_are_taken_for(validation: ValidationData) -> None:
    nearest = answered(validation, {1: "p2", 3: "p0"})
    rows = class_rows(validation, "category", nearest)
    assert [(row.name, row.hits, row.queries, row.gallery, row.taken_for) for row in rows] == [
        ("disc", 0, 2, 15, "square (2)"),
        ("square", 3, 3, 15, ""),
    ]


def test_figures_count_every_class_where_the_table_shows_only_the_worst(trained: TrainingData, tmp_path: Path) -> None:
    names = tuple(f"class {number:03}" for number in range(CLASSES + 100))
    gone = tuple(f"file:///no/such/{name}.jpg" for name in names)  # pictures are not the point
    data = ValidationData(gone, gone, {"name": names}, {"name": names})
    rows = np.arange(len(names))
    found = np.where(rows < 50, rows[::-1], rows)  # fifty mistakes
    cosines = np.full(len(names), 0.5, np.float32)
    nearest = Nearest(found, cosines, rows, cosines, np.ones(len(names), bool))
    (tile,) = tiles(shapes_recipe(), 0, data, nearest)
    assert (
        (tile.percent, tile.queries) == (f"{100 * precisions(data, nearest)['name']:.1f}", len(names)) == ("90.0", 500)
    )
    answers = Answers(1, {0: nearest})
    write_report(tmp_path, shapes_recipe(), lines=[], data=trained, validations={0: data}, answers=answers)
    page = (tmp_path / "report.html").read_text()
    assert "The worst 400 of 500." in page and page.count('<td class="bar">') == CLASSES


def test_the_page_is_one_file_and_loads_nothing(
    data: Path, validation: ValidationData, trained: TrainingData, tmp_path: Path
) -> None:
    lines = [line(1, 0.25), line(2, 0.75)]
    answers = Answers(2, {0: answered(validation, {1: "p2"})})
    write_report(tmp_path, shapes_recipe(), lines=lines, data=trained, validations={0: validation}, answers=answers)
    page = (tmp_path / "report.html").read_text()
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:)""", page)
    assert "url(" not in page and "@import" not in page
    assert "80.0" in page  # 4 of 5 that can be read
    assert page.count("<svg") == 3
    assert "product_id, epoch 2: 0.75" in page


def test_a_label_cannot_write_into_the_page(
    data: Path, validation: ValidationData, trained: TrainingData, tmp_path: Path
) -> None:
    evil = "<script>alert(1)</script>"
    changed = ValidationData(
        validation.queries,
        validation.gallery,
        {"product_id": (evil, *validation.query_labels["product_id"][1:])},
        {"product_id": validation.gallery_labels["product_id"]},
    )
    answers = Answers(1, {0: answered(validation, {0: "p2"})})
    lines = [line(1, 0.5, task=evil)]
    write_report(tmp_path, shapes_recipe(), lines=lines, data=trained, validations={0: changed}, answers=answers)
    page = (tmp_path / "report.html").read_text()
    assert evil not in page
    assert "&lt;script&gt;alert(1)" in page


def test_without_answers_there_are_still_curves(trained: TrainingData, tmp_path: Path) -> None:
    write_report(tmp_path, shapes_recipe(), lines=[line(1, 0.5)], data=trained, validations={}, answers=None)
    assert (tmp_path / "report.html").read_text().count("<svg") == 3


def test_a_photo_that_is_gone_is_no_picture() -> None:
    assert thumbnail("file:///no/such/photo.jpg") == ""


def test_answers_are_read_back_unless_the_queries_are_others(validation: ValidationData, tmp_path: Path) -> None:
    nearest = answered(validation, {1: "p2"})
    write_answers(tmp_path, Answers(7, {0: nearest}), {0: validation})
    found = read_answers(tmp_path, {0: validation})
    assert found is not None and found.epoch == 7
    for name in ("rows", "right_rows", "readable"):
        np.testing.assert_array_equal(getattr(found.nearest[0], name), getattr(nearest, name))
    np.testing.assert_allclose(found.nearest[0].cosines, nearest.cosines, atol=1e-5)
    # as many as before, but others: no row of the answers means what it meant
    for part in ("queries", "gallery", "query_labels", "gallery_labels"):
        now = getattr(validation, part)
        turned = now[::-1] if isinstance(now, tuple) else {label: texts[::-1] for label, texts in now.items()}
        assert read_answers(tmp_path, {0: replace(validation, **{part: turned})}) is None, part
    assert read_answers(tmp_path / "nowhere", {0: validation}) is None
    (tmp_path / "answers.json").write_text('{"format": 1, "epo')
    assert read_answers(tmp_path, {0: validation}) is None


@pytest.mark.parametrize(
    ("high", "expected"), [(1.0, [0, 0.25, 0.5, 0.75, 1]), (9.7, [0, 2.5, 5, 7.5, 10]), (0, [0, 1])]
)
def test_axes_have_round_numbers(high: float, expected: list[float]) -> None:
    assert ticks(high) == expected


def test_curves_lie_where_their_numbers_are() -> None:
    drawn = line_chart({"loss": [(1, 0.0), (3, 1.0)]}, top=1.0)
    (left, low), (right, high) = (
        (float(x), float(y)) for x, y in re.findall(r"([\d.]+),([\d.]+)", drawn.split("<polyline")[1].split("/>")[0])
    )
    zero, one = (float(y) for y in (re.findall(r'y1="([\d.]+)"', drawn)[place] for place in (0, -1)))
    assert (low, high) == (zero, one) and left < right


def test_the_best_epoch_is_the_first_of_the_best() -> None:
    lines = [line(1, 0.5), line(2, 0.75), line(3, 0.75), {**line(4, 0.0), "validation": {}}]
    assert best_epoch(lines, "product_id") == 2
    assert best_epoch(lines, "colour") is None


def line(epoch: int, precision: float, task: str = "product") -> dict[str, object]:
    """A line of metrics.jsonl."""
    return {
        "epoch": epoch,
        "step": 3 * epoch,
        "loss": 1.0 / epoch,
        "losses": {task: 1.0 / epoch},
        "learning_rate": {"trunk": 1e-4, "new layers": 1e-3},
        "seconds": 1.0,
        "photos_per_second": 20.0,
        "gem_p": 3.0,
        "validation": {"shapes": {"product_id": precision}},
    }
