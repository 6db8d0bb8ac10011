"""A page about a run, `report.html`: one file with everything in it, to look at rather than to read.

It has the figures with intervals, the curves, sheets of what was taken for what (the surest mistakes first, since those
teach most), the queries that were nearly lost, and a table of classes, worst first.
"""

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from engine.errors import LookalikeError
from engine.metrics import wilson_interval
from engine.sources.photos import read_photo
from engine.storage.files import write_text
from engine.vision.image import decode
from trainer.answers import Answers
from trainer.charts import Points, line_chart
from trainer.recipe import Recipe
from trainer.report import Line, precision_points
from trainer.tables import TrainingData, ValidationData
from trainer.validate import Nearest

FILE = "report.html"
MISSES, HITS = 24, 10  # on a sheet
THUMB = 168  # pixels of a picture's short side, twice what it is shown at
CLASSES = 400  # rows that are shown of a table of classes, the worst


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure of the run: precision@1 of one label, with its 95 % interval, in per cent."""

    label: str
    validation: str
    percent: str
    interval: str
    queries: int


@dataclass(frozen=True, slots=True)
class Card:
    """A query, what it was taken for, and where that was wrong the nearest photo that would have been right."""

    query: str  # pictures are data URIs, "" where one cannot be read
    found: str
    right: str
    wanted_label: str
    found_label: str
    cosine: str
    right_cosine: str


@dataclass(frozen=True, slots=True)
class ClassRow:
    """How queries of one class fared. `taken_for`: the commonest wrong answer and how often."""

    name: str
    queries: int
    hits: int
    gallery: int
    taken_for: str

    @property
    def share(self) -> float:
        """Precision@1, in [0, 1]."""
        return self.hits / self.queries


@dataclass(frozen=True, slots=True)
class ClassTable:
    """The worst classes of a label, and how many there are in all."""

    rows: tuple[ClassRow, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Section:
    """One validation: its sheets, and tables of classes by label."""

    title: str
    label: str
    misses: tuple[Card, ...]
    missed: int
    hits: tuple[Card, ...]
    tables: Mapping[str, ClassTable]


def write_report(
    directory: Path,
    recipe: Recipe,
    *,
    lines: Sequence[Line],
    data: TrainingData,
    validations: Mapping[int, ValidationData],
    answers: Answers | None,
) -> None:
    """Writes `report.html`, whole or not at all. Without `answers` it has the curves only."""
    nearest = answers.nearest if answers else {}
    sections = [section(recipe.validation_name(number), validations[number], each) for number, each in nearest.items()]
    page = (
        _environment()
        .get_template("report.html")
        .render(
            recipe=recipe,
            tiles=[
                tile for number, each in nearest.items() for tile in tiles(recipe, number, validations[number], each)
            ],
            epoch=answers.epoch if answers else None,
            epochs=len(lines),
            minutes=sum(line["seconds"] for line in lines) / 60,
            speed=np.median([line["photos_per_second"] for line in lines]) if lines else 0,
            charts=_charts(lines),
            sections=sections,
            sets=[(each.name, len(each.uris), each.quota) for each in data.sets],
            classes={task: len(texts) for task, texts in data.classes.items()},
        )
    )
    write_text(directory / FILE, page)


def section(title: str, data: ValidationData, nearest: Nearest) -> Section:
    """The sheets by the validation's first label, the tables by each."""
    label = next(iter(data.query_labels))
    wanted, there = data.query_labels[label], data.gallery_labels[label]
    asked = [row for row in np.flatnonzero(nearest.readable).tolist() if wanted[row] is not None]
    right = {row: wanted[row] == there[nearest.rows[row]] for row in asked}
    # the surest mistakes first; of the hits those with the least to spare
    misses = sorted((row for row in asked if not right[row]), key=lambda row: -nearest.cosines[row])
    hits = sorted((row for row in asked if right[row]), key=lambda row: nearest.cosines[row])
    return Section(
        title=title,
        label=label,
        misses=tuple(_card(data, label, nearest, row) for row in misses[:MISSES]),
        missed=len(misses),
        hits=tuple(_card(data, label, nearest, row) for row in hits[:HITS]),
        tables={each: _class_table(class_rows(data, each, nearest)) for each in data.query_labels},
    )


def class_rows(data: ValidationData, label: str, nearest: Nearest) -> tuple[ClassRow, ...]:
    """Every class that was asked for, the worst first, then the one with more queries."""
    wanted, there = data.query_labels[label], data.gallery_labels[label]
    gallery = Counter(text for text in there if text is not None)
    found: dict[str, Counter[str]] = {}
    for row in np.flatnonzero(nearest.readable).tolist():
        text = wanted[row]
        if text is not None:
            found.setdefault(text, Counter())[there[nearest.rows[row]] or "nothing"] += 1
    rows = []
    for name, answers in found.items():
        wrong = [(text, count) for text, count in answers.most_common() if text != name]
        taken = f"{wrong[0][0]} ({wrong[0][1]})" if wrong else ""
        rows.append(ClassRow(name, answers.total(), answers[name], gallery[name], taken))
    return tuple(sorted(rows, key=lambda row: (row.share, -row.queries, row.name)))


def _class_table(rows: tuple[ClassRow, ...]) -> ClassTable:
    return ClassTable(rows[:CLASSES], len(rows))


def tiles(recipe: Recipe, number: int, data: ValidationData, nearest: Nearest) -> list[Tile]:
    """The figures of validation `number`, over every class, by label."""
    found = []
    for label in data.query_labels:
        rows = class_rows(data, label, nearest)
        queries, hits = sum(row.queries for row in rows), sum(row.hits for row in rows)
        if queries:
            low, high = wilson_interval(hits / queries, queries)
            interval = f"{100 * low:.1f} to {100 * high:.1f}"
            found.append(Tile(label, recipe.validation_name(number), f"{100 * hits / queries:.1f}", interval, queries))
    return found


def _card(data: ValidationData, label: str, nearest: Nearest, row: int) -> Card:
    found, right = int(nearest.rows[row]), int(nearest.right_rows[row])
    wanted_label, found_label = data.query_labels[label][row], data.gallery_labels[label][found]
    missed = wanted_label != found_label
    return Card(
        query=thumbnail(data.queries[row]),
        found=thumbnail(data.gallery[found]),
        right=thumbnail(data.gallery[right]) if missed and right >= 0 else "",
        wanted_label=wanted_label or "",
        found_label=found_label or "no label",
        cosine=f"{nearest.cosines[row]:.3f}",
        right_cosine=f"{nearest.right_cosines[row]:.3f}" if missed and right >= 0 else "",
    )


def thumbnail(uri: str) -> str:
    """A photo as a small JPEG in a data URI; "" where it cannot be read."""
    try:
        image = decode(read_photo(uri), uri, min_side=THUMB)
    except LookalikeError:
        return ""
    scale = THUMB / min(image.size)
    if scale < 1:
        image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    written = BytesIO()
    image.crop((left, top, left + side, top + side)).save(written, "JPEG", quality=78)
    return f"data:image/jpeg;base64,{base64.b64encode(written.getvalue()).decode()}"


def _charts(lines: Sequence[Line]) -> list[tuple[str, tuple[str, ...], str]]:
    """(title, names of the curves, SVG) of what there is to draw."""
    if not lines:
        return []
    epochs = [float(line["epoch"]) for line in lines]
    figures: dict[str, Points] = dict(precision_points(lines))
    losses = {name: list(zip(epochs, _column(lines, "losses", name), strict=True)) for name in lines[-1]["losses"]}
    rates = {
        name: list(zip(epochs, _column(lines, "learning_rate", name), strict=True))
        for name in lines[-1]["learning_rate"]
    }
    charts: list[tuple[str, Mapping[str, Points], float | None]] = [
        ("precision@1, validation", figures, 1.0),
        ("loss by task", losses, None),
        ("learning rate", rates, None),
    ]
    return [(title, tuple(curves), line_chart(curves, top=top)) for title, curves, top in charts if curves]


def _column(lines: Sequence[Line], table: str, name: str) -> list[float]:
    return [line[table][name] for line in lines]


@cache
def _environment() -> Environment:
    return Environment(loader=PackageLoader("trainer"), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
