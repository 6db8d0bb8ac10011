"""What can be found wrong with a training before anything is computed: asked by a dry run, and before a first step.

What the tables do not have is told where they are read (`trainer.tables`, `trainer.pretrain`), what a network cannot be
where it is made (`trainer.trunk`).
"""

from collections.abc import Mapping
from pathlib import Path

from trainer.optimise import check_optimizer
from trainer.ranks import Ranks
from trainer.recipe import Recipe
from trainer.recipe_faults import naming_lines
from trainer.teacher import open_teacher, shared_heads
from trainer.toml_lines import Path as KeyPath


def check_training(
    recipe: Recipe,
    classes: Mapping[str, tuple[str, ...]],
    *,
    ranks: Ranks,
    weights: str | None = None,
    going_on: bool = False,
) -> None:
    """Raises BadRecipe with the line of what cannot be. `classes` by head; `weights` stands in for the recipe's.

    A training that is `going_on` is not asked for what only its beginning needed.
    """
    _check_batches(recipe, ranks)
    file = recipe.trunk.weights
    if not going_on and weights is None and file not in ("hub", "none") and not Path(file).is_file():
        recipe.refuse(("trunk", "weights"), f'there are no weights {file}; correct them, or write "hub" or "none"')
    with naming_lines(recipe):
        check_optimizer(recipe.schedule)
    if recipe.teacher is not None and (recipe.teacher.embedding or recipe.teacher.heads or not going_on):
        _check_teaching(recipe, classes)


def _check_batches(recipe: Recipe, ranks: Ranks) -> None:
    quotas: dict[KeyPath, int] = {("dataset", 0, "quota"): recipe.batch}
    if recipe.pretrain is not None:
        quotas["pretrain", "quota"] = recipe.pretrain.quota or recipe.batch
    for key, photos in quotas.items():
        if photos < ranks.size:
            recipe.refuse(
                key,
                f"a batch of {photos} photos has none for some of {ranks.size} processes; raise a quota, or start "
                "fewer",
            )


def _check_teaching(recipe: Recipe, classes: Mapping[str, tuple[str, ...]]) -> None:
    assert recipe.teacher is not None
    teacher = open_teacher(recipe).spec
    if recipe.teacher.heads:
        shared_heads(recipe, classes, teacher)
    known = [head.name for head in teacher.heads]
    for name in recipe.pretrain.heads if recipe.pretrain else ():
        if name not in known:
            sentence = f"the teacher {recipe.teacher.model} has no head {name!r}; it has {', '.join(known) or 'none'}"
            recipe.refuse(("pretrain", "heads"), sentence)
