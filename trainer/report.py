"""The record of a training: one JSON line an epoch, and a picture of the curves."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.storage.files import replacing, write_text

METRICS_FILE = "metrics.jsonl"
CURVES_FILE = "curves.png"

Line = Mapping[str, Any]
"""epoch, step, loss, losses by task, learning_rate, seconds, photos_per_second, waiting (the share of the seconds that
passed without a batch to train on), gem_p; validation by its name (`Recipe.validation_name`) and label."""


def read_metrics(directory: Path) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl`, none where there is no such file; a line cut short by a kill is left out."""
    path = directory / METRICS_FILE
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


def write_metrics(directory: Path, lines: Sequence[Line]) -> None:
    """Writes all lines anew; they are few, and so the file is whole at every moment."""
    write_text(directory / METRICS_FILE, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def best_epoch(lines: Sequence[Line], label: str) -> int | None:
    """The first epoch with the highest precision@1 of `label`, the mean over validations that measure it; None where
    none was measured."""
    figures = {
        line["epoch"]: [labels[label] for labels in line["validation"].values() if label in labels] for line in lines
    }
    means = {epoch: sum(each) / len(each) for epoch, each in figures.items() if each}
    return max(means, key=lambda epoch: (means[epoch], -epoch)) if means else None


def draw_curves(directory: Path, lines: Sequence[Line], name: str) -> None:
    """Draws the losses, the learning rates and the precision@1 of every epoch into `curves.png`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    epochs = [line["epoch"] for line in lines]
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    losses, precision, rates = figure.subplots(1, 3)
    for task in lines[-1]["losses"]:
        losses.plot(epochs, [line["losses"][task] for line in lines], marker=".", label=task)
    losses.set(title="loss by task", xlabel="epoch", ylim=(0, None))
    for label, points in precision_points(lines).items():
        precision.plot(*zip(*points, strict=True), marker=".", label=label)
    precision.set(title="precision@1, validation", xlabel="epoch", ylim=(0, 1))
    for group in lines[-1]["learning_rate"]:
        rates.plot(epochs, [line["learning_rate"][group] for line in lines], marker=".", label=group)
    rates.set(title="learning rate", xlabel="epoch", ylim=(0, None))
    for axes in (losses, precision, rates):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize="small")
    figure.suptitle(name)
    with replacing(directory / CURVES_FILE) as partial:
        figure.savefig(partial, format="png", dpi=110)


def precision_points(lines: Sequence[Line]) -> dict[str, list[tuple[int, float]]]:
    """By "label": the (epoch, precision) pairs of the epochs that were measured."""
    points: dict[str, list[tuple[int, float]]] = {}
    for line in lines:
        for dataset, figures in line["validation"].items():
            for label, value in figures.items():
                name = label if len(line["validation"]) == 1 else f"{dataset}: {label}"
                points.setdefault(name, []).append((line["epoch"], value))
    return points
