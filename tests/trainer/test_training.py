"""Training end to end on drawn shapes: what it writes, going on after a kill, failing without loss."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.errors import MissingFile, TrainingFailed, WrongModel
from engine.sources.photos import read_photo
from engine.vision.encoder import OpenVinoEncoder
from engine.vision.heads import Heads
from engine.vision.model import Model
from engine.vision.preprocess import load
from tests.trainer.shapes import RECIPE, draw_shapes, shapes_recipe
from trainer import training
from trainer.checkpoint import load_checkpoint
from trainer.export import TOLERANCE, Export, compare
from trainer.machine import Machine
from trainer.plan import ValidationPlan, plan
from trainer.recipe import Recipe
from trainer.report import read_metrics
from trainer.tables import read_training_data

HERE = Machine(torch.device("cpu"), workers=0, threads=1)


class StopAfter:
    """Progress that stops the training in its tracks after some steps, and remembers what it was told."""

    def __init__(self, steps: int) -> None:
        self.left, self.notes = steps, list[str]()

    def start(self, title: str, total: int | None = None) -> None:
        pass

    def advance(self, steps: int = 1) -> None:
        self.left -= steps
        if self.left < 0:
            raise KeyboardInterrupt

    def note(self, text: str) -> None:
        self.notes.append(text)

    def finish(self) -> None:
        pass


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_shapes(tmp_path_factory.mktemp("shapes"))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("model")


@pytest.fixture(scope="module")
def export(data: Path, out: Path) -> Export:
    """The whole training, uninterrupted."""
    exported = training.train(shapes_recipe(), data, out, machine=HERE)
    assert exported is not None
    return exported


def weights_in(directory: Path) -> Mapping[str, torch.Tensor]:
    checkpoint = load_checkpoint(directory)
    assert checkpoint is not None and checkpoint.average is not None
    return {**checkpoint.network, **{f"average.{name}": tensor for name, tensor in checkpoint.average.items()}}


def assert_same_weights(one: Path, other: Path) -> None:
    expected, found = weights_in(one), weights_in(other)
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name


def test_a_training_writes_a_whole_model_and_its_record(export: Export, out: Path) -> None:
    model = Model.open(out)
    assert model.verify() == []
    assert set(model.spec.files) == {
        "encoder.onnx",
        "heads.safetensors",
        "weights.safetensors",
        "recipe.toml",
        "card.md",
    }
    assert model.spec.dim == 8
    assert [(head.name, head.label) for head in model.spec.heads] == [("shape", "category"), ("tags", "tags")]
    assert (out / "recipe.toml").read_text() == RECIPE
    assert export.difference <= TOLERANCE
    assert export.photos == 6
    with Image.open(out / "curves.png") as curves:
        assert curves.format == "PNG"


def test_the_record_has_a_line_an_epoch_and_the_figures_when_they_are_due(export: Export, out: Path) -> None:
    lines = read_metrics(out)
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert [bool(line["validation"]) for line in lines] == [False, True, True]  # every second epoch, and the last
    assert lines[-1]["validation"]["shapes"].keys() == {"product_id", "category"}
    assert export.model.spec.training["validation"] == lines[-1]["validation"]
    assert lines[-1]["losses"].keys() == {"product", "shape", "tags"}
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert all(0 <= line["waiting"] <= 1 for line in lines)


def test_two_validations_of_a_dataset_are_recorded_apart(data: Path, tmp_path: Path) -> None:
    second = (
        '[[validation]]\ndataset = "shapes"\nqueries = "split=val"\ngallery = "split=train"\nlabels = ["product_id"]'
    )
    recipe = shapes_recipe(("epochs = 3", "epochs = 1"), ("[[validation]]", f"{second}\n\n[[validation]]"))
    training.train(recipe, data, tmp_path, machine=HERE)
    (line,) = read_metrics(tmp_path)
    assert {name: set(labels) for name, labels in line["validation"].items()} == {
        "shapes, validation 1": {"product_id"},
        "shapes, validation 2": {"product_id", "category"},
    }


def test_the_model_serves_what_was_trained(export: Export, data: Path) -> None:
    recipe = shapes_recipe()
    training_data = read_training_data(recipe, data)
    network = training.make_network(recipe, training_data, weights="none")
    checkpoint = load_checkpoint(export.model.path)
    assert checkpoint is not None and checkpoint.average is not None
    network.load_state_dict(checkpoint.average)
    preprocess = export.model.spec.preprocess
    photos = np.stack([load(read_photo(uri), uri, preprocess) for uri in training_data.sets[0].uris[:5]])
    encoded = OpenVinoEncoder(export.model).encode(photos)
    with torch.no_grad():
        outputs = network.eval()(torch.from_numpy(photos))
        expected = network.losses["shape"].classifier(outputs.features).softmax(dim=1)
    np.testing.assert_allclose(encoded.embeddings, outputs.embedding, atol=TOLERANCE)
    np.testing.assert_allclose(np.linalg.norm(encoded.embeddings, axis=1), 1, atol=1e-5)
    heads = Heads.open(export.model)
    for row in range(5):
        np.testing.assert_allclose(heads.probabilities(encoded.features[row])["shape"], expected[row], atol=1e-3)


def test_a_mirrored_model_sees_the_same_in_a_photo_and_in_its_mirror_image(data: Path, tmp_path: Path) -> None:
    recipe = shapes_recipe(("epochs = 3", "epochs = 1"), ("dim = 8", "dim = 8\nmirrored = true"))
    exported = training.train(recipe, data, tmp_path, machine=HERE)
    assert exported is not None
    photos = np.random.default_rng(0).normal(size=(3, 3, 32, 32)).astype(np.float32)
    encoder = OpenVinoEncoder(exported.model)
    as_is, turned = encoder.encode(photos), encoder.encode(photos[..., ::-1])
    np.testing.assert_allclose(as_is.embeddings, turned.embeddings, atol=TOLERANCE)
    np.testing.assert_allclose(as_is.features, turned.features, atol=TOLERANCE)
    assert np.abs(as_is.embeddings[0] - as_is.embeddings[1]).max() > 10 * TOLERANCE


def test_exporting_again_gives_the_same_model(export: Export, data: Path, tmp_path: Path) -> None:
    shutil.copy(export.model.path / "checkpoint.pt", tmp_path)
    shutil.copy(export.model.path / "metrics.jsonl", tmp_path)
    again = training.export_only(shapes_recipe(), data, tmp_path)
    assert again.model.spec.model_id == export.model.spec.model_id
    assert (tmp_path / "card.md").read_text() == (export.model.path / "card.md").read_text()


def test_an_export_that_differs_is_refused(export: Export, data: Path) -> None:
    recipe = shapes_recipe(("seed = 3", "seed = 4"))
    other = training.make_network(recipe, read_training_data(recipe, data), weights="none")
    with pytest.raises(TrainingFailed, match="differs from torch by"):
        compare(other, export.model, np.ones((2, 3, 32, 32), np.float32))


# with so short an interval every step is kept, so that training goes on in the middle of an epoch
@pytest.mark.parametrize(("steps", "schedule", "kept"), [(7, "", 6), (4, "checkpoint_minutes = 1e-9", 4)])
def test_a_stopped_training_goes_on_as_if_it_had_not_stopped(
    steps: int, schedule: str, kept: int, export: Export, data: Path, out: Path, tmp_path: Path
) -> None:
    recipe = shapes_recipe(("ema = 0.9", f"ema = 0.9\n{schedule}"))
    with pytest.raises(KeyboardInterrupt):
        training.train(recipe, data, tmp_path, machine=HERE, progress=StopAfter(steps))
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint is not None and checkpoint.step == kept
    training.train(recipe, data, tmp_path, resume=True, machine=HERE)
    assert_same_weights(out, tmp_path)
    # of all steps of each epoch, those before the stop too
    expected = [(line["epoch"], line["losses"]) for line in read_metrics(out)]
    assert [(line["epoch"], line["losses"]) for line in read_metrics(tmp_path)] == expected


def test_a_killed_training_goes_on_as_if_it_had_not_been(export: Export, data: Path, out: Path, tmp_path: Path) -> None:
    """By the command line and kill -9, with photos prepared by a worker process where the other run had none."""
    recipe = tmp_path / "shapes.toml"
    recipe.write_text(RECIPE)
    killed = tmp_path / "model"
    arguments = ["train", str(recipe), "--data", str(data), "--out", str(killed)]
    program = [sys.executable, "-c", "from lookalike.main import main; main()", *arguments]
    environment = {**os.environ, "LOOKALIKE_THREADS": "1"}  # as HERE: another order of sums is another last digit
    with subprocess.Popen(program, env=environment, start_new_session=True, stderr=subprocess.DEVNULL) as process:
        while not (killed / "checkpoint.pt").is_file() and process.poll() is None:
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
    training.train(shapes_recipe(), data, killed, resume=True, machine=HERE)
    assert_same_weights(out, killed)
    assert Model.open(killed).spec.model_id == export.model.spec.model_id


def test_resuming_what_never_began_begins(data: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        training.train(shapes_recipe(), data, tmp_path, resume=True, machine=HERE, progress=StopAfter(1))


def test_a_checkpoint_of_another_recipe_is_refused(export: Export, data: Path, out: Path) -> None:
    with pytest.raises(WrongModel, match="another recipe"):
        training.train(shapes_recipe(("ema = 0.9", "ema = 0.8")), data, out, resume=True, machine=HERE)
    assert Model.open(out).spec.model_id == export.model.spec.model_id


def test_comments_do_not_make_another_recipe(export: Export, data: Path, out: Path, tmp_path: Path) -> None:
    shutil.copytree(out, tmp_path / "copy")
    recipe = shapes_recipe(("seed = 3", "# three\nseed = 3"))
    again = training.train(recipe, data, tmp_path / "copy", resume=True, machine=HERE)
    assert again is not None
    assert again.model.spec.model_id == export.model.spec.model_id


def test_a_loss_that_is_no_number_stops_and_keeps_what_there_was(data: Path, out: Path, tmp_path: Path) -> None:
    recipe = shapes_recipe(
        ("ema = 0.9", 'ema = 0.9\noptimizer = "sgd"\nclip = 0\nlearning_rate = 1e30\nwarmup_epochs = 0')
    )
    shutil.copytree(out, tmp_path / "copy")
    before = (tmp_path / "copy" / "model.json").read_bytes()
    with pytest.raises(TrainingFailed, match="lower learning_rate"):
        training.train(recipe, data, tmp_path / "copy", machine=HERE)
    assert (tmp_path / "copy" / "model.json").read_bytes() == before
    assert load_checkpoint(tmp_path / "copy") is not None


def test_a_training_begun_anew_takes_away_what_could_pass_for_its_own(
    export: Export, data: Path, out: Path, tmp_path: Path
) -> None:
    record = ("checkpoint.pt", "metrics.jsonl", "best.pt", "answers.json")
    recipe = shapes_recipe(("ema = 0.9", "ema = 0.9\ncheckpoint_minutes = 1e-9"))
    shutil.copytree(out, tmp_path / "copy")
    (tmp_path / "copy" / "best.pt").write_bytes(b"of another training")
    before = {name: (tmp_path / "copy" / name).read_bytes() for name in (*record, "model.json")}
    with pytest.raises(KeyboardInterrupt):  # before there is anything to put in its place
        training.train(recipe, data, tmp_path / "copy", machine=HERE, progress=StopAfter(0))
    assert before == {name: (tmp_path / "copy" / name).read_bytes() for name in before}
    with pytest.raises(KeyboardInterrupt):  # in the first epoch
        training.train(recipe, data, tmp_path / "copy", machine=HERE, progress=StopAfter(2))
    assert {name for name in record if (tmp_path / "copy" / name).exists()} == {"checkpoint.pt"}
    assert (tmp_path / "copy" / "model.json").read_bytes() == before["model.json"]
    exported = training.export_only(recipe, data, tmp_path / "copy")
    assert exported.model.spec.training["validation"] == {}


def test_weights_that_the_last_update_spoilt_are_not_what_stays(data: Path, tmp_path: Path) -> None:
    """Saved at the end of each epoch of one step: the loss that shows them to be spoilt comes after that."""
    recipe = shapes_recipe(
        ("epochs = 3", 'epochs = 6\nepoch_steps = 1\noptimizer = "sgd"\nclip = 0\nwarmup_epochs = 0'),
        ("image_size = 32", "image_size = 32\nfreeze_batch_norm = true"),
        # the trunk waits for two steps and then learns far too fast
        ("ema = 0.9", "learning_rate = 1e8\nhead_learning_rate = 1e-3\nnew_layers_epochs = 2"),
    )
    with pytest.raises(TrainingFailed, match=r"lower learning_rate .*holds the last good checkpoint"):
        training.train(recipe, data, tmp_path, machine=HERE)
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint is not None and checkpoint.step == 2
    assert read_metrics(tmp_path)[-1]["step"] == 3  # the epoch whose weights were no good had been kept
    training_data = read_training_data(recipe, data)
    network = training.make_network(recipe, training_data, weights="none")
    network.load_state_dict(checkpoint.network)
    with torch.no_grad():
        assert network.train()(torch.randn(8, 3, 32, 32)).embedding.isfinite().all()
    # and it is what a resume begins with: that fails at the same place, and keeps it again
    with pytest.raises(TrainingFailed):
        training.train(recipe, data, tmp_path, resume=True, machine=HERE)
    again = load_checkpoint(tmp_path)
    assert again is not None and again.step == checkpoint.step


def test_a_table_that_changed_is_not_gone_on_with(export: Export, data: Path, out: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    shutil.copytree(out, tmp_path / "copy")
    table = (tmp_path / "data" / "photos.csv").read_text().splitlines()
    first, second = (number for number, line in enumerate(table) if line.startswith(("0-0", "0-1")))
    table[first], table[second] = table[second], table[first]
    (tmp_path / "data" / "photos.csv").write_text("\n".join(table) + "\n")
    with pytest.raises(WrongModel, match="other photos or labels of 'shapes' than its table has now"):
        training.train(shapes_recipe(), tmp_path / "data", tmp_path / "copy", resume=True, machine=HERE)


def test_exporting_without_a_checkpoint_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="train first"):
        training.export_only(shapes_recipe(), data, tmp_path)


def with_broken_photos(data: Path, folder: Path, broken: int) -> Path:
    shutil.copytree(data, folder)
    for photo in sorted((folder / "images").glob("*.png"))[:broken]:
        photo.write_bytes(b"no picture")
    return folder


def test_a_photo_that_cannot_be_read_is_left_out_and_named(data: Path, tmp_path: Path) -> None:
    broken = with_broken_photos(data, tmp_path / "data", 1)
    listener = StopAfter(1000)
    training.train(shapes_recipe(), broken, tmp_path / "model", machine=HERE, progress=listener)
    assert [note for note in listener.notes if note.startswith("Left out") and "0-0.png" in note]


def test_hardly_a_readable_photo_stops_the_training(data: Path, tmp_path: Path) -> None:
    broken = with_broken_photos(data, tmp_path / "data", 36)
    with pytest.raises(TrainingFailed, match="8 of 8 photos of a batch cannot be read"):
        training.train(shapes_recipe(), broken, tmp_path / "model", machine=HERE)


def test_queries_that_are_trained_on_are_told(data: Path, tmp_path: Path) -> None:
    recipe: Recipe = shapes_recipe(('where = "split=train"', 'where = "split=train|val"'))
    listener = StopAfter(0)
    with pytest.raises(KeyboardInterrupt):
        training.train(recipe, data, tmp_path, machine=HERE, progress=listener)
    assert "Mind: 6 query photos of validation 1 are trained on too." in listener.notes
    assert plan(recipe, data, HERE).validations == (ValidationPlan("shapes", 6, 30, 6),)
    assert plan(shapes_recipe(), data, HERE).validations == (ValidationPlan("shapes", 6, 30, 0),)
