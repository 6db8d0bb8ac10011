"""A trained network -> a model directory: ONNX that serves without torch, checked before anything is replaced."""

import shutil
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save
from torch import Tensor, nn

from engine.errors import TrainingFailed
from engine.vision.encoder import OpenVinoEncoder
from engine.vision.model import (
    CARD_FILE,
    ENCODER_FILE,
    HEADS_FILE,
    RECIPE_FILE,
    WEIGHTS_FILE,
    Head,
    Model,
    ModelSpec,
    compute_model_id,
    write_model,
)
from engine.vision.preprocess import Preprocess
from trainer.folding import bake, find_pairs, fold
from trainer.losses.task_loss import TaskLoss
from trainer.network import Network
from trainer.recipe import Recipe

TOLERANCE = 1e-3  # largest difference of any output between torch and the exported network
CHECK_PHOTOS = 8

Floats = NDArray[np.float32]
Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Export:
    """What was written, and how far its outputs are from torch's on real photos."""

    model: Model
    difference: float
    photos: int


class Serving(nn.Module):
    """The network as it is served: photos -> (embedding, features), every batch norm inside its convolution."""

    def __init__(self, network: Network, size: int) -> None:
        super().__init__()
        # float32 on the processor, whatever it was trained on; a copy, because baking cannot be undone
        self.network = deepcopy(network).cpu().float().eval()
        self.network.losses = nn.ModuleDict()
        fold(self.network.trunk, find_pairs(self.network.trunk, size))
        bake(self.network.trunk)

    def forward(self, photos: Tensor) -> tuple[Tensor, Tensor]:
        outputs = self.network(photos)
        return outputs.embedding, outputs.features


def export_model(
    recipe: Recipe,
    network: Network,
    classes: Mapping[str, Sequence[str]],
    *,
    preprocess: Preprocess,
    photos: Floats,
    out: Path,
    training: Mapping[str, Any],
    card: str,
) -> Export:
    """Writes the model directory `out`; TrainingFailed, and `out` as it was, where the exported network differs.

    `photos`: float32 [n, 3, size, size], preprocessed real photos to compare on. `training` and `card` are for people.
    """
    network = network.eval()
    heads = tuple(
        # a multi-label softmax gives shares of one whole, so it is served as the softmax it was trained as
        Head(name, column, tuple(classes[name]), "softmax")
        for task in recipe.task
        if task.on == "trunk"
        for name, column in task.heads
    )
    head_tensors = _head_tensors(recipe, network)
    weights = {name: tensor for name, tensor in _tensors(network).items() if not name.startswith("losses.")}
    dim = recipe.embedding.dim
    spec = ModelSpec(
        model_id=compute_model_id(
            {**weights, **head_tensors},
            preprocess,
            trunk=recipe.trunk.name,
            dim=dim,
            pooling=recipe.embedding.pooling,
            mirrored=recipe.embedding.mirrored,
            heads=heads,
        ),
        name=recipe.name,
        trunk=recipe.trunk.name,
        dim=dim,
        feature_dim=network.channels,
        preprocess=preprocess,
        heads=heads,
        training=dict(training),
    )
    scratch = Path(tempfile.mkdtemp(prefix="lookalike-export-"))
    try:
        to_onnx(Serving(network, preprocess.size), preprocess.size, scratch / ENCODER_FILE)
        serving: dict[str, Path | bytes] = {
            ENCODER_FILE: scratch / ENCODER_FILE,
            HEADS_FILE: save(head_tensors, {"format": "pt"}),
        }
        trial = write_model(scratch / "trial", spec, serving)
        difference = compare(network, trial, photos)
        files: dict[str, Path | bytes] = {
            **serving,
            WEIGHTS_FILE: save(_tensors(network), {"format": "pt"}),
            RECIPE_FILE: recipe.source.encode(),
            CARD_FILE: card.encode(),
        }
        return Export(write_model(out, spec, files), difference, len(photos))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def to_onnx(serving: Serving, size: int, file: Path) -> None:
    """Writes one file, weights inside; the number of photos is free.

    By tracing, not by torch's newer exporter: that takes 9 to 19 seconds of processor time where this takes less than
    one, and no photo decides what the network computes, so a trace says it all. `compare` proves it each time.
    """
    names = {"photos": {0: "n"}, "embedding": {0: "n"}, "features": {0: "n"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer, about sizes that it takes as fixed: they are
        torch.onnx.export(
            serving,
            (torch.zeros(2, 3, size, size),),
            file,
            input_names=["photos"],
            output_names=["embedding", "features"],
            dynamic_axes=names,
            dynamo=False,
            opset_version=17,
        )


def compare(network: Network, model: Model, photos: Floats) -> float:
    """The largest difference between torch's outputs and the served ones; TrainingFailed above `TOLERANCE`."""
    reference = deepcopy(network).cpu().float().eval()
    with torch.inference_mode():
        expected = reference(torch.from_numpy(photos))
    served = OpenVinoEncoder(model).encode(photos)
    difference = max(
        float(np.abs(served.embeddings - expected.embedding.numpy()).max()),
        float(np.abs(served.features - expected.features.numpy()).max()),
    )
    if not difference <= TOLERANCE:
        raise TrainingFailed(
            f"The exported network differs from torch by {difference:.2g} on {len(photos)} photos, more than "
            f"{TOLERANCE:g}; nothing was replaced: try another trunk, or report this one ({model.spec.trunk})."
        )
    return difference


def _tensors(network: Network) -> Tensors:
    return {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in network.state_dict().items()}


def _head_tensors(recipe: Recipe, network: Network) -> Tensors:
    """The heads' weights and biases under the names that `heads.safetensors` has."""
    tensors: Tensors = {}
    for task in (task for task in recipe.task if task.on == "trunk"):
        loss = network.losses[task.name]
        assert isinstance(loss, TaskLoss)
        for (name, _), (weight, bias) in zip(task.heads, loss.heads(), strict=True):
            tensors[f"{name}.weight"] = weight.detach().cpu().contiguous().numpy()
            tensors[f"{name}.bias"] = bias.detach().cpu().contiguous().numpy()
    return tensors
