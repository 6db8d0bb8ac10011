"""Trainings that a benchmark is made of: each in a folder of its own, resumable, and stopped when its time is over."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

# read once, as torch loads: threads that wait by spinning take the cores from the loader's processes
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from engine.telemetry import SILENT, Progress
from trainer import training
from trainer.machine import Machine
from trainer.optimise import keep_freed_memory
from trainer.recipe import Recipe, parse_recipe
from trainer.report import read_metrics


class OutOfTime(Exception):
    """The minutes of a run are over; it goes on from its last checkpoint when it is started again."""


@dataclass
class Deadline:
    """Progress that ends the work at a moment; what it is told goes on to another listener."""

    at: float  # of perf_counter
    listener: Progress = SILENT

    def start(self, title: str, total: int | None = None) -> None:
        self.listener.start(title, total)

    def advance(self, steps: int = 1) -> None:
        self.listener.advance(steps)
        if perf_counter() > self.at:
            raise OutOfTime

    def note(self, text: str) -> None:
        print(f"  {text}", flush=True)

    def finish(self) -> None:
        self.listener.finish()


def train_for(recipe: Recipe, data: Path, out: Path, weights: str, minutes: float) -> bool:
    """Begins the training in `out` or goes on with it; whether it came to its end, with a model, in that time.

    Nothing is done where the model of this very recipe is there already. What a stop loses is at most the recipe's
    `checkpoint_minutes`.
    """
    if is_done(recipe, out):
        return True
    keep_freed_memory()
    try:
        deadline = Deadline(perf_counter() + 60 * minutes)
        training.train(recipe, data, out, weights=weights, resume=True, machine=Machine.here(), progress=deadline)
    except OutOfTime:
        print(f"  {out.name}: out of time after {minutes:g} minutes; start it again to go on", flush=True)
        return False
    return True


def is_done(recipe: Recipe, out: Path) -> bool:
    """Whether `out` holds the finished model of this recipe."""
    kept, lines = out / "recipe.toml", read_metrics(out)
    if not (kept.is_file() and (out / "model.json").is_file() and lines):
        return False
    same = parse_recipe(kept.read_text(encoding="utf-8"), str(kept)).model_dump() == recipe.model_dump()
    return same and lines[-1]["epoch"] == recipe.schedule.epochs


def training_figures(recipe: Recipe, out: Path) -> dict[str, Any]:
    """What a run's JSON says of its training."""
    lines = read_metrics(out)
    return {
        "steps": lines[-1]["step"],
        "photos_seen": {each.name: lines[-1]["step"] * each.quota for each in recipe.dataset},
        "minutes": round(sum(line["seconds"] for line in lines) / 60, 2),
        "recipe": recipe.source,
    }


def is_measured(path: Path, measured: Mapping[str, Any]) -> bool:
    """Whether a run's JSON is there, and of this very model, on what is to be measured now."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return found.get("measured") == dict(measured)


def write_run(path: Path, figures: Mapping[str, Any]) -> None:
    """Writes a run's JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"wrote {path}", flush=True)


def changed(text: str, *changes: tuple[str, str]) -> str:
    """A recipe's text with texts replaced by others; each must be there exactly once."""
    for old, new in changes:
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in the recipe"
        text = text.replace(old, new)
    return text
