"""Features -> predictions: the linear heads, in numpy, so that serving needs no second network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from engine.errors import DamagedFile
from engine.vision.model import Head, Model

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a head says about a photo: `label` is one of its classes ("Red"), `probability` in [0, 1]."""

    head: str
    label: str
    probability: float


class Heads:
    """The heads of a model, ready to predict; safe to share between threads."""

    def __init__(self, heads: tuple[Head, ...], weights: Mapping[str, Floats], biases: Mapping[str, Floats]) -> None:
        """`weights` and `biases` by head name: [classes, feature_dim] and [classes]."""
        self.heads = heads
        self._weights = weights
        self._biases = biases

    @classmethod
    def open(cls, model: Model) -> Self:
        """Reads `heads.safetensors`. Raises DamagedFile where it is not what `model.json` says."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        path, spec = model.heads_path, model.spec
        try:
            tensors = load_file(path)
        except (OSError, SafetensorError) as error:
            raise DamagedFile(f"{path} cannot be read ({error}); restore it or export the model again.") from None
        for head in spec.heads:
            for name, shape in (("weight", (len(head.classes), spec.feature_dim)), ("bias", (len(head.classes),))):
                tensor = tensors.get(f"{head.name}.{name}")
                if tensor is None or tensor.shape != shape:
                    found = "is missing" if tensor is None else f"is {list(tensor.shape)}"
                    raise DamagedFile(
                        f"{path}: {head.name}.{name} {found}, model.json wants {list(shape)}; export the model again."
                    )
        return cls(
            spec.heads,
            {head.name: tensors[f"{head.name}.weight"].astype(np.float32) for head in spec.heads},
            {head.name: tensors[f"{head.name}.bias"].astype(np.float32) for head in spec.heads},
        )

    def probabilities(self, features: Floats) -> dict[str, Floats]:
        """float32 [..., feature_dim] -> [..., classes] by head name, in the order of `Head.classes`.

        A softmax head's sum to 1; each of a multilabel head's stands for itself.
        """
        found: dict[str, Floats] = {}
        for head in self.heads:
            logits = features @ self._weights[head.name].T + self._biases[head.name]
            found[head.name] = _softmax(logits) if head.kind == "softmax" else _sigmoid(logits)
        return found

    def predict(self, features: Floats, top: int = 1) -> list[tuple[Prediction, ...]]:
        """float32 [n, feature_dim] -> for each photo the `top` likeliest classes of each head.

        Heads come in the model's order, within a head the likeliest class first; equals in the order of the classes.
        """
        rows: list[list[Prediction]] = [[] for _ in features]
        probabilities = self.probabilities(features)
        for head in self.heads:
            for row, values in zip(rows, probabilities[head.name], strict=True):
                best = np.argsort(-values, kind="stable")[:top]
                row.extend(Prediction(head.name, head.classes[place], float(values[place])) for place in best)
        return [tuple(row) for row in rows]


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def _sigmoid(logits: Floats) -> Floats:
    # written with exp of negative numbers only, which cannot overflow
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1 / (1 + small), small / (1 + small)).astype(np.float32)
