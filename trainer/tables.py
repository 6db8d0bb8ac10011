"""Tables of photos and labels -> what training and validation read: photo URIs and the numbers of their classes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import BadTable
from engine.search.filter_syntax import parse
from engine.search.filters import matches, require_names
from engine.sources.photos import open_photos
from engine.sources.tables import PROBLEM, columns, read_rows
from trainer.losses.registry import takes_many_labels
from trainer.recipe import Dataset, Recipe, Task, Validation

Codes = NDArray[np.int64]
Row = tuple[int, dict[str, Any]]  # its number in the table, from 1, and its cells


@dataclass(frozen=True)
class TrainingSet:
    """The rows of one dataset that are trained on."""

    name: str
    quota: int  # photos of every batch
    uris: tuple[str, ...]
    labels: Mapping[str, Codes]  # by task: [rows, k] numbers of classes, filled up with -1; no label is all -1
    weights: NDArray[np.float64]  # [rows] how often each is drawn, summing to 1


@dataclass(frozen=True)
class TrainingData:
    """Everything that is trained on. The order of sets and rows is the recipe's and the tables'."""

    sets: tuple[TrainingSet, ...]
    classes: Mapping[str, tuple[str, ...]]  # by task: the labels' texts, sorted; their places are the numbers


@dataclass(frozen=True)
class ValidationData:
    """Query and gallery photos with their labels as texts; None is no label."""

    queries: tuple[str, ...]
    gallery: tuple[str, ...]
    query_labels: Mapping[str, tuple[str | None, ...]]
    gallery_labels: Mapping[str, tuple[str | None, ...]]


def read_training_data(recipe: Recipe, data: Path) -> TrainingData:
    """Reads the recipe's datasets under the folder `data`; BadTable or MissingFile where that cannot be."""
    sets = []
    classes: dict[str, tuple[str, ...]] = {}
    for dataset in recipe.dataset:
        rows = _select(dataset, data, dataset.where)
        tasks = [task for task in recipe.task if task.dataset == dataset.name]
        labels = {}
        for task in tasks:
            _require_columns(data / dataset.table, [task.label])
            texts = [labels_of(row[task.label], many=takes_many_labels(task)) for _, row in rows]
            classes[task.name] = _classes(task, dataset, texts)
            labels[task.name] = _codes(texts, classes[task.name])
        weights = balanced_weights(_balancing_codes(tasks, labels, len(rows)), dataset.balance)
        sets.append(TrainingSet(dataset.name, dataset.quota, _locate(dataset, data, rows), labels, weights))
    return TrainingData(tuple(sets), classes)


def read_validation_data(recipe: Recipe, validation: Validation, data: Path) -> ValidationData:
    """Reads the query and gallery rows of one [[validation]]."""
    dataset = next(dataset for dataset in recipe.dataset if dataset.name == validation.dataset)
    _require_columns(data / dataset.table, validation.labels)
    queries, gallery = (_select(dataset, data, texts) for texts in (validation.queries, validation.gallery))

    def texts(rows: Sequence[Row]) -> dict[str, tuple[str | None, ...]]:
        return {label: tuple(_text(row[label]) for _, row in rows) for label in validation.labels}

    return ValidationData(
        queries=_locate(dataset, data, queries),
        gallery=_locate(dataset, data, gallery),
        query_labels=texts(queries),
        gallery_labels=texts(gallery),
    )


def labels_of(cell: object, *, many: bool) -> tuple[str, ...]:
    """A cell's labels: of `a|b` or a list each part, if it may hold many; an empty cell has none."""
    if many and isinstance(cell, str):
        cell = cell.split("|")
    if many and isinstance(cell, list | tuple):
        return tuple(dict.fromkeys(text for part in cell if (text := _text(part)) is not None))
    text = _text(cell)
    return () if text is None else (text,)


def balanced_weights(codes: Codes, balance: float) -> NDArray[np.float64]:
    """[rows] numbers of classes -> [rows] weights that sum to 1, each class's share being its size ** (1 - balance).

    Rows without a class (-1) are drawn as often as in a table without balancing.
    """
    _, places, sizes = np.unique(codes, return_inverse=True, return_counts=True)
    weights = np.where(codes >= 0, sizes[places].astype(np.float64) ** -balance, 1.0)
    labelled = codes >= 0
    if labelled.any():
        weights[labelled] *= labelled.sum() / weights[labelled].sum()
    return np.asarray(weights / weights.sum())


@lru_cache(maxsize=8)
def _rows(table: Path) -> tuple[Row, ...]:
    rows = tuple(read_rows(table))
    for number, row in rows:
        if PROBLEM in row:  # whose cells may be another column's: a wrong label is worse than none
            raise BadTable(f"{table}, row {number}: {row[PROBLEM]} Mend the row or take it out.")
    return rows


def _select(dataset: Dataset, data: Path, texts: Sequence[str]) -> list[Row]:
    """The dataset's rows that pass all filters in `texts`; BadTable when none does."""
    table = data / dataset.table
    filter = parse(texts)
    if filter is not None:
        require_names(filter, columns(table), "column")
    rows = [row for row in _rows(table) if filter is None or matches(filter, row[1])]
    if not rows:
        raise BadTable(f"{table} has no row that passes {' and '.join(texts) or 'no filter'}; correct the recipe.")
    return rows


def _require_columns(table: Path, names: Sequence[str]) -> None:
    there = columns(table)
    for name in names:
        if name not in there:
            near = get_close_matches(name, there, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(there)}."
            raise BadTable(f"{table} has no column {name!r} to take labels from; {hint}")


def _locate(dataset: Dataset, data: Path, rows: Sequence[Row]) -> tuple[str, ...]:
    source = open_photos(data / dataset.table, data / dataset.images if dataset.images else None)
    return tuple(source.locate(row, number) for number, row in rows)


def _text(cell: object) -> str | None:
    text = "" if cell is None else str(cell).strip()
    return text or None


def _classes(task: Task, dataset: Dataset, texts: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    classes = sorted({text for labels in texts for text in labels})
    if len(classes) < 2:
        raise BadTable(
            f"The task {task.name!r} finds {len(classes)} different {task.label!r} in the rows of "
            f"{dataset.name!r} it trains on; it needs at least 2."
        )
    return tuple(classes)


def _codes(texts: Sequence[tuple[str, ...]], classes: Sequence[str]) -> Codes:
    numbers = {text: number for number, text in enumerate(classes)}
    codes = np.full((len(texts), max(1, *(len(labels) for labels in texts))), -1, np.int64)
    for row, labels in enumerate(texts):
        codes[row, : len(labels)] = [numbers[text] for text in labels]
    return codes


def _balancing_codes(tasks: Sequence[Task], labels: Mapping[str, Codes], rows: int) -> Codes:
    """The classes that `balance` evens out: of the dataset's first task with one label a photo."""
    single = [task.name for task in tasks if not takes_many_labels(task)]
    return labels[single[0]][:, 0] if single else np.full(rows, -1, np.int64)


def rows_per_class(codes: Codes) -> Counter[int]:
    """How many photos each class has; -1 fills are not counted."""
    return Counter(int(code) for code in codes.ravel() if code >= 0)
