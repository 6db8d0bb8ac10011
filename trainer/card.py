"""The model's card: what it was trained on and how well it did, for the person who finds the directory."""

from collections.abc import Mapping
from typing import Any

from trainer.network import Network
from trainer.recipe import Recipe
from trainer.tables import TrainingData

_ORIGINS = {
    "hub": "timm's published weights of that name, under the licence their model card states",
    "none": "a random start, no weights of others",
}


def write_card(recipe: Recipe, data: TrainingData, network: Network, training: Mapping[str, Any]) -> str:
    """Markdown. Figures are those of the last epoch that was measured."""
    parameters = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    origin = _ORIGINS.get(recipe.trunk.weights, f"the file `{recipe.trunk.weights}`, under its own licence")
    parts = [
        f"# {recipe.name}",
        f"Trunk `{recipe.trunk.name}`, {parameters:.1f} million parameters with all classifiers, an embedding of "
        f"{recipe.embedding.dim} numbers, photos of {recipe.trunk.served_size} px.",
        f"The trunk began from {origin}. The licences of those weights and of the photos apply to this model too.",
        "## Trained on",
        *(f"- {each.name}: {len(each.uris):,} photos{_where(recipe, each.name)}" for each in data.sets),
        f"{training['epochs']} epochs of {recipe.schedule.optimizer}.",
        "## Tasks",
        *(
            f"- {name}: {column}, {len(data.classes[name]):,} classes, {task.loss} on the {task.on}"
            for task in recipe.task
            for name, column in task.heads
        ),
        "## Measured",
        *_figures(training["validation"]),
    ]
    return "\n\n".join(parts).replace("\n\n- ", "\n- ") + "\n"


def _where(recipe: Recipe, name: str) -> str:
    texts = next(dataset.where for dataset in recipe.dataset if dataset.name == name)
    return f" (`{'`, `'.join(texts)}`)" if texts else ""


def _figures(validation: Mapping[str, Mapping[str, float]]) -> list[str]:
    if not validation:
        return ["Nothing: the recipe has no validation."]
    return [
        f"- {dataset}: precision@1 of {label} {value:.4f}"
        for dataset, figures in validation.items()
        for label, value in figures.items()
    ]
