"""What the network that will be exported answered to the validation's queries: `answers.json`, which the report draws.

It is written when an epoch was measured and its network is the one to be exported so far, so that a report can be made
at any time without encoding a photo again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.storage.files import write_text
from trainer.tables import ValidationData
from trainer.validate import Nearest

FILE = "answers.json"
FORMAT = 1


@dataclass(frozen=True)
class Answers:
    """Of the validations, by their number in the recipe, after an epoch."""

    epoch: int
    nearest: Mapping[int, Nearest]


def write_answers(directory: Path, answers: Answers) -> None:
    """Writes `answers.json`, whole or not at all."""
    validations = {
        str(number): {
            "rows": each.rows.tolist(),
            "cosines": [round(value, 5) for value in each.cosines.tolist()],
            "right_rows": each.right_rows.tolist(),
            "right_cosines": [round(value, 5) for value in each.right_cosines.tolist()],
            "readable": each.readable.tolist(),
        }
        for number, each in answers.nearest.items()
    }
    write_text(
        directory / FILE,
        json.dumps({"format": FORMAT, "epoch": answers.epoch, "validations": validations}, allow_nan=False) + "\n",
    )


def read_answers(directory: Path, validations: Mapping[int, ValidationData]) -> Answers | None:
    """The answers to these very `validations`; None where there are none, or only to other tables' queries."""
    path = directory / FILE
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            return None
        nearest = {int(number): _nearest(values) for number, values in found["validations"].items()}
        answers = Answers(int(found["epoch"]), nearest)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # of another version, or damaged: the report does without
    fit = all(number in validations and _fits(each, validations[number]) for number, each in nearest.items())
    return answers if fit else None


def _nearest(values: Mapping[str, list[float]]) -> Nearest:
    return Nearest(
        np.array(values["rows"], np.int64),
        np.array(values["cosines"], np.float32),
        np.array(values["right_rows"], np.int64),
        np.array(values["right_cosines"], np.float32),
        np.array(values["readable"], np.bool_),
    )


def _fits(nearest: Nearest, data: ValidationData) -> bool:
    rows = np.concatenate([nearest.rows, nearest.right_rows])
    return len(nearest.rows) == len(data.queries) and bool((rows < len(data.gallery)).all())
