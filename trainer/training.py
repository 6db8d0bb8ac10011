"""From a recipe to a model directory: what `lookalike train` calls."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.errors import MissingFile
from engine.telemetry import SILENT, Progress
from engine.vision.preprocess import Preprocess
from trainer.card import write_card
from trainer.checkpoint import FILE, load_checkpoint, require_same
from trainer.encoder import read_photos
from trainer.export import CHECK_PHOTOS, Export, export_model
from trainer.loop import Trainer
from trainer.machine import Machine
from trainer.network import Network
from trainer.recipe import Recipe
from trainer.report import read_metrics
from trainer.sampler import seed_of
from trainer.tables import TrainingData, ValidationData, read_training_data, read_validation_data
from trainer.torchvision_shim import timm
from trainer.trunk import load_trunk_weights


def train(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    weights: str | None = None,
    resume: bool = False,
    machine: Machine | None = None,
    progress: Progress = SILENT,
) -> Export | None:
    """Trains by `recipe` on the tables under `data` and writes the model directory `out`.

    `weights` stands in for the recipe's ("hub", "none" or a file); `resume` goes on with the checkpoint in `out`, or
    begins where there is none. Raises what bad recipes, tables, weights and losses are; `out` keeps its model then.

    Ranks that train together (`machine.ranks`) must see the same files; only the first exports, the others return None.
    """
    progress.start("tables")
    training_data = read_training_data(recipe, data)
    validations = read_validations(recipe, data)
    progress.finish()
    _note_leaks(training_data, validations, progress)
    going_on = resume and (out / FILE).is_file()
    # a resumed network gets its weights from the checkpoint
    network = make_network(recipe, training_data, weights="none" if going_on else weights or recipe.trunk.weights)
    preprocess = serving_preprocess(network, recipe)
    out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(
        recipe,
        network,
        training_data,
        validations=validations,
        preprocess=preprocess,
        out=out,
        machine=machine or Machine.here(),
        progress=progress,
    )
    if going_on and trainer.restore():
        progress.note(f"Going on after step {trainer.step} of {trainer.total_steps}.")
    elif (out / FILE).is_file():
        progress.note(f"Beginning anew; {out / FILE} of an earlier training is replaced after the first epoch.")
    trainer.run()
    if not trainer.leads:
        return None
    return _export(
        recipe,
        trainer.best_network,
        training_data,
        validations,
        preprocess=preprocess,
        out=out,
        progress=progress,
    )


def export_only(recipe: Recipe, data: Path, out: Path, *, progress: Progress = SILENT) -> Export:
    """Writes the model directory from the checkpoint in `out`, however far it has got."""
    checkpoint = load_checkpoint(out)
    if checkpoint is None:
        raise MissingFile(f"There is no {out / FILE} to export; train first.")
    training_data = read_training_data(recipe, data)
    require_same(checkpoint, recipe, training_data.classes, out)
    network = make_network(recipe, training_data, weights="none")
    network.load_state_dict(checkpoint.average or checkpoint.network)
    validations = read_validations(recipe, data)
    preprocess = serving_preprocess(network, recipe)
    return _export(recipe, network, training_data, validations, preprocess=preprocess, out=out, progress=progress)


def make_network(recipe: Recipe, data: TrainingData, *, weights: str) -> Network:
    """A network with weights from timm's hub ("hub"), from a file, or with a random start by the seed ("none")."""
    import torch

    torch.manual_seed(seed_of(recipe.seed))
    classes = {task: len(texts) for task, texts in data.classes.items()}
    network = Network(recipe, classes, pretrained=weights == "hub")
    if weights not in ("hub", "none"):
        load_trunk_weights(network.trunk, Path(weights))
    return network


def serving_preprocess(network: Network, recipe: Recipe) -> Preprocess:
    """The trunk's own mean and deviation at the size that is served."""
    config = timm.data.resolve_model_data_config(network.trunk)
    return Preprocess(
        size=recipe.trunk.served_size,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation="bilinear" if config["interpolation"] == "bilinear" else "bicubic",
        crop_fraction=1.0,
    )


def read_validations(recipe: Recipe, data: Path) -> dict[int, ValidationData]:
    """The photos of every [[validation]], by its number in the recipe."""
    return {
        number: read_validation_data(recipe, validation, data) for number, validation in enumerate(recipe.validation)
    }


def _note_leaks(data: TrainingData, validations: Mapping[int, ValidationData], progress: Progress) -> None:
    trained = {uri for each in data.sets for uri in each.uris}
    for number, validation in validations.items():
        if both := trained & set(validation.queries):
            progress.note(f"Mind: {len(both)} query photos of validation {number + 1} are trained on too.")


def _export(
    recipe: Recipe,
    network: Network,
    data: TrainingData,
    validations: Mapping[int, ValidationData],
    *,
    preprocess: Preprocess,
    out: Path,
    progress: Progress,
) -> Export:
    progress.start("export")
    uris: Sequence[str] = next((each.queries for each in validations.values()), data.sets[0].uris)
    photos, readable = read_photos(uris[:CHECK_PHOTOS], preprocess)
    lines = read_metrics(out)
    training: dict[str, Any] = {
        "recipe": recipe.name,
        "epochs": lines[-1]["epoch"] if lines else 0,
        "photos": {each.name: len(each.uris) for each in data.sets},
        "validation": next((line["validation"] for line in reversed(lines) if line["validation"]), {}),
    }
    card = write_card(recipe, data, network, training)
    export = export_model(
        recipe,
        network,
        data.classes,
        preprocess=preprocess,
        photos=photos[readable],
        out=out,
        training=training,
        card=card,
    )
    progress.finish()
    return export
