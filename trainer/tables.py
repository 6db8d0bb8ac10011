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

from engine.errors import BadFilter, BadTable, MissingFile
from engine.search.filter_syntax import parse
from engine.search.filters import matches, require_names
from engine.sources.photos import open_photos
from engine.sources.tables import PROBLEM, columns, read_rows
from trainer.losses.registry import takes_many_labels
from trainer.recipe import Recipe, Task, Validation
from trainer.recipe_faults import blaming
from trainer.toml_lines import Path as KeyPath

Codes = NDArray[np.int64]
Row = tuple[int, dict[str, Any]]  # its number in the table, from 1, and its cells


@dataclass(frozen=True)
class TrainingSet:
    """The rows of one dataset that are trained on."""

    name: str
    quota: int  # photos of every batch
    uris: tuple[str, ...]
    # by task: [rows, k] numbers of classes, filled up with -1; no label is all -1. Of a grouped task a column a group
    labels: Mapping[str, Codes]
    weights: NDArray[np.float64]  # [rows] how often each is drawn, summing to 1
    products: Codes | None = None  # [rows] the product each shows, -1 where none is said; None: drawn photo by photo
    per_product: int = 1  # photos of each product that a batch has, where there are products


@dataclass(frozen=True)
class TrainingData:
    """Everything that is trained on. The order of sets and rows is the recipe's and the tables'."""

    sets: tuple[TrainingSet, ...]
    classes: Mapping[str, tuple[str, ...]]  # by `Task.heads`' names: sorted texts, whose places are the numbers


@dataclass(frozen=True)
class ValidationData:
    """Query and gallery photos with their labels as texts; None is no label."""

    queries: tuple[str, ...]
    gallery: tuple[str, ...]
    query_labels: Mapping[str, tuple[str | None, ...]]
    gallery_labels: Mapping[str, tuple[str | None, ...]]


def read_training_data(recipe: Recipe, data: Path) -> TrainingData:
    """Reads the recipe's datasets under the folder `data`.

    BadRecipe, with the line, where it asks for what the tables do not have; BadTable where a table is damaged.
    """
    rows = [
        _select(recipe, number, data, dataset.where, ("dataset", number, "where"))
        for number, dataset in enumerate(recipe.dataset)
    ]
    classes: dict[str, tuple[str, ...]] = {}
    labels: list[dict[str, Codes]] = [{} for _ in rows]  # of each dataset by task
    for place, task in enumerate(recipe.task):
        of_task = {number: rows[number] for number, each in enumerate(recipe.dataset) if each.name in task.dataset}
        found, codes = _read_task(recipe, place, data, of_task)
        classes |= found
        for number, each in codes.items():
            labels[number][task.name] = each
    sets = []
    for number, dataset in enumerate(recipe.dataset):
        tasks = [task for task in recipe.task if dataset.name in task.dataset]
        weights = balanced_weights(_balancing_codes(tasks, labels[number], len(rows[number])), dataset.balance)
        sets.append(
            TrainingSet(
                name=dataset.name,
                quota=dataset.quota,
                uris=_locate(recipe, number, data, rows[number]),
                labels=labels[number],
                weights=weights,
                products=_read_products(recipe, number, data, rows[number]) if dataset.per_product > 1 else None,
                per_product=dataset.per_product,
            )
        )
    return TrainingData(tuple(sets), classes)


def read_validation_data(recipe: Recipe, validation: Validation, data: Path) -> ValidationData:
    """Reads the query and gallery rows of one [[validation]]; raises as `read_training_data` does."""
    place = recipe.validation.index(validation)
    number, dataset = next(
        (number, dataset) for number, dataset in enumerate(recipe.dataset) if dataset.name == validation.dataset
    )
    queries, gallery = (
        _select(recipe, number, data, getattr(validation, part), ("validation", place, part))
        for part in ("queries", "gallery")
    )
    for label in validation.labels:
        key = ("validation", place, "labels")
        _require_column(recipe, key, data / dataset.table, label)
        if all(_text(row[label]) is None for _, row in queries):
            recipe.refuse(key, f"no query photo of {dataset.name!r} has a {label!r}; leave it out")

    def texts(rows: Sequence[Row]) -> dict[str, tuple[str | None, ...]]:
        return {label: tuple(_text(row[label]) for _, row in rows) for label in validation.labels}

    return ValidationData(
        queries=_locate(recipe, number, data, queries),
        gallery=_locate(recipe, number, data, gallery),
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


def _select(recipe: Recipe, number: int, data: Path, texts: Sequence[str], key: KeyPath) -> list[Row]:
    """The rows of dataset `number` that pass all filters in `texts`, which stand at `key`; BadRecipe when none does."""
    table = data / recipe.dataset[number].table
    with blaming(recipe, ("dataset", number, "table"), MissingFile):
        there, whole = columns(table), _rows(table)
    filter = parse(texts)
    with blaming(recipe, key, BadFilter):
        if filter is not None:
            require_names(filter, there, "column")
    rows = [row for row in whole if filter is None or matches(filter, row[1])]
    if not rows:
        recipe.refuse(key, f"{table} has no row that passes {' and '.join(texts) or 'no filter'}; correct the filter")
    return rows


def _require_column(recipe: Recipe, key: KeyPath, table: Path, name: str) -> None:
    there = columns(table)
    if name not in there:
        near = get_close_matches(name, there, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(there)}."
        recipe.refuse(key, f"{table} has no column {name!r} to take labels from; {hint}")


def _read_task(
    recipe: Recipe, place: int, data: Path, rows: Mapping[int, Sequence[Row]]
) -> tuple[dict[str, tuple[str, ...]], dict[int, Codes]]:
    """The classes of each head of task `place`, and [rows, k] numbers of classes by dataset, as `rows` are."""
    task = recipe.task[place]
    key = ("task", place, "labels" if task.labels else "label")
    names = " and ".join(repr(name) for name in task.dataset)
    classes: dict[str, tuple[str, ...]] = {}
    codes: dict[int, list[Codes]] = {number: [] for number in rows}
    for head, column in task.heads:
        texts = {}
        for number, of_set in rows.items():
            _require_column(recipe, key, data / recipe.dataset[number].table, column)
            texts[number] = [labels_of(row[column], many=takes_many_labels(task)) for _, row in of_set]
        classes[head] = tuple(sorted({text for each in texts.values() for labels in each for text in labels}))
        if not classes[head]:
            recipe.refuse(key, f"no photo of {names} that is trained on has a {column!r}; leave it out")
        if len(classes[head]) < 2:
            sentence = f"every photo of {names} that is trained on has the same {column!r}"
            recipe.refuse(key, f"{sentence}, {classes[head][0]!r}; a task needs at least 2")
        for number, each in texts.items():
            codes[number].append(_codes(each, classes[head]))
    return classes, {number: np.concatenate(each, axis=1) for number, each in codes.items()}


def _read_products(recipe: Recipe, number: int, data: Path, rows: Sequence[Row]) -> Codes:
    """The number of each row's product; BadRecipe where there are not as many as a batch is to have."""
    dataset = recipe.dataset[number]
    _require_column(recipe, ("dataset", number, "product"), data / dataset.table, dataset.product)
    texts = [labels_of(row[dataset.product], many=False) for _, row in rows]
    names = sorted({text for labels in texts for text in labels})
    wanted = dataset.quota // dataset.per_product
    if len(names) < wanted:
        sentence = f"a quota of {dataset.quota} with {dataset.per_product} photos a product needs {wanted} products"
        near = len(names) * dataset.per_product
        recipe.refuse(
            ("dataset", number, "quota"),
            f"{sentence} and {dataset.name!r} has {len(names)}; write {near} at most, or a larger per_product",
        )
    return _codes(texts, names)[:, 0]


def _locate(recipe: Recipe, number: int, data: Path, rows: Sequence[Row]) -> tuple[str, ...]:
    dataset = recipe.dataset[number]
    images = data / dataset.images if dataset.images else None
    if images is not None and not images.exists():
        recipe.refuse(("dataset", number, "images"), f"there is no {images}; correct images or --data")
    source = open_photos(data / dataset.table, images)
    return tuple(source.locate(row, place) for place, row in rows)


def _text(cell: object) -> str | None:
    text = "" if cell is None else str(cell).strip()
    return text or None


def _codes(texts: Sequence[tuple[str, ...]], classes: Sequence[str]) -> Codes:
    numbers = {text: number for number, text in enumerate(classes)}
    codes = np.full((len(texts), max(1, *(len(labels) for labels in texts))), -1, np.int64)
    for row, labels in enumerate(texts):
        codes[row, : len(labels)] = [numbers[text] for text in labels]
    return codes


def _balancing_codes(tasks: Sequence[Task], labels: Mapping[str, Codes], rows: int) -> Codes:
    """The classes that `balance` evens out: of the dataset's first task with one label a photo."""
    single = [task.name for task in tasks if not takes_many_labels(task) and not task.labels]
    return labels[single[0]][:, 0] if single else np.full(rows, -1, np.int64)


def rows_per_class(codes: Codes) -> Counter[int]:
    """How many photos each class has; -1 fills are not counted."""
    return Counter(int(code) for code in codes.ravel() if code >= 0)
