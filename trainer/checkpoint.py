"""Checkpoints: all it takes to go on with a training as if it had never stopped.

Random sources are not among it: every random choice is made from the seed and the number of the step.
"""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from engine.errors import DamagedFile, UnsupportedFormat, WrongModel
from engine.storage.files import replacing
from trainer.recipe import Recipe, parse_recipe

FORMAT = 1
FILE = "checkpoint.pt"
BEST_FILE = "best.pt"


@dataclass(frozen=True)
class Checkpoint:
    """The state after `step` steps; states are what torch's `state_dict` gives."""

    step: int
    recipe: str  # the recipe's text
    classes: dict[str, tuple[str, ...]]  # by head of a task
    network: Mapping[str, Any]
    average: Mapping[str, Any] | None  # the moving average of the weights, where the recipe has one
    optimizer: Mapping[str, Any]
    banks: Mapping[str, torch.Tensor] = field(default_factory=dict)  # proxies by task, where a task has a bank


@dataclass(frozen=True)
class Best:
    """The weights after an epoch, the best by validation so far."""

    epoch: int
    network: Mapping[str, Any]


def save_checkpoint(directory: Path, checkpoint: Checkpoint) -> None:
    """Writes `checkpoint.pt`; a kill at any moment leaves the one before or this one, whole."""
    with replacing(directory / FILE) as partial:
        torch.save({"format": FORMAT, **vars(checkpoint)}, partial)


def save_best(directory: Path, epoch: int, network: Mapping[str, Any]) -> None:
    """Writes `best.pt`: the weights that were best by validation so far, after that epoch; whole or not at all."""
    with replacing(directory / BEST_FILE) as partial:
        torch.save({"format": FORMAT, "epoch": epoch, "network": network}, partial)


def load_best(directory: Path) -> Best | None:
    """What `save_best` kept in `directory`, None where there is nothing. Raises DamagedFile, UnsupportedFormat."""
    values = _load(directory / BEST_FILE)
    return None if values is None else Best(**values)


def load_checkpoint(directory: Path) -> Checkpoint | None:
    """The checkpoint in `directory`, None where there is none; tensors are loaded, code never."""
    values = _load(directory / FILE)
    return None if values is None else Checkpoint(**values)


def _load(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        values: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
        raise DamagedFile(f"{path} cannot be read ({error}); remove it to start anew.") from None
    if values.pop("format", None) != FORMAT:
        raise UnsupportedFormat(f"{path} was written by another version; remove it to start anew.")
    return values


def require_same(checkpoint: Checkpoint, recipe: Recipe, classes: Mapping[str, tuple[str, ...]], path: Path) -> None:
    """WrongModel where `checkpoint` is of another recipe (comments apart), or of data with other classes."""
    if parse_recipe(checkpoint.recipe, FILE).model_dump() != recipe.model_dump():
        raise WrongModel(
            f"{path / FILE} is of another recipe than the one given; go back to that one, or use another --out."
        )
    if checkpoint.classes != dict(classes):
        raise WrongModel(f"{path / FILE} was trained on other classes than the tables have now; use another --out.")
