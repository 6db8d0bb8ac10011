"""Checkpoints: all it takes to go on with a training as if it had never stopped.

Random sources are not among it: every random choice is made from the seed and the number of the step.
"""

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from engine.errors import BadCall, DamagedFile, UnsupportedFormat, WrongModel
from engine.storage.files import link, replacing
from trainer.ranks import Ranks
from trainer.recipe import Recipe, parse_recipe
from trainer.tables import TrainingSet

FORMAT = 2
FILE = "checkpoint.pt"
PREVIOUS_FILE = "checkpoint.previous.pt"
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
    tables: Mapping[str, str] = field(default_factory=dict)  # `digests` of what is trained on
    banks: Mapping[str, torch.Tensor] = field(default_factory=dict)  # proxies by task, where a task has a bank
    epoch_so_far: Mapping[str, Any] = field(default_factory=dict)  # `trainer.record.Sums`


@dataclass(frozen=True)
class Best:
    """The weights after an epoch, the best by validation so far."""

    epoch: int
    network: Mapping[str, Any]


def save_checkpoint(directory: Path, checkpoint: Checkpoint) -> None:
    """Writes `checkpoint.pt`; a kill at any moment leaves the one before or this one, whole."""
    with replacing(directory / FILE) as partial:
        torch.save({"format": FORMAT, **vars(checkpoint)}, partial)


class Checkpoints:
    """The checkpoints of one training, among which there is always one that a later step has proved good.

    An update may spoil the weights without a sign; the loss of the next step tells. Until then the checkpoint before
    is kept beside the last one. Those of another training must be gone before the first is saved
    (`trainer.record.Record.make_room`).
    """

    def __init__(self, directory: Path) -> None:
        self._last, self._previous = directory / FILE, directory / PREVIOUS_FILE
        self._proven = True

    def load(self) -> Checkpoint | None:
        """The last one, None where there is none; raises as `load_checkpoint` does."""
        found = load_checkpoint(self._last.parent)
        self._proven = found is None or not self._previous.is_file()
        return found

    def save(self, checkpoint: Checkpoint) -> None:
        """Writes `checkpoint.pt`, and keeps the one before, if there is one, until this one is proved."""
        if self._proven and self._last.is_file():
            link(self._last, self._previous)
        save_checkpoint(self._last.parent, checkpoint)
        self._proven = False

    def prove(self) -> None:
        """The last one is good: the one before may go."""
        if not self._proven:
            self._previous.unlink(missing_ok=True)
            self._proven = True

    def fall_back(self) -> bool:
        """Puts the one before in the place of the last one, unless that was proved; whether one is left."""
        if not self._proven:
            if self._previous.is_file():
                self._previous.replace(self._last)
            else:
                self._last.unlink(missing_ok=True)
            self._proven = True
        return self._last.is_file()


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


def digests(sets: Sequence[TrainingSet]) -> dict[str, str]:
    """By dataset: a sum over its photos, their order, labels and products. A folder that moved is not another one."""
    return {each.name: _digest(each) for each in sets}


def _digest(each: TrainingSet) -> str:
    found = sha256()
    first, last = min(each.uris), max(each.uris)
    common = next((place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    for uri in each.uris:
        found.update(uri[common:].encode() + b"\0")
    columns = {f"label {name}": codes for name, codes in each.labels.items()}
    if each.products is not None:
        columns["products"] = each.products
    for name, codes in sorted(columns.items()):
        found.update(f"{name} {codes.shape} {codes.dtype}".encode() + codes.tobytes())
    return found.hexdigest()


def require_same_tables(checkpoint: Checkpoint, tables: Mapping[str, str], path: Path) -> None:
    """WrongModel where `checkpoint` was trained on other rows than the `digests` now are of."""
    for name, digest in tables.items():
        if checkpoint.tables.get(name) != digest:
            raise WrongModel(
                f"{path / FILE} was trained on other photos or labels of {name!r} than its table has now; "
                "use another --out."
            )


def require_shared(found: object, path: Path, ranks: Ranks) -> None:
    """BadCall where what one rank has `found` of the checkpoint is not what the others have."""
    if any(each != found for each in ranks.everybodys(found)):
        raise BadCall(
            f"Of {ranks.size} processes some find another {path / FILE} than others, or none; give an --out that all "
            "machines share."
        )
