"""Which of a training's weights are exported, and what was measured of those very weights.

A training may be killed between any two of the files it keeps, and may be exported then: so what is told of a model is
looked up by the weights that are there, never by what the record says that was best.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.checkpoint import load_best
from trainer.recipe import Recipe
from trainer.report import Line, read_metrics


@dataclass(frozen=True)
class Exported:
    """`weights` are those of the best epoch, None where the checkpoint's are exported.

    `lines` are of the record's epochs up to them, `measured` the last of those with figures of them, or where they were
    not measured, of the weights before; None where nothing was measured.
    """

    weights: Mapping[str, Any] | None
    lines: tuple[Line, ...]
    measured: Line | None

    @property
    def epoch(self) -> int:
        """The last finished epoch that the weights have seen; 0 before the first one's end."""
        last = self.measured if self.weights is not None else next(reversed(self.lines), None)
        return last["epoch"] if last else 0


def choose(recipe: Recipe, out: Path, step: int) -> Exported:
    """The best epoch's weights, where the recipe says by what label and they are in `out`, else the checkpoint's.

    `step`: that of the checkpoint. Raises DamagedFile, UnsupportedFormat.
    """
    lines = read_metrics(out)
    best = load_best(out) if recipe.schedule.best_by else None
    if best is not None:
        of_best = next((line for line in lines if line["epoch"] == best.epoch), None)
        if of_best is not None:
            last = max(step, of_best["step"])
            return Exported(best.network, tuple(line for line in lines if line["step"] <= last), of_best)
    seen = tuple(line for line in lines if line["step"] <= step)
    return Exported(None, seen, next((line for line in reversed(seen) if line["validation"]), None))
