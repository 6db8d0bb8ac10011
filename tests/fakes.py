"""Small true implementations of what is heavy: an encoder in five lines, a model directory without training."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import save

from engine.vision.encoder import Encoded
from engine.vision.model import Head, Model, ModelSpec, compute_model_id, write_model
from engine.vision.preprocess import Preprocess

Floats = NDArray[np.float32]

GRID = 8  # the fakes see a photo as 8 x 8 patches of mean colour
COLOUR_HEAD = Head("colour", "colour", ("Blue", "Green", "Red"))


def small_preprocess(size: int = 32) -> Preprocess:
    return Preprocess(size, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


class FakeEncoder:
    """Patches of mean colour through a fixed random projection: like photos get like vectors, on any machine."""

    def __init__(self, dim: int = 16, *, model_id: str = "fake", size: int = 32, seed: int = 0) -> None:
        assert size % GRID == 0
        self.model_id = model_id
        self.dim = dim
        self.preprocess = small_preprocess(size)
        self.photos_encoded = 0
        self._projection = projection(dim, seed)

    def encode(self, batch: Floats) -> Encoded:
        self.photos_encoded += len(batch)
        step = self.preprocess.size // GRID
        patches = batch.reshape(len(batch), 3, GRID, step, GRID, step).mean(axis=(3, 5), dtype=np.float32)
        features = patches.reshape(len(batch), 3 * GRID * GRID)
        embeddings = features @ self._projection
        norms = np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), np.float32(1e-12))
        return Encoded(embeddings / norms, features)


def projection(dim: int, seed: int = 0) -> Floats:
    """float32 [3 * GRID * GRID, dim], the same for the same seed."""
    return np.random.default_rng(seed).standard_normal((3 * GRID * GRID, dim)).astype(np.float32)


def tiny_model(directory: Path, *, dim: int = 16, size: int = 32, seed: int = 0) -> Model:
    """A real model directory (ONNX, heads, model.json) that computes what `FakeEncoder` does. Needs `onnx`.

    Its one head, `colour`, tells mostly red, green and blue photos apart.
    """
    weights = projection(dim, seed)
    planes = np.eye(3, dtype=np.float32)[[2, 1, 0]].repeat(GRID * GRID, axis=1)  # Blue, Green, Red sum their channel
    tensors = {"colour.weight": planes / np.float32(GRID), "colour.bias": np.zeros(3, np.float32)}
    spec = ModelSpec(
        model_id="",
        name="tiny",
        trunk="patches",
        dim=dim,
        feature_dim=len(weights),
        preprocess=small_preprocess(size),
        heads=(COLOUR_HEAD,),
    )
    model_id = compute_model_id(
        {**tensors, "projection": weights}, spec.preprocess, trunk=spec.trunk, dim=dim, heads=spec.heads
    )
    files = {"encoder.onnx": tiny_onnx(weights, size), "heads.safetensors": save(tensors)}
    return write_model(directory, replace(spec, model_id=model_id), files)


def tiny_onnx(weights: Floats, size: int) -> bytes:
    """Photos -> mean colours of patches ("features") -> `weights` -> L2 ("embedding"), as an ONNX file."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    step = size // GRID
    graph = helper.make_graph(
        [
            helper.make_node("AveragePool", ["photos"], ["pooled"], kernel_shape=[step, step], strides=[step, step]),
            helper.make_node("Flatten", ["pooled"], ["features"]),
            helper.make_node("MatMul", ["features", "weights"], ["projected"]),
            helper.make_node("LpNormalization", ["projected"], ["embedding"], axis=1, p=2),
        ],
        "tiny",
        [helper.make_tensor_value_info("photos", TensorProto.FLOAT, ["n", 3, size, size])],
        [
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", weights.shape[1]]),
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", weights.shape[0]]),
        ],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def photo_bytes(colour: tuple[int, int, int], *, side: int = 48, seed: int = 0, kind: str = "PNG") -> bytes:
    """A file of a square photo in about one colour, with noise that `seed` decides."""
    noise = np.random.default_rng(seed).normal(0, 8, (side, side, 3))
    pixels = (np.array(colour) + noise).clip(0, 255).astype(np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()
