"""From a recipe to a model directory: what `lookalike train` calls."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.errors import MissingFile
from engine.telemetry import SILENT, Progress
from engine.vision.preprocess import Preprocess
from trainer.answers import read_answers
from trainer.batch_norm import draw_photos, reestimate
from trainer.card import write_card
from trainer.checkpoint import FILE, load_checkpoint, require_same, require_shared
from trainer.checks import check_training
from trainer.export import CHECK_PHOTOS, Export, export_model
from trainer.exported import Exported, choose
from trainer.loop import Trainer
from trainer.machine import Machine
from trainer.network import Network
from trainer.photos import read_photos
from trainer.pretrain import (
    FOLDER,
    images_of,
    load_learnt,
    photos_taught,
    pretraining_recipe,
    read_unlabelled,
    taught_table,
    teach_photos,
)
from trainer.recipe import Recipe
from trainer.recipe_faults import naming_lines
from trainer.report_page import write_report
from trainer.sampler import seed_of
from trainer.tables import TrainingData, ValidationData, read_training_data, read_validation_data
from trainer.tensorboard import Board
from trainer.torchvision_shim import timm
from trainer.trunk import load_trunk_weights, make_trunk


def train(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    weights: str | None = None,
    resume: bool = False,
    machine: Machine | None = None,
    tensorboard: Path | None = None,
    progress: Progress = SILENT,
) -> Export | None:
    """Trains by `recipe` on the tables under `data` and writes the model directory `out`.

    `weights` stands in for the recipe's ("hub", "none" or a file); `resume` goes on with the checkpoint in `out`, or
    begins where there is none; `tensorboard` is a folder for its curves. Raises what bad recipes, tables, weights and
    losses are; `out` keeps its model then.

    Ranks that train together (`machine.ranks`) must see the same files; only the first exports, the others return None.
    """
    machine = machine or Machine.here()
    progress.start("tables")
    training_data = read_training_data(recipe, data)
    validations = read_validations(recipe, data)
    going_on = resume and (out / FILE).is_file()
    if resume:
        require_shared(going_on, out, machine.ranks)
    check_training(recipe, training_data.classes, ranks=machine.ranks, weights=weights, going_on=going_on)
    pretrained_on = read_unlabelled(recipe, data) if recipe.pretrain and not going_on else ()
    progress.finish()
    _note_leaks(training_data, pretrained_on, validations, progress)
    # a resumed network gets its weights from the checkpoint, one that is pretrained here from that
    begins_bare = going_on or recipe.pretrain is not None
    network = make_network(recipe, training_data, weights="none" if begins_bare else weights or recipe.trunk.weights)
    if recipe.pretrain and not going_on:
        _pretrain(network, recipe, data, out, weights=weights, resume=resume, machine=machine, progress=progress)
    preprocess = serving_preprocess(network, recipe)
    # what was pretrained was so with statistics of its own, taken then; others would be another network
    begins_here = not going_on and recipe.pretrain is None
    if recipe.trunk.batch_norm_photos and recipe.trunk.freeze_batch_norm and begins_here:
        _take_statistics(network, recipe, training_data, preprocess, progress)
    out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(
        recipe,
        network,
        training_data,
        validations=validations,
        preprocess=preprocess,
        out=out,
        machine=machine,
        progress=progress,
    )
    if going_on and trainer.restore():
        progress.note(f"Going on after step {trainer.step} of {trainer.total_steps}.")
    elif (out / FILE).is_file():
        progress.note(f"Beginning anew; {out / FILE} of an earlier training is replaced after the first epoch.")
    if tensorboard and trainer.leads:
        # the point of the step that is gone on after is there already, and is not added again
        trainer.board = Board.open(tensorboard, trainer.step + 1 if trainer.step else 0)
    trainer.run()
    if not trainer.leads:
        return None
    return _export(
        recipe,
        trainer.best_network,
        training_data,
        validations,
        exported=choose(recipe, out, trainer.step),
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
    return _export(
        recipe,
        network,
        training_data,
        read_validations(recipe, data),
        exported=choose(recipe, out, checkpoint.step),
        preprocess=serving_preprocess(network, recipe),
        out=out,
        progress=progress,
    )


def make_network(recipe: Recipe, data: TrainingData, *, weights: str) -> Network:
    """A network with weights from timm's hub ("hub"), from a file, or with a random start by the seed ("none").

    BadRecipe, with the line, where there is no such trunk; MissingFile, WrongModel of the weights.
    """
    import torch

    torch.manual_seed(seed_of(recipe.seed))
    classes = {task: len(texts) for task, texts in data.classes.items()}
    with naming_lines(recipe):
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


def _pretrain(
    network: Network,
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    weights: str | None,
    resume: bool,
    machine: Machine,
    progress: Progress,
) -> None:
    """Trains on what [teacher] says of [pretrain]'s photos, in a folder of its own; `network` gets the weights.

    With `resume` it goes on where it stopped; where it had finished, nothing is left to do but to export.
    """
    folder = out / FOLDER
    if machine.ranks.leads:
        teach_photos(recipe, data, folder, progress)
    machine.ranks.wait()
    taught = pretraining_recipe(recipe, taught_table(recipe, data, folder), images_of(recipe, data))
    train(taught, data, folder, weights=weights, resume=resume, machine=machine, progress=progress)
    machine.ranks.wait()  # until the first one has exported
    load_learnt(network, folder)


def _take_statistics(
    network: Network, recipe: Recipe, data: TrainingData, preprocess: Preprocess, progress: Progress
) -> None:
    """Gives frozen batch norms the statistics of the photos to be trained on, before they are frozen for good."""
    uris = draw_photos(data.sets, recipe.trunk.batch_norm_photos, recipe.seed)
    progress.start("batch norm", None)
    plain = make_trunk(recipe.trunk)  # in the network itself they are folded and see nothing; names are the same
    plain.load_state_dict(network.trunk.state_dict())
    count = reestimate(plain, uris, preprocess)
    network.trunk.load_state_dict(plain.state_dict())
    progress.note(f"Batch norm's statistics are those of {count} training photos.")


def _note_leaks(
    data: TrainingData, pretrained_on: Sequence[str], validations: Mapping[int, ValidationData], progress: Progress
) -> None:
    photos = {"trained": {uri for each in data.sets for uri in each.uris}, "pretrained": set(pretrained_on)}
    for number, validation in validations.items():
        for what, uris in photos.items():
            if both := uris & set(validation.queries):
                progress.note(f"Mind: {len(both)} query photos of validation {number + 1} are {what} on too.")


def _export(
    recipe: Recipe,
    network: Network,
    data: TrainingData,
    validations: Mapping[int, ValidationData],
    *,
    exported: Exported,
    preprocess: Preprocess,
    out: Path,
    progress: Progress,
) -> Export:
    progress.start("export")
    if exported.weights is not None:
        network.load_state_dict(exported.weights)
    uris: Sequence[str] = next((each.queries for each in validations.values()), data.sets[0].uris)
    photos, readable = read_photos(uris[:CHECK_PHOTOS], preprocess)
    measured = exported.measured
    training: dict[str, Any] = {
        "recipe": recipe.name,
        "epochs": exported.lines[-1]["epoch"] if exported.lines else 0,
        "exported_epoch": exported.epoch,
        "measured_epoch": measured["epoch"] if measured else None,
        "photos": {each.name: len(each.uris) for each in data.sets},
        "pretrained_photos": photos_taught(out / FOLDER) if recipe.pretrain else None,
        "validation": measured["validation"] if measured else {},
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
    progress.start("report")
    answers = read_answers(out, validations)
    if answers and (measured is None or answers.epoch != measured["epoch"]):
        answers = None  # a kill left them of other weights
    write_report(out, recipe, lines=exported.lines, data=data, validations=validations, answers=answers)
    progress.finish()
    return export
