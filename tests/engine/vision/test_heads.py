import math
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from engine.errors import DamagedFile
from engine.vision.encoder import OpenVinoEncoder
from engine.vision.heads import Heads
from engine.vision.model import Head, ModelSpec, write_model
from engine.vision.preprocess import load
from tests.fakes import photo_bytes, small_preprocess, tiny_model

KIND = Head("kind", "category", ("Chair", "Lamp", "Mug"))
LOOK = Head("look", "material", ("Wood", "Metal"), "multilabel")
RNG = np.random.default_rng(3)
TENSORS = {
    "kind.weight": RNG.standard_normal((3, 5)).astype(np.float32),
    "kind.bias": RNG.standard_normal(3).astype(np.float32),
    "look.weight": RNG.standard_normal((2, 5)).astype(np.float32),
    "look.bias": RNG.standard_normal(2).astype(np.float32),
}


def heads_in(directory: Path, tensors: dict[str, np.ndarray] | bytes = TENSORS) -> Heads:
    spec = ModelSpec("id", "name", "trunk", 4, 5, small_preprocess(), (KIND, LOOK))
    content = tensors if isinstance(tensors, bytes) else save(tensors)
    return Heads.open(write_model(directory, spec, {"encoder.onnx": b"-", "heads.safetensors": content}))


def logits(head: str, features: np.ndarray) -> list[float]:
    """One photo's, in float64."""
    weight, bias = TENSORS[f"{head}.weight"], TENSORS[f"{head}.bias"]
    return [float(row.astype(float) @ features) + float(b) for row, b in zip(weight, bias, strict=True)]


def test_probabilities_are_softmax_and_sigmoid_of_the_logits(tmp_path: Path) -> None:
    features = RNG.standard_normal(5).astype(np.float32)
    found = heads_in(tmp_path).probabilities(features)
    powers = [math.exp(value) for value in logits("kind", features)]
    np.testing.assert_allclose(found["kind"], [power / sum(powers) for power in powers], rtol=1e-5)
    np.testing.assert_allclose(found["look"], [1 / (1 + math.exp(-v)) for v in logits("look", features)], rtol=1e-5)


def test_a_batch_has_the_probabilities_of_its_photos(tmp_path: Path) -> None:
    heads = heads_in(tmp_path)
    features = RNG.standard_normal((6, 5)).astype(np.float32)
    batch = heads.probabilities(features)
    for row in range(6):
        for name, values in heads.probabilities(features[row]).items():
            np.testing.assert_allclose(batch[name][row], values, rtol=1e-5)


def test_predictions_are_the_likeliest_classes_of_every_head(tmp_path: Path) -> None:
    heads = heads_in(tmp_path)
    features = RNG.standard_normal((4, 5)).astype(np.float32)
    for row, predictions in zip(features, heads.predict(features, top=2), strict=True):
        assert [prediction.head for prediction in predictions] == ["kind", "kind", "look", "look"]
        probabilities = heads.probabilities(row)["kind"]
        order = sorted(range(3), key=lambda place: -probabilities[place])
        assert [prediction.label for prediction in predictions[:2]] == [KIND.classes[place] for place in order[:2]]
        assert predictions[0].probability == pytest.approx(max(probabilities), rel=1e-5)


def test_asking_for_more_than_there_are_gives_all(tmp_path: Path) -> None:
    (predictions,) = heads_in(tmp_path).predict(np.zeros((1, 5), np.float32), top=100)
    assert len(predictions) == 5


def test_huge_logits_stay_probabilities(tmp_path: Path) -> None:
    heads = heads_in(tmp_path)
    for sign in (1, -1):
        for values in heads.probabilities(np.full(5, sign * 1e4, np.float32)).values():
            assert np.all(np.isfinite(values))
            assert np.all((values >= 0) & (values <= 1))


def test_a_real_model_tells_the_colour_of_a_photo(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "model")
    encoder, heads = OpenVinoEncoder(model, threads=1), Heads.open(model)
    colours = {"Red": (200, 40, 40), "Green": (40, 200, 40), "Blue": (40, 40, 200)}
    batch = np.stack([load(photo_bytes(rgb), name, encoder.preprocess) for name, rgb in colours.items()])
    predicted = heads.predict(encoder.encode(batch).features)
    assert [prediction.label for (prediction,) in predicted] == list(colours)
    assert all(prediction.probability > 0.5 for (prediction,) in predicted)


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({**TENSORS, "kind.weight": TENSORS["kind.weight"][:2]}, r"kind\.weight is \[2, 5\]"),
        ({name: tensor for name, tensor in TENSORS.items() if name != "look.bias"}, r"look\.bias is missing"),
        (b"no tensors", "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_heads_that_are_not_what_the_model_says_are_damaged(
    tmp_path: Path, tensors: dict[str, np.ndarray] | bytes, said: str
) -> None:
    with pytest.raises(DamagedFile, match=said):
        heads_in(tmp_path, tensors)
