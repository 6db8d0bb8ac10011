"""The recipe after GrokNet: what it asks for, and that it runs for real on small tables of that shape."""

from pathlib import Path

import pytest
import torch

from tests.trainer.market import GROKNET, draw_market, small_groknet
from trainer import training
from trainer.loop import Trainer
from trainer.machine import Machine
from trainer.optimise import make_optimizer
from trainer.plan import Plan, plan
from trainer.recipe import Recipe, parse_recipe, read_recipe
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


def test_it_learns_by_momentum_that_is_not_nesterovs(recipe: Recipe) -> None:
    groups = make_optimizer(torch.nn.ModuleDict({"trunk": torch.nn.Linear(2, 2)}), recipe.schedule).param_groups
    assert {(group["momentum"], group["nesterov"]) for group in groups} == {(0.9, False)}


def trainer_of(recipe: Recipe, data: Path, out: Path) -> Trainer:
    training_data = read_training_data(recipe, data)
    network = training.make_network(recipe, training_data, weights="none").train()
    preprocess = training.serving_preprocess(network, recipe)
    return Trainer(recipe, network, training_data, validations={}, preprocess=preprocess, out=out, machine=HERE)


def test_every_group_of_classes_gets_gradients_in_an_epoch(recipe: Recipe, data: Path, tmp_path: Path) -> None:
    """Gradients, not changed weights: weight decay alone changes those."""
    trainer = trainer_of(recipe, data, tmp_path)
    norms: dict[tuple[str, int], float] = {}
    for loaded in trainer.batches():
        assert trainer.train_step(loaded).keys() == {task.name for task in recipe.task}
        trainer.step += 1
        for name, loss in trainer.network.losses.items():
            for weight in (each.weight for each in loss.children()):  # a linear layer, or ArcFace's proxies
                for group, rows in enumerate(weight.grad.split(list(getattr(loss, "sizes", weight.shape[:1])))):
                    norms[name, group] = norms.get((name, group), 0.0) + rows.norm().item()
    assert trainer.step == 2
    assert len(norms) == 80  # as many as there are losses by classes
    assert not [key for key, norm in norms.items() if norm == 0]


def test_pairs_alone_teach_the_embedding(recipe: Recipe, data: Path, tmp_path: Path) -> None:
    """With margins that every pair is within: those of a network that has learnt nothing may all be outside."""
    wide = {"positive_margins": (0.0, 4.0), "negative_margins": (0.0, 4.0)}
    tasks = (task.model_copy(update=wide if task.loss == "pairwise" else {"weight": 0.0}) for task in recipe.task)
    trainer = trainer_of(recipe.model_copy(update={"task": tuple(tasks)}), data, tmp_path)
    trainer.train_step(next(trainer.batches()))
    gradients = {name: each.grad for name, each in trainer.network.named_parameters() if each.grad is not None}
    assert gradients["project.weight"].norm() > 0
    assert not [name for name, each in gradients.items() if name.startswith("losses.") and each.any()]


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
