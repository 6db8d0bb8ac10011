"""What the network that will be exported answered to the validation's queries: `answers.json`, which the report draws.

It is written when an epoch was measured and its network is the one to be exported so far, so that a report can be made
at any time without encoding a photo again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from engine.storage.files import write_text
from trainer.tables import ValidationData
from trainer.validate import Nearest

FILE = "answers.json"
FORMAT = 2


@dataclass(frozen=True)
class Answers:
    """Of the validations, by their number in the recipe, after an epoch."""

    epoch: int
    nearest: Mapping[int, Nearest]


def write_answers(directory: Path, answers: Answers, validations: Mapping[int, ValidationData]) -> None:
    """Writes `answers.json`, whole or not at all: the answers to `validations`, by the same numbers."""
    values = {
        str(number): {
            "asked": _digest(validations[number]),
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
        json.dumps({"format": FORMAT, "epoch": answers.epoch, "validations": values}, allow_nan=False) + "\n",
    )


def read_answers(directory: Path, validations: Mapping[int, ValidationData]) -> Answers | None:
    """The answers to these very `validations`; None where there are none, or where photos or labels were others."""
    path = directory / FILE
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            return None
        asked = {int(number): values["asked"] for number, values in found["validations"].items()}
        nearest = {int(number): _nearest(values) for number, values in found["validations"].items()}
        answers = Answers(int(found["epoch"]), nearest)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # of another version, or damaged: the report does without
    same = all(number in validations and _digest(validations[number]) == digest for number, digest in asked.items())
    return answers if same else None


def _nearest(values: Mapping[str, list[float]]) -> Nearest:
    return Nearest(
        np.array(values["rows"], np.int64),
        np.array(values["cosines"], np.float32),
        np.array(values["right_rows"], np.int64),
        np.array(values["right_cosines"], np.float32),
        np.array(values["readable"], np.bool_),
    )


def _digest(data: ValidationData) -> str:
    """Of the photos' URIs and labels, in their order: what the rows of answers count."""
    asked = [data.queries, data.gallery, dict(data.query_labels), dict(data.gallery_labels)]
    return sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
