"""The model's card: what it was trained on and how well it did, for the person who finds the directory."""

from collections.abc import Mapping, Sequence
from typing import Any

from trainer.network import Network
from trainer.recipe import Recipe
from trainer.tables import TrainingData

_ORIGINS = {
    "hub": "timm's published weights of that name, under the licence their model card states",
    "none": "a random start, no weights of others",
}


def write_card(recipe: Recipe, data: TrainingData, network: Network, training: Mapping[str, Any]) -> str:
    """Markdown. `training` is what `model.json` keeps; its figures are those of the epoch that the card names."""
    parameters = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    origin = _ORIGINS.get(recipe.trunk.weights, f"the file `{recipe.trunk.weights}`, under its own licence")
    parts = [
        f"# {recipe.name}",
        f"Trunk `{recipe.trunk.name}`, {parameters:.1f} million parameters with all classifiers, an embedding of "
        f"{recipe.embedding.dim} numbers, photos of {recipe.trunk.served_size} px.",
        f"The trunk began from {origin}. The licences of those weights and of the photos apply to this model too.",
        "## Trained on",
        *(f"- {each.name}: {len(each.uris):,} photos{_where(recipe, each.name)}" for each in data.sets),
        f"{training['epochs']} epochs of {recipe.schedule.optimizer}{_chosen(recipe, training)}.",
        *_teaching(recipe, training),
        "## Tasks",
        *(
            f"- {name}: {column}, {len(data.classes[name]):,} classes, {task.loss} on the {task.on}"
            for task in recipe.task
            for name, column in task.heads
        ),
        "## Measured",
        *_figures(training),
    ]
    return "\n\n".join(parts).replace("\n\n- ", "\n- ") + "\n"


def _where(recipe: Recipe, name: str) -> str:
    return _filters(next(dataset.where for dataset in recipe.dataset if dataset.name == name))


def _filters(texts: Sequence[str]) -> str:
    return f" (`{'`, `'.join(texts)}`)" if texts else ""


def _chosen(recipe: Recipe, training: Mapping[str, Any]) -> str:
    if training["exported_epoch"] == training["epochs"]:
        return ""
    return f", of which this is epoch {training['exported_epoch']}, the best by {recipe.schedule.best_by}"


def _teaching(recipe: Recipe, training: Mapping[str, Any]) -> list[str]:
    """Who taught, and on what: the licences of a teacher and of its photos are this model's too."""
    if recipe.teacher is None:
        return []
    parts = [f"The teacher was the model `{recipe.teacher.model}`: what it was made of, this one is made of too."]
    if recipe.pretrain is not None:
        count = training["pretrained_photos"]
        photos = "Photos" if count is None else f"{count:,} photos"
        parts.append(
            f"Pretraining, before all else: {photos} of `{recipe.pretrain.table}`{_filters(recipe.pretrain.where)} "
            f"with the teacher's labels for {', '.join(recipe.pretrain.heads)}, {recipe.pretrain.epochs} epochs."
        )
    return parts


def _figures(training: Mapping[str, Any]) -> list[str]:
    if not training["validation"]:
        return ["Nothing: the recipe has no validation, or none was due yet."]
    return [
        f"After epoch {training['measured_epoch']}:",
        *(
            f"- {name}: precision@1 of {label} {value:.4f}"
            for name, figures in training["validation"].items()
            for label, value in figures.items()
        ),
    ]
