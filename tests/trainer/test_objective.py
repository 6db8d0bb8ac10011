"""What a task is told of a batch, against the plainest reading: of which photos it learns what."""

import numpy as np
import pytest
import torch

from tests.trainer.shapes import shapes_recipe
from trainer.augment import LoadedBatch, TrainingBatch
from trainer.objective import Banks, task_batches
from trainer.recipe import Recipe
from trainer.sampler import BatchSampler, Draw
from trainer.tables import Codes, TrainingData, TrainingSet

SETS = """
[[dataset]]
name = "words"
table = "words.csv"
quota = 2

[[dataset]]
name = "matched"
table = "matched.csv"
quota = 3

[[task]]"""


@pytest.fixture
def recipe() -> Recipe:
    """Three datasets; the products are learnt from the first and the last of them."""
    return shapes_recipe(
        (
            '[[task]]\nname = "product"\ndataset = "shapes"',
            f'{SETS}\nname = "product"\nsampled_classes = 6\ndataset = ["shapes", "matched"]',
        ),
        ('name = "tags"\ndataset = "shapes"', 'name = "tags"\ndataset = "words"'),
    )


def codes(*rows: tuple[int, ...]) -> Codes:
    return np.array(rows, np.int64)


@pytest.fixture
def data() -> TrainingData:
    labels = (
        {"product": codes((0,), (1,), (2,), (3,)), "shape": codes((0,), (1,), (0,), (1,))},
        {"tags": codes((0, 1), (1, -1), (2, -1))},
        {"product": codes((4,), (0,), (-1,))},
    )
    sets = (("shapes", 8), ("words", 2), ("matched", 3))
    return TrainingData(
        tuple(
            TrainingSet(name, quota, ("photo",) * rows, each, np.full(rows, 1 / rows))
            for (name, quota), each in zip(sets, labels, strict=True)
            for rows in (len(next(iter(each.values()))),)
        ),
        {"product": tuple("abcdefgh"), "shape": ("x", "y"), "tags": ("t", "u", "v")},
    )


def test_each_task_learns_from_all_its_datasets_and_no_other(recipe: Recipe, data: TrainingData) -> None:
    draws = (Draw(0, 3, 0), Draw(0, 1, 0), Draw(1, 0, 0), Draw(1, 1, 0), Draw(2, 0, 0), Draw(2, 1, 0), Draw(2, 2, 0))
    loaded = LoadedBatch(draws, np.zeros((7, 3, 2, 2), np.uint8), ((1, "it cannot be read"),))
    partner = torch.tensor([1, 0, 3, 2, 5, 6, 4])  # mixed within each dataset
    share = torch.linspace(0.4, 1, 7)
    found = task_batches(recipe.task, data, loaded, TrainingBatch(torch.zeros(7, 3, 2, 2), partner, share))
    assert found.keys() == {"product", "shape", "tags"}
    own = {"product": {0: [3], 4: [4], 5: [0]}, "shape": {0: [1]}, "tags": {2: [0, 1], 3: [1]}}
    for name, labels in own.items():
        batch = found[name]
        places = list(range(7))[batch.rows]
        told = {
            place: [code for code in row if code >= 0]
            for place, row in zip(places, batch.targets.labels.tolist(), strict=True)
        }
        assert {place: row for place, row in told.items() if row} == labels
        for place, others in zip(places, batch.targets.others.tolist(), strict=True):
            assert [code for code in others if code >= 0] == told[int(partner[place])]
        assert torch.equal(batch.targets.share, share[batch.rows])


def test_a_bank_gives_the_classes_of_all_the_tasks_datasets(recipe: Recipe, data: TrainingData) -> None:
    banks = Banks(recipe.task, data, 4, seed=0)
    drawn = banks.draw(BatchSampler(data.sets, 0), 0, torch.device("cpu"))["product"]
    assert {0, 1, 2, 3, 4} <= set(drawn.classes.tolist())  # eight draws of four photos, three of three
