import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.errors import DamagedFile, MissingFile, UnsupportedFormat
from engine.vision.encoder import OpenVinoEncoder
from engine.vision.heads import Heads
from engine.vision.model import Head, Model, ModelSpec, compute_model_id, copy_serving_part, write_model
from engine.vision.preprocess import Preprocess
from tests.fakes import small_preprocess, tiny_model

HEADS = (Head("kind", "category", ("Chair", "Lamp")), Head("look", "material", ("Étain", "木"), "multilabel"))
TENSORS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([1, 2], np.int64)}


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return tiny_model(tmp_path / "model")


def identity(**changes: object) -> str:
    values = {"tensors": TENSORS, "preprocess": small_preprocess(), "trunk": "t", "dim": 8, "heads": HEADS, **changes}
    return compute_model_id(values.pop("tensors"), values.pop("preprocess"), **values)


def edit_spec(model: Model, **changes: object) -> None:
    path = model.path / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


# --- writing and opening -----------------------------------------------------------------------------------------


def test_what_was_written_is_what_is_opened(tmp_path: Path) -> None:
    spec = ModelSpec("id", "name", "trunk", 8, 12, small_preprocess(), HEADS, training={"epochs": 3, "p": [1.5, None]})
    files = {"encoder.onnx": b"network", "heads.safetensors": b"heads", "card.md": "# Étain".encode()}
    written = write_model(tmp_path / "deep" / "model", spec, files)
    opened = Model.open(str(tmp_path / "deep" / "model"))
    assert opened == written
    assert replace(opened.spec, files={}) == spec
    assert {name: entry.bytes for name, entry in opened.spec.files.items()} == {
        name: len(content) for name, content in files.items()
    }
    assert opened.verify() == []


def test_files_are_copied_from_where_they_are(tmp_path: Path, model: Model) -> None:
    files = {name: model.path / name for name in model.spec.files}
    assert write_model(tmp_path / "copy", model.spec, files).spec == model.spec


def test_a_model_is_replaced_and_other_files_stay(model: Model) -> None:
    (model.path / "metrics.jsonl").write_text("kept")
    files = {"encoder.onnx": b"new network", "heads.safetensors": b"new heads"}
    replaced = write_model(model.path, replace(model.spec, name="new"), files)
    assert replaced.spec.name == "new"
    assert replaced.verify() == []
    assert (model.path / "metrics.jsonl").read_text() == "kept"
    assert not list(model.path.glob(".*"))


def test_a_copy_that_fails_half_way_leaves_the_old_model(model: Model) -> None:
    before = model.encoder_path.read_bytes()
    with pytest.raises(FileNotFoundError):
        write_model(model.path, model.spec, {"encoder.onnx": b"new", "heads.safetensors": model.path / "nowhere"})
    assert model.encoder_path.read_bytes() == before
    assert not list(model.path.glob(".*"))
    assert Model.open(model.path).verify() == []


# --- what cannot be opened ---------------------------------------------------------------------------------------


def test_no_directory_and_no_model_in_it_are_missing(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(MissingFile, match=r"is no model"):
            Model.open(path)


@pytest.mark.parametrize("name", ["encoder.onnx", "heads.safetensors"])
def test_a_serving_file_that_lacks_is_named(model: Model, name: str) -> None:
    (model.path / name).unlink()
    with pytest.raises(DamagedFile, match=name):
        Model.open(model.path)


def test_a_file_of_another_size_is_named(model: Model) -> None:
    with model.heads_path.open("ab") as file:
        file.write(b"x")
    with pytest.raises(DamagedFile, match=r"heads\.safetensors has"):
        Model.open(model.path)


def test_only_a_full_reading_finds_a_changed_byte(model: Model) -> None:
    data = bytearray(model.encoder_path.read_bytes())
    data[len(data) // 2] ^= 1
    model.encoder_path.write_bytes(data)
    (problem,) = Model.open(model.path).verify()
    assert "encoder.onnx" in problem


def test_another_format_asks_for_a_newer_version(model: Model) -> None:
    edit_spec(model, format=2, heads="of the future")
    with pytest.raises(UnsupportedFormat, match="format 2"):
        Model.open(model.path)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"dim": "many"}, "dim"),
        ({"preprocess": {"size": 0, "mean": [0, 0, 0], "std": [1, 1, 1]}}, "preprocess"),
        ({"preprocess": {"size": 32, "mean": [0, 0], "std": [1, 1, 1]}}, "preprocess.mean"),
        ({"heads": [{"name": "a", "label": "b", "classes": ["c"], "kind": "guess"}]}, "heads.0.kind"),
        ({"files": None}, "files"),
    ],
)
def test_a_spec_that_cannot_be_says_where(model: Model, change: dict[str, object], where: str) -> None:
    edit_spec(model, **change)
    with pytest.raises(DamagedFile, match=f"damaged at {where}"):
        Model.open(model.path)


@pytest.mark.parametrize("text", ["", "[]", '"model"', "{", "{}", "\x00"])
def test_a_spec_that_is_no_spec_is_damaged(model: Model, text: str) -> None:
    (model.path / "model.json").write_text(text)
    with pytest.raises(DamagedFile, match=r"model\.json"):
        Model.open(model.path)


# --- identity ----------------------------------------------------------------------------------------------------


def test_the_identity_does_not_depend_on_order_or_memory_layout() -> None:
    shuffled = {"b": TENSORS["b"].astype(">i8"), "a": np.asfortranarray(TENSORS["a"])}
    assert identity(tensors=shuffled) == identity()
    assert len(identity()) == 64


def test_the_identity_is_the_same_in_every_version() -> None:
    # a new value here would make every index out there embed everything again
    assert identity() == "be05f8f24ef204c7207d9c43e624b83fa2c979e201accaa88b5dc208caa6e0ca"


@pytest.mark.parametrize(
    "change",
    [
        {"tensors": {**TENSORS, "a": TENSORS["a"] + np.float32(1e-6)}},
        {"tensors": {**TENSORS, "a": TENSORS["a"].reshape(3, 2)}},
        {"tensors": {**TENSORS, "b": TENSORS["b"].astype(np.int32)}},
        {"tensors": {"a": TENSORS["a"]}},
        {"tensors": {"a": TENSORS["a"], "c": TENSORS["b"]}},
        {"preprocess": Preprocess(32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), crop_fraction=0.9)},
        {"trunk": "other"},
        {"dim": 9},
        {"pooling": "average"},
        {"mirrored": True},
        {"heads": HEADS[:1]},
    ],
)
def test_the_identity_changes_with_whatever_changes_the_answer(change: dict[str, object]) -> None:
    assert identity(**change) != identity()


# --- the copy inside an index ------------------------------------------------------------------------------------


def test_the_copy_for_serving_opens_without_what_training_needs(tmp_path: Path, model: Model) -> None:
    files = {**{name: model.path / name for name in model.spec.files}, "weights.safetensors": b"many"}
    whole = write_model(tmp_path / "whole", model.spec, files)
    copy = copy_serving_part(whole, tmp_path / "index" / "models" / "id")
    assert sorted(path.name for path in copy.path.iterdir()) == ["encoder.onnx", "heads.safetensors", "model.json"]
    assert copy.verify() == []
    assert copy.spec.model_id == whole.spec.model_id


def test_a_sound_copy_is_left_alone_and_a_damaged_one_replaced(tmp_path: Path, model: Model) -> None:
    copy = copy_serving_part(model, tmp_path / "copy")
    first = copy.encoder_path.stat().st_mtime_ns
    assert copy_serving_part(model, tmp_path / "copy").encoder_path.stat().st_mtime_ns == first
    copy.encoder_path.write_bytes(b"damaged")
    assert copy_serving_part(model, tmp_path / "copy").verify() == []


# --- every format ever released ----------------------------------------------------------------------------------


def test_a_model_of_format_1_still_opens_and_answers() -> None:
    model = Model.open(Path(__file__).parents[2] / "golden" / "model" / "format-1")
    assert model.verify() == []
    assert model.spec.model_id == "5d74169984750ab0e656e12f9885ef9a4d914aab39d0398412ba11794a418326"
    ramp = np.linspace(-1, 1, 3 * 16 * 16, dtype=np.float32).reshape(1, 3, 16, 16)
    encoded = OpenVinoEncoder(model, threads=1).encode(ramp)
    np.testing.assert_allclose(encoded.embeddings, [[0.531834, -0.193070, 0.328150, -0.756435]], atol=1e-5)
    probabilities = Heads.open(model).probabilities(encoded.features[0])
    np.testing.assert_allclose(probabilities["colour"], [0.995206, 0.004772, 0.000023], atol=1e-5)
