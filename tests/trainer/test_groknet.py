"""The recipe after GrokNet: what it asks for, and that it runs for real on small tables of that shape."""

from pathlib import Path

import pytest
import torch

from tests.trainer.market import GROKNET, draw_market, small_groknet
from trainer import training
from trainer.loop import Trainer
from trainer.losses.task_loss import TaskLoss
from trainer.machine import Machine
from trainer.plan import Plan, plan
from trainer.recipe import Recipe, parse_recipe, read_recipe
from trainer.report import read_metrics
from trainer.tables import read_training_data

HERE = Machine(torch.device("cpu"), workers=0, threads=1)


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return parse_recipe(small_groknet(), "groknet.toml")


@pytest.fixture(scope="module")
def data(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_market(tmp_path_factory.mktemp("market"), recipe)


@pytest.fixture(scope="module")
def planned(recipe: Recipe, data: Path) -> Plan:
    return plan(recipe, data, HERE)


def test_it_has_seven_datasets_and_83_losses_and_the_papers_values() -> None:
    recipe = read_recipe(GROKNET)
    by_pairs = [task for task in recipe.task if task.loss == "pairwise"]
    by_classes = [head for task in recipe.task if task.loss != "pairwise" for head in task.heads]
    assert (len(recipe.dataset), len(by_classes), len(by_pairs)) == (7, 80, 3)
    for task in by_pairs:
        assert (task.positive_margins, task.negative_margins) == ((0.1, 0.7), (0.0, 0.7))
        assert (task.power, task.negative_weight) == (1.5, 10_000)
    assert recipe.trunk.name.startswith("resnext101_32x4d")
    assert (recipe.embedding.dim, recipe.embedding.pooling) == (400, "gem")
    assert recipe.batch == 8 * 46  # photos of 8 GPUs
    assert recipe.schedule.learning_rate == pytest.approx(0.0144 * recipe.batch / 4416)
    assert recipe.schedule.weight_decay == 1e-4
    assert recipe.schedule.clip == 5  # ours, as its head says


def test_it_runs_for_some_steps_and_every_head_learns(recipe: Recipe, data: Path, tmp_path: Path) -> None:
    training_data = read_training_data(recipe, data)
    network = training.make_network(recipe, training_data, weights="none")
    losses = {name: loss for name, loss in network.losses.items() if isinstance(loss, TaskLoss)}
    before = {name: [weight.detach().clone() for weight, _ in loss.heads()] for name, loss in losses.items()}
    trainer = Trainer(
        recipe,
        network,
        training_data,
        validations={},
        preprocess=training.serving_preprocess(network, recipe),
        out=tmp_path,
        machine=HERE,
    )
    trainer.run()
    assert trainer.step == 2
    (line,) = read_metrics(tmp_path)
    assert line["losses"].keys() == {task.name for task in recipe.task}
    for name, loss in losses.items():
        for old, (new, _) in zip(before[name], loss.heads(), strict=True):
            assert (new != old).any(), name


def test_its_plan_counts_what_it_would_train(planned: Plan) -> None:
    assert planned.trunk_parameters == pytest.approx(42.1e6, rel=0.01)
    assert planned.parameters > planned.trunk_parameters
    assert [each.loss for each in planned.heads].count("pairwise") == 3 and len(planned.heads) == 83
    assert [(each.quota, each.products) for each in planned.sets] == [(4, None)] * 3 + [(4, 2)] * 3 + [(4, None)]
    assert (planned.steps_per_epoch, planned.epochs) == (2, 1)
    assert [(each.queries, each.gallery) for each in planned.validations] == [(2, 2)] * 3


def test_its_plan_measures_what_it_would_need(planned: Plan) -> None:
    memory = planned.cost.memory
    assert memory["weights"] == pytest.approx(4 * planned.parameters, rel=0.01)  # and some statistics
    assert memory["gradients"] == 4 * planned.parameters
    assert memory["optimiser"] == 4 * planned.parameters  # momentum is one number a parameter
    assert memory["activations"] > 28 * 3 * 32 * 32 * 4  # more than the photos
    assert planned.cost.photos == 28
    assert planned.cost.photos_per_second > 0 and planned.cost.read_per_second > 0
