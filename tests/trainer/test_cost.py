"""What a training is said to need, against what it really keeps, and what does not grow with the batch."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.trainer.shapes import draw_shapes, shapes_recipe
from trainer.cost import Line, Trial, measure_cost
from trainer.machine import Machine
from trainer.ranks import Ranks
from trainer.recipe import Recipe
from trainer.tables import TrainingData, read_training_data
from trainer.training import make_network

HERE = Machine(torch.device("cpu"), workers=0, threads=1)
CLASSES = 50_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_shapes(tmp_path_factory.mktemp("shapes"))


@pytest.fixture(scope="module")
def data(folder: Path) -> TrainingData:
    return with_many_classes(read_training_data(shapes_recipe(), folder))


def with_many_classes(data: TrainingData) -> TrainingData:
    """With as many products as many a shop has, most of them without a photo."""
    return replace(data, classes={**data.classes, "product": tuple(map(str, range(CLASSES)))})


def wide(quota: int, *changes: tuple[str, str]) -> Recipe:
    return shapes_recipe(("quota = 8", f"quota = {quota}"), ("dim = 8", "dim = 64"), *changes)


def kept(data: TrainingData, recipe: Recipe) -> int:
    """Bytes of activations, as they are said to be."""
    return Trial(recipe, make_network(recipe, data, weights="none"), data, HERE).kept()


def really_kept(data: TrainingData, recipe: Recipe) -> int:
    """Bytes that autograd holds of a step with all photos of a batch, parameters apart."""
    trial = Trial(recipe, make_network(recipe, data, weights="none"), data, HERE)
    photos, known = (
        torch.randn(recipe.batch, 3, 32, 32),
        {each.untyped_storage().data_ptr() for each in trial.network.parameters()},
    )
    found: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        losses = trial._objective(photos, trial._batches(recipe.batch))
    assert losses.requires_grad
    return sum(size for place, size in found.items() if place not in known)


def test_what_a_step_keeps_is_foretold_from_fewer_photos(data: TrainingData) -> None:
    assert kept(data, wide(40)) == pytest.approx(really_kept(data, wide(40)), rel=0.03)


def test_a_task_keeps_what_the_photos_of_all_its_datasets_need(folder: Path) -> None:
    more = '[[dataset]]\nname = "more"\ntable = "photos.csv"\nimages = "images"\nquota = 30\n\n[[task]]'
    recipe = wide(
        10,
        ('[[task]]\nname = "product"\ndataset = "shapes"', f'{more}\nname = "product"\ndataset = ["shapes", "more"]'),
    )
    data = with_many_classes(read_training_data(recipe, folder))
    assert kept(data, recipe) == pytest.approx(really_kept(data, recipe), rel=0.03)


def test_with_many_classes_doubling_the_quota_adds_the_photos_part_only(data: TrainingData) -> None:
    few, twice, thrice = (kept(data, wide(quota)) for quota in (8, 16, 24))
    proxies = 4 * CLASSES * 64  # normalised anew in each step, however many photos there are
    assert few > proxies
    assert twice - few == pytest.approx(thrice - twice, rel=0.01)
    assert twice - few < few - proxies + 1e6


def test_a_process_needs_its_own_share(data: TrainingData) -> None:
    recipe = shapes_recipe()
    whole, half = (
        measure_cost(recipe, make_network(recipe, data, weights="none"), data, replace(HERE, ranks=ranks))
        for ranks in (Ranks(), Alone(0, 2, 2))
    )
    assert (whole.photos, half.photos) == (8, 4)
    assert half.memory["activations"] < whole.memory["activations"]
    assert half.memory["decoded photos"] == whole.memory["decoded photos"] // 2
    assert whole.photos_per_second > 0 and whole.read_per_second > 0


class Alone(Ranks):
    """One of several whose others are not there: sums are its own."""

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        return values.detach()


def test_a_line_goes_through_what_was_measured() -> None:
    line = Line.through(lambda photos: 100 + 3.0 * photos, 8)
    assert (line.fixed, line.each, line.at(50)) == (100, 3, 250)
