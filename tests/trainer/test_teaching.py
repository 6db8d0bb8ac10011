"""Teacher and student end to end on drawn shapes: distillation, labels of the teacher's, pretraining on them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from engine.errors import BadRecipe, MissingFile
from engine.vision.encoder import OpenVinoEncoder
from engine.vision.heads import Heads
from engine.vision.model import Model
from engine.vision.preprocess import Preprocess
from tests.trainer.shapes import draw_shapes, shapes_recipe
from tests.trainer.test_training import StopAfter
from trainer import training
from trainer.checkpoint import load_checkpoint
from trainer.machine import Machine
from trainer.network import Network
from trainer.photos import read_photos
from trainer.plan import plan
from trainer.pretrain import pretraining_recipe
from trainer.ranks import Ranks
from trainer.recipe import Recipe, read_recipe
from trainer.report import read_metrics
from trainer.tables import read_training_data
from trainer.teacher import Distillation, TeachingModel
from trainer.training import serving_preprocess

HERE = Machine(torch.device("cpu"), workers=0, threads=1)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_shapes(tmp_path_factory.mktemp("shapes"))


@pytest.fixture(scope="module")
def teacher(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Another trunk, another length of the embedding, another size of photos than the student's."""
    recipe = shapes_recipe(
        ("test_resnet", "test_mambaout"), ("dim = 8", "dim = 12"), ("image_size = 32", "image_size = 64")
    )
    return training.train(recipe, data, tmp_path_factory.mktemp("teacher"), machine=HERE).model


def student(teacher: Path, table: str, *changes: tuple[str, str]) -> Recipe:
    """The usual recipe with what `table` adds to its [teacher]."""
    return shapes_recipe(("[schedule]", f'[teacher]\nmodel = "{teacher}"\n{table}\n\n[schedule]'), *changes)


def test_a_teacher_says_in_training_what_it_says_in_serving(teacher: Model, data: Path) -> None:
    """Of pictures normalised for another network, if they have the size that it is served."""
    uris = read_training_data(shapes_recipe(), data).sets[0].uris[:4]
    theirs = Preprocess(64, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), interpolation=teacher.spec.preprocess.interpolation)
    lesson = TeachingModel(teacher, theirs, CPU)(torch.from_numpy(read_photos(uris, theirs)[0]))
    served = OpenVinoEncoder(teacher).encode(read_photos(uris, teacher.spec.preprocess)[0])
    np.testing.assert_allclose(lesson.embedding, served.embeddings, atol=2e-3)
    for name, probabilities in Heads.open(teacher).probabilities(served.features).items():
        np.testing.assert_allclose(lesson.logits[name].softmax(dim=1), probabilities, atol=2e-3)


def test_a_student_of_itself_has_nothing_to_learn(teacher: Model, data: Path) -> None:
    recipe = read_recipe(teacher.path / "recipe.toml")
    recipe = recipe.model_copy(update={"teacher": student(teacher.path, "embedding = 1.0\nheads = 1.0").teacher})
    training_data = read_training_data(recipe, data)
    network = training.make_network(recipe, training_data, weights="none")
    checkpoint = load_checkpoint(teacher.path)
    assert checkpoint is not None and checkpoint.average is not None
    network.load_state_dict(checkpoint.average)
    preprocess = serving_preprocess(network, recipe)
    photos = torch.from_numpy(read_photos(training_data.sets[0].uris[:4], preprocess)[0])
    lessons = Distillation(recipe, training_data.classes, preprocess, CPU)
    assert lessons.names == ("teacher's embedding", "teacher's heads")
    for name, term in zip(lessons.names, lessons(photos, network.eval()(photos), network), strict=True):
        assert term.item() == pytest.approx(0, abs=1e-5), name


def test_a_student_comes_nearer_to_its_teacher(teacher: Model, data: Path, tmp_path: Path) -> None:
    recipe = student(
        teacher.path,
        "embedding = 10.0\nheads = 10.0",
        ("epochs = 3", "epochs = 8\nlearning_rate = 3e-3\nwarmup_epochs = 0"),
        ("erasing = 0.3\nmixup = 0.3\ncutmix = 0.3", "scale = [0.9, 1.0]"),
    )
    training.train(recipe, data, tmp_path, machine=HERE)
    lines = read_metrics(tmp_path)
    assert {"teacher's embedding", "teacher's heads"} < lines[0]["losses"].keys()
    for name in ("teacher's embedding", "teacher's heads"):
        assert lines[-1]["losses"][name] < lines[0]["losses"][name]
    weights = {"product": 1.0, "shape": 0.5}
    total = sum(weights.get(name, 1.0) * loss for name, loss in lines[-1]["losses"].items())
    assert lines[-1]["loss"] == pytest.approx(total)


def test_a_photo_that_cannot_be_read_is_not_taught(teacher: Model, data: Path) -> None:
    recipe = student(teacher.path, "embedding = 1.0\nheads = 1.0")
    training_data = read_training_data(recipe, data)
    network = training.make_network(recipe, training_data, weights="none").eval()
    lessons = Distillation(recipe, training_data.classes, serving_preprocess(network, recipe), CPU)
    photos, readable = torch.randn(4, 3, 32, 32), torch.tensor([True, False, True, True])
    photos[1] = 0
    found = lessons(photos, network(photos), network, readable)
    expected = lessons(photos[readable], network(photos[readable]), network)
    torch.testing.assert_close(torch.stack(found), torch.stack(expected))
    assert not torch.allclose(torch.stack(found), torch.stack(lessons(photos, network(photos), network)))


def test_a_plan_counts_the_teacher(teacher: Model, data: Path) -> None:
    taught = plan(student(teacher.path, "embedding = 1.0"), data, HERE).cost.memory
    weights = sum(tensor.nbytes for tensor in load_file(teacher.path / "weights.safetensors").values())
    photos = 8 * 3 * 64 * 64 * 4  # as large as the teacher takes them
    assert taught["teacher"] > weights * 0.8 + photos
    assert "teacher" not in plan(student(teacher.path, PRETRAIN), data, HERE).cost.memory


def test_distillation_goes_on_after_a_stop_as_if_it_had_not_stopped(teacher: Model, data: Path, tmp_path: Path) -> None:
    recipe = student(teacher.path, "embedding = 1.0", ("epochs = 3", "epochs = 2"))
    training.train(recipe, data, tmp_path / "whole", machine=HERE)
    with pytest.raises(KeyboardInterrupt):
        training.train(recipe, data, tmp_path / "stopped", machine=HERE, progress=StopAfter(4))
    training.train(recipe, data, tmp_path / "stopped", machine=HERE, resume=True)
    one, other = (load_checkpoint(tmp_path / name) for name in ("whole", "stopped"))
    assert one is not None and other is not None
    assert all(torch.equal(tensor, other.network[name]) for name, tensor in one.network.items())


PRETRAIN = """
[pretrain]
table = "photos.csv"
images = "images"
where = "split=catalogue|val"
quota = 4
heads = ["shape"]
classes_per_photo = 2
photos_per_class = 4
epochs = 2
"""


def test_pretraining_teaches_the_surest_photos(teacher: Model, data: Path, tmp_path: Path) -> None:
    recipe = student(teacher.path, PRETRAIN, ("epochs = 3", "epochs = 1"))
    listener = StopAfter(1000)
    training.train(recipe, data, tmp_path, machine=HERE, progress=listener)
    taught = read_training_data(
        pretraining_recipe(recipe, tmp_path / "pretrain" / "taught.csv", data / "images"), data
    ).sets[0]
    # the teacher's own word on the twelve photos, four of each class kept
    uris = all_uris(data, "split=catalogue|val")
    features = OpenVinoEncoder(teacher).encode(read_photos(uris, teacher.spec.preprocess)[0]).features
    probabilities = Heads.open(teacher).probabilities(features)["shape"]
    # of both classes, whatever else the teacher thinks
    surest = [np.argsort(-probabilities[:, c], kind="stable")[:4].tolist() for c in range(2)]
    expected = {uris[place] for places in surest for place in places}
    assert set(taught.uris) == expected
    card = (tmp_path / "card.md").read_text()
    assert f"The teacher was the model `{teacher.path}`" in card
    assert f"{len(expected)} photos of `photos.csv` (`split=catalogue|val`) with the teacher's labels for shape" in card
    assert any(note.startswith("Taught:") for note in listener.notes)

    pretrained = load_checkpoint(tmp_path / "pretrain")
    assert pretrained is not None and pretrained.average is not None
    assert pretrained.classes == {
        "shape on the trunk": ("disc", "square"),
        "shape on the embedding": ("disc", "square"),
    }


def test_fine_tuning_begins_from_what_was_pretrained_batch_norm_included(
    teacher: Model, data: Path, tmp_path: Path
) -> None:
    """After a single step nothing is farther from there than the step's rate, and frozen statistics are not at all."""
    recipe = student(
        teacher.path,
        PRETRAIN.replace("epochs = 2", "epochs = 8"),
        ("epochs = 3\nema = 0.9", "epochs = 1\nepoch_steps = 1\nwarmup_epochs = 0\nweight_decay = 0"),
        ("image_size = 32", "image_size = 32\nfreeze_batch_norm = true\nbatch_norm_photos = 20"),
    )
    training.train(recipe, data, tmp_path, machine=HERE)
    pretrained, tuned = (load_checkpoint(tmp_path / name) for name in ("pretrain", "."))
    assert pretrained is not None and tuned is not None and tuned.step == 1
    fresh = training.make_network(recipe, read_training_data(recipe, data), weights="none").state_dict()
    schedule, far = recipe.schedule, 0
    for name, begun in pretrained.network.items():
        if name.startswith("losses."):
            continue
        if "running_" in name:
            assert torch.equal(tuned.network[name], begun), name
            continue
        rate = schedule.learning_rate if name.startswith("trunk.") else schedule.head_learning_rate
        assert (tuned.network[name] - begun).abs().max() <= 1.01 * rate, name
        far += int((fresh[name] - begun).abs().max() > 2 * rate)
    assert far > 10  # so that a fresh start could not have passed


def test_a_pretraining_that_was_stopped_goes_on_and_teaches_once(teacher: Model, data: Path, tmp_path: Path) -> None:
    recipe = student(teacher.path, PRETRAIN, ("epochs = 3", "epochs = 1"))
    training.train(recipe, data, tmp_path / "whole", machine=HERE)
    with pytest.raises(KeyboardInterrupt):  # in the second epoch of pretraining, behind the 12 photos that were taught
        training.train(recipe, data, tmp_path / "stopped", machine=HERE, progress=StopAfter(12 + 3), resume=True)
    record = tmp_path / "stopped" / "pretrain" / "taught.json"
    assert json.loads(record.read_text())["teacher"] == teacher.spec.model_id
    before = record.stat().st_mtime_ns
    training.train(recipe, data, tmp_path / "stopped", machine=HERE, resume=True)
    assert record.stat().st_mtime_ns == before
    one, other = (load_checkpoint(tmp_path / name) for name in ("whole", "stopped"))
    assert one is not None and other is not None
    assert all(torch.equal(tensor, other.network[name]) for name, tensor in one.network.items())


def all_uris(data: Path, where: str) -> tuple[str, ...]:
    return read_training_data(shapes_recipe(('where = "split=train"', f'where = "{where}"')), data).sets[0].uris


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("", r"line \d+: this \[teacher\] teaches nothing; give embedding or heads a weight"),
        ("embeding = 1", r"line \d+: unknown key 'embeding' in \[teacher\]; did you mean 'embedding'"),
        (PRETRAIN.replace("epochs = 2\n", ""), r"\[pretrain\] lacks 'epochs'"),
        (PRETRAIN.replace('"split=', '"split='[:-1]), r"line \d+: The filter"),
    ],
)
def test_a_recipe_that_teaches_wrongly_names_its_line(table: str, sentence: str) -> None:
    with pytest.raises(BadRecipe, match=sentence):
        student(Path("teacher"), table)


def test_pretraining_without_a_teacher_is_refused() -> None:
    with pytest.raises(BadRecipe, match=r"line \d+: \[pretrain\] needs a \[teacher\]"):
        shapes_recipe(("[schedule]", f"{PRETRAIN}\n[schedule]"))


def test_the_best_epoch_needs_a_label_that_is_measured() -> None:
    with pytest.raises(BadRecipe, match=r"measures no 'colour'; it measures product_id, category"):
        shapes_recipe(("ema = 0.9", 'ema = 0.9\nbest_by = "colour"'))


def test_a_teacher_without_the_students_heads_is_refused(teacher: Model, data: Path) -> None:
    recipe = student(
        teacher.path, "heads = 1.0", ('name = "shape"\n', 'name = "form"\n'), ('name = "tags"', 'name = "t"')
    )
    training_data = read_training_data(recipe, data)
    network = training.make_network(recipe, training_data, weights="none")
    with pytest.raises(BadRecipe, match=r"shares no head .*it has shape, tags"):
        Distillation(recipe, training_data.classes, serving_preprocess(network, recipe), CPU)


def test_a_model_without_its_weights_cannot_teach(teacher: Model, tmp_path: Path) -> None:
    for name in ("model.json", "encoder.onnx", "heads.safetensors"):
        (tmp_path / name).write_bytes((teacher.path / name).read_bytes())
    with pytest.raises(MissingFile, match=r"lacks recipe\.toml"):
        TeachingModel(Model.open(tmp_path), teacher.spec.preprocess, CPU)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('["shape"]', '["colour"]', "has no head 'colour'; it has shape, tags"),
        ('table = "photos.csv"', 'table = "photo.csv"', r"There is no table .*photo\.csv"),
        ('table = "photos.csv"', 'table = "names.csv"', "has no column 'image'; it has name, split"),
        ('images = "images"', 'images = "pictures"', r"there is no .*pictures; correct"),
        ('where = "split=catalogue|val"', 'where = "split=catalog"', "passes split=catalog; correct the filter"),
        ('where = "split=catalogue|val"', 'where = "splitt=val"', "'splitt'"),
        ("quota = 4", "quota = 1", "a batch of 1 photos has none for some of 2 processes"),
    ],
)
def test_a_pretraining_that_cannot_be_is_told_with_its_line_before_anything_is_computed(
    teacher: Model, data: Path, tmp_path: Path, old: str, new: str, says: str
) -> None:
    (data / "names.csv").write_text("name,split\na,val\n")
    assert PRETRAIN.count(old) == 1
    recipe = student(teacher.path, PRETRAIN.replace(old, new))
    line = recipe.source[: recipe.source.index(new, recipe.source.index("[pretrain]"))].count("\n") + 1
    here = Machine(torch.device("cpu"), workers=0, threads=1, ranks=Ranks(0, 2 if "quota" in old else 1))
    for what in (plan, lambda recipe, data, here: training.train(recipe, data, tmp_path, machine=here)):
        with pytest.raises(BadRecipe, match=rf"^shapes\.toml, line {line}: .*{says}"):
            what(recipe, data, here)
    assert not list(tmp_path.iterdir())


def test_a_teacher_that_cannot_teach_is_told_before_anything_is_computed(
    teacher: Model, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "served").mkdir()
    for name in ("model.json", "encoder.onnx", "heads.safetensors"):
        (tmp_path / "served" / name).write_bytes((teacher.path / name).read_bytes())
    others = (('name = "shape"\n', 'name = "form"\n'), ('name = "tags"', 'name = "t"'))
    for recipe, key, says in (
        (student(tmp_path / "none", "embedding = 1.0"), "model = ", "is no model"),
        (student(tmp_path / "served", "embedding = 1.0"), "model = ", r"lacks recipe\.toml"),
        (student(teacher.path, f"heads = 1.0\n{PRETRAIN}", *others), "heads = 1.0", "shares no head"),
    ):
        line = recipe.source[: recipe.source.index(key)].count("\n") + 1
        for what in (plan, lambda recipe, data, here: training.train(recipe, data, tmp_path / "out", machine=here)):
            with pytest.raises(BadRecipe, match=rf"^shapes\.toml, line {line}: .*{says}"):
                what(recipe, data, HERE)
    assert not (tmp_path / "out").exists()


def test_query_photos_that_are_pretrained_on_are_told(teacher: Model, data: Path, tmp_path: Path) -> None:
    recipe = student(teacher.path, PRETRAIN)
    listener = StopAfter(0)
    with pytest.raises(KeyboardInterrupt):
        training.train(recipe, data, tmp_path, machine=HERE, progress=listener)
    assert "Mind: 6 query photos of validation 1 are pretrained on too." in listener.notes
    assert [each.trained_on for each in plan(recipe, data, HERE).validations] == [6]


def test_statistics_of_batch_norm_are_taken_before_they_are_frozen(data: Path, tmp_path: Path) -> None:
    recipe = shapes_recipe(
        ("image_size = 32", "image_size = 32\nfreeze_batch_norm = true\nbatch_norm_photos = 20"),
        ("epochs = 3", "epochs = 1"),
    )
    listener = StopAfter(1000)
    training.train(recipe, data, tmp_path, machine=HERE, progress=listener)
    assert "Batch norm's statistics are those of 20 training photos." in listener.notes
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint is not None
    means = [tensor for name, tensor in checkpoint.network.items() if name.endswith("running_mean")]
    assert means and all(tensor.abs().sum() > 0 for tensor in means)  # a random start has zeros


def test_what_is_exported_has_the_best_epochs_weights(data: Path, tmp_path: Path) -> None:
    recipe = shapes_recipe(("ema = 0.9", 'ema = 0.9\nbest_by = "product_id"'), ("every = 2", "every = 1"))
    export = training.train(recipe, data, tmp_path, machine=HERE)
    lines = read_metrics(tmp_path)
    figures = [line["validation"]["shapes"]["product_id"] for line in lines]
    best = figures.index(max(figures))
    assert best + 1 < len(lines)  # or the last weights would pass for the best
    assert export.model.spec.training["validation"] == lines[best]["validation"]
    card = (tmp_path / "card.md").read_text()
    assert f"3 epochs of adamw, of which this is epoch {best + 1}, the best by product_id." in card
    assert f"After epoch {best + 1}:" in card
    network: Network = training.make_network(recipe, read_training_data(recipe, data), weights="none")
    kept = torch.load(tmp_path / "best.pt", weights_only=True)
    assert kept["epoch"] == best + 1
    network.load_state_dict(kept["network"])
    photos = np.ones((2, 3, 32, 32), np.float32)
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(photos)).embedding
    np.testing.assert_allclose(OpenVinoEncoder(export.model).encode(photos).embeddings, expected, atol=1e-3)
