"""What is measured of a training and written down: an epoch's line, precision, answers, the best weights, curves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from engine.vision.preprocess import Preprocess
from trainer.answers import FILE as ANSWERS_FILE
from trainer.answers import Answers, write_answers
from trainer.batch_norm import draw_photos, reestimate
from trainer.checkpoint import BEST_FILE, PREVIOUS_FILE, save_best
from trainer.checkpoint import FILE as CHECKPOINT_FILE
from trainer.memory import explaining_lack_of_memory, of_measuring
from trainer.network import GeM, Network
from trainer.photos import BATCH
from trainer.recipe import Recipe
from trainer.report import METRICS_FILE, best_epoch, draw_curves, read_metrics, write_metrics
from trainer.tables import TrainingData, ValidationData
from trainer.validate import Nearest, find_nearest, precisions

DRAW_EVERY_S = 60.0  # a picture of the curves takes matplotlib a second: as long as an epoch of a small training


@dataclass
class Sums:
    """What an epoch comes to so far. Checkpoints keep it, so that an epoch that was stopped is told as a whole."""

    steps: int = 0
    seconds: float = 0.0
    waited: float = 0.0  # seconds without a batch to train on
    losses: dict[str, float] = field(default_factory=dict)  # by task, summed over the steps

    def add(self, losses: Mapping[str, float], seconds: float, waited: float) -> None:
        """One step more."""
        self.steps += 1
        self.seconds += seconds
        self.waited += waited
        for task, loss in losses.items():
            self.losses[task] = self.losses.get(task, 0.0) + loss


class Record:
    """The record of a training in `out`, kept by the rank that leads."""

    def __init__(
        self,
        recipe: Recipe,
        data: TrainingData,
        validations: Mapping[int, ValidationData],
        preprocess: Preprocess,
        out: Path,
    ) -> None:
        """`validations` by their number in the recipe."""
        self._recipe, self._data, self._validations = recipe, data, validations
        self._preprocess, self._out = preprocess, out
        self._lines: list[dict[str, Any]] = []
        self._drawn_at = perf_counter()
        self._owns_out = False  # whether what `out` has is of this training

    def restore(self, step: int) -> None:
        """Goes on with what was written up to `step`."""
        self._lines = [line for line in read_metrics(self._out) if line["step"] <= step]
        self._owns_out = True

    def make_room(self) -> None:
        """Before the first file of a new training, takes away those of an earlier one, which would pass for its own.

        The model stays, and so does all else until there is something to put in its place.
        """
        if not self._owns_out:
            for name in (CHECKPOINT_FILE, PREVIOUS_FILE, METRICS_FILE, BEST_FILE, ANSWERS_FILE):
                (self._out / name).unlink(missing_ok=True)
            self._owns_out = True

    def add(
        self,
        network: Network,
        sums: Sums,
        *,
        epoch: int,
        step: int,
        weights: Mapping[str, float],
        rates: Mapping[str, float],
    ) -> dict[str, Any]:
        """Measures `network` after `epoch`, where that is due, and writes it down; the epoch's line.

        `weights` of the losses; `rates`: learning rates by group.
        """
        nearest = self._measure(network, epoch)
        losses = {task: total / sums.steps for task, total in sums.losses.items()}
        line = {
            "epoch": epoch,
            "step": step,
            "loss": sum(weight * losses[name] for name, weight in weights.items()),
            "losses": losses,
            "learning_rate": dict(rates),
            "seconds": round(sums.seconds, 2),
            "photos_per_second": round(sums.steps * self._recipe.batch / sums.seconds, 1),
            "waiting": round(sums.waited / sums.seconds, 3),
            "gem_p": network.pool.p.item() if isinstance(network.pool, GeM) else None,
            "validation": self._figures(nearest),
        }
        self._lines.append(line)
        self.make_room()
        write_metrics(self._out, self._lines)
        self._keep_answers(network, epoch, nearest)
        if epoch == self._recipe.schedule.epochs or perf_counter() - self._drawn_at > DRAW_EVERY_S:
            draw_curves(self._out, self._lines, self._recipe.name)
            self._drawn_at = perf_counter()
        return line

    def _measure(self, network: Network, epoch: int) -> dict[int, Nearest]:
        """The nearest photos of the queries of the validations that are due after this epoch, by their numbers."""
        last = epoch == self._recipe.schedule.epochs
        due = [number for number in self._validations if last or epoch % self._recipe.validation[number].every == 0]
        trunk = self._recipe.trunk
        if trunk.batch_norm_photos and not trunk.freeze_batch_norm and (due or last):
            uris = draw_photos(self._data.sets, trunk.batch_norm_photos, self._recipe.seed)
            reestimate(network.trunk, uris, self._preprocess)
        with explaining_lack_of_memory(*of_measuring(BATCH, self._preprocess.size)):
            return {number: find_nearest(network, self._validations[number], self._preprocess) for number in due}

    def _figures(self, nearest: Mapping[int, Nearest]) -> dict[str, dict[str, float]]:
        """Precision@1 by validation and label."""
        return {
            self._recipe.validation_name(number): {
                label: round(value, 4) for label, value in precisions(self._validations[number], each).items()
            }
            for number, each in nearest.items()
        }

    def _keep_answers(self, network: Network, epoch: int, nearest: Mapping[int, Nearest]) -> None:
        """Keeps what was answered, and with `best_by` the weights, where they are those to be exported so far."""
        best_by = self._recipe.schedule.best_by
        if best_by and best_epoch(self._lines, best_by) == epoch:
            save_best(self._out, epoch, network.state_dict())
        elif best_by:
            return
        if nearest:
            write_answers(self._out, Answers(epoch, nearest), self._validations)


def summary(line: Mapping[str, Any]) -> str:
    """An epoch's line in words."""
    figures = [f"{label} {value:.3f}" for labels in line["validation"].values() for label, value in labels.items()]
    measured = f"; precision@1: {', '.join(figures)}" if figures else ""
    return f"epoch {line['epoch']}: loss {line['loss']:.3f}, {line['photos_per_second']:.0f} photos/s{measured}"
