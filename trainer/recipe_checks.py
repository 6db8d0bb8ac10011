"""What a recipe's parts must agree on with one another; what needs the tables is checked by `trainer.tables`."""

from typing import TYPE_CHECKING, Any

from engine.errors import BadFilter
from engine.search.filter_syntax import parse
from trainer.toml_lines import Path as KeyPath

if TYPE_CHECKING:
    from trainer.recipe import Recipe, Task


def check_recipe(recipe: "Recipe") -> None:
    """Raises BadRecipe with the line of the first thing that contradicts another."""
    _check_names(recipe)
    for number, task in enumerate(recipe.task):
        _check_task(recipe, number, task)
    _check_datasets(recipe)
    _check_augment(recipe)
    _check_filters(recipe)
    _check_teaching(recipe)


def _check_names(recipe: "Recipe") -> None:
    """Names are unique, and every dataset that is spoken of exists."""
    groups: dict[str, list[Any]] = {"dataset": [*recipe.dataset], "task": [*recipe.task]}
    for table, entries in groups.items():
        seen: set[str] = set()
        for number, entry in enumerate(entries):
            if entry.name in seen:
                recipe.refuse((table, number, "name"), f"a second [[{table}]] named {entry.name!r}")
            seen.add(entry.name)
    known = [dataset.name for dataset in recipe.dataset]
    users: list[tuple[KeyPath, tuple[str, ...]]] = [
        *((("task", number, "dataset"), task.dataset) for number, task in enumerate(recipe.task)),
        *((("validation", number, "dataset"), (each.dataset,)) for number, each in enumerate(recipe.validation)),
    ]
    for key, names in users:
        for name in names:
            if name not in known:
                recipe.refuse(key, f"there is no [[dataset]] named {name!r}; there is {', '.join(known)}")
        if len(set(names)) < len(names):
            recipe.refuse(key, "dataset names one twice; once is enough")


def _check_task(recipe: "Recipe", number: int, task: "Task") -> None:
    def refuse(key: str, sentence: str) -> None:
        recipe.refuse(("task", number, key), sentence)

    if "." in task.name:
        refuse("name", f"the name {task.name!r} has a dot, which a head's name is parted by; leave it out")
    if task.loss == "grouped_softmax":
        if task.label or not task.labels:
            refuse("label", 'a grouped_softmax has a softmax for each of several columns; write labels = ["…", "…"]')
        if len(set(task.labels)) < len(task.labels):
            refuse("labels", "labels names a column twice; once is enough")
    elif task.labels:
        refuse("labels", f"labels is for grouped_softmax; {task.loss} has one label")
    elif not task.label:
        recipe.refuse(("task", number), "[[task]] lacks 'label'; add it")
    cosine_losses = ("norm_softmax", "arcface", "multilabel_arcface", "pairwise")
    if task.loss in cosine_losses and task.on == "trunk":
        refuse("loss", f'{task.loss} works on the embedding\'s cosines; write on = "embedding", or another loss')
    if task.loss == "grouped_softmax" and task.on == "embedding":
        refuse("on", 'grouped_softmax is for heads on the features; write on = "trunk"')
    if task.sampled_classes and (task.on == "trunk" or task.loss == "pairwise"):
        refuse("sampled_classes", "sampled_classes is for losses with proxies on the embedding; leave it out")
    apart = task.loss == "multilabel_arcface" and task.positives == "apart"
    if task.label_smoothing and (task.loss == "pairwise" or apart):
        refuse("label_smoothing", f"{task.loss} has no one target to smooth; leave label_smoothing out")
    for key in ("positive_margins", "negative_margins"):
        inner, outer = getattr(task, key)
        if inner >= outer:
            refuse(key, f"{key} goes from a lower distance to a higher one")


def _check_datasets(recipe: "Recipe") -> None:
    if not any(task.on == "embedding" and task.weight > 0 for task in recipe.task):
        sentence = 'no [[task]] with a weight trains the embedding; one needs on = "embedding"'
        recipe.refuse(("task", 0), sentence)
    for number, dataset in enumerate(recipe.dataset):
        if not any(dataset.name in task.dataset for task in recipe.task):
            sentence = f"no [[task]] learns from {dataset.name!r}; add one or drop the dataset"
            recipe.refuse(("dataset", number, "name"), sentence)
        if dataset.quota % dataset.per_product:
            sentence = f"quota = {dataset.quota} is no whole number of products with {dataset.per_product} photos each"
            near = dataset.quota // dataset.per_product * dataset.per_product or dataset.per_product
            recipe.refuse(("dataset", number, "quota"), f"{sentence}; write {near}, or another per_product")


def _check_augment(recipe: "Recipe") -> None:
    if recipe.augment.mixup + recipe.augment.cutmix > 1:
        sentence = "mixup and cutmix are probabilities of one choice; together at most 1"
        recipe.refuse(("augment", "mixup"), sentence)
    for key in ("scale", "ratio"):
        low, high = getattr(recipe.augment, key)
        if low > high or (key == "scale" and high > 1):
            recipe.refuse(("augment", key), f"{key} goes from low to high, shares at most 1")


def _check_filters(recipe: "Recipe") -> None:
    filters: list[tuple[KeyPath, tuple[str, ...]]] = [
        (("dataset", number, "where"), dataset.where) for number, dataset in enumerate(recipe.dataset)
    ]
    if recipe.pretrain:
        filters.append((("pretrain", "where"), recipe.pretrain.where))
    for number, validation in enumerate(recipe.validation):
        filters.append((("validation", number, "queries"), validation.queries))
        filters.append((("validation", number, "gallery"), validation.gallery))
    for key, texts in filters:
        try:
            parse(texts)
        except BadFilter as error:
            recipe.refuse(key, str(error))


def _check_teaching(recipe: "Recipe") -> None:
    """[pretrain] has a teacher, and a teacher something to teach; the best epoch is chosen by what is measured."""
    teacher, pretrain, best_by = recipe.teacher, recipe.pretrain, recipe.schedule.best_by
    if pretrain and not teacher:
        recipe.refuse(("pretrain",), "[pretrain] needs a [teacher] that labels its photos; add one")
    if teacher and not pretrain and not (teacher.embedding or teacher.heads):
        recipe.refuse(
            ("teacher",), "this [teacher] teaches nothing; give embedding or heads a weight, or add [pretrain]"
        )
    measured = [label for validation in recipe.validation for label in validation.labels]
    if best_by and best_by not in measured:
        known = f"it measures {', '.join(measured)}" if measured else "it has no [[validation]]"
        recipe.refuse(("schedule", "best_by"), f"the recipe measures no {best_by!r}; {known}")
