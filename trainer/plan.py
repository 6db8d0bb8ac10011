"""What a training would do, for `--dry-run`: its batches and heads, the memory it needs, and how fast it would go."""

from dataclasses import dataclass
from pathlib import Path

import torch

from trainer.checks import check_training
from trainer.cost import Cost, measure_cost
from trainer.machine import Machine
from trainer.pretrain import read_unlabelled
from trainer.recipe import Recipe
from trainer.sampler import BatchSampler
from trainer.tables import TrainingData, read_training_data
from trainer.training import make_network, read_validations


@dataclass(frozen=True)
class SetPlan:
    name: str
    photos: int
    quota: int  # photos of every batch
    products: int | None  # products of every batch, where a dataset is drawn by product
    of_epoch: int  # photos of an epoch: a small dataset comes round several times


@dataclass(frozen=True)
class HeadPlan:
    """A group of classes: a task, or one of the columns of a grouped one."""

    name: str
    loss: str
    on: str
    classes: int
    labelled: int  # photos with a label
    weight: float


@dataclass(frozen=True)
class ValidationPlan:
    dataset: str
    queries: int
    gallery: int
    trained_on: int  # queries that are trained or pretrained on too


@dataclass(frozen=True)
class Plan:
    """What a training would do."""

    parameters: int
    trunk_parameters: int
    feature_dim: int
    heads: tuple[HeadPlan, ...]
    sets: tuple[SetPlan, ...]
    validations: tuple[ValidationPlan, ...]
    steps_per_epoch: int
    epochs: int
    ranks: int
    cost: Cost


def plan(recipe: Recipe, data: Path, machine: Machine | None = None, *, weights: str | None = None) -> Plan:
    """Reads the tables, makes the network and tries some steps; no weights are loaded and nothing is written.

    `weights` stands in for the recipe's, as in training. Raises what a training would before its first step.
    """
    machine = machine or Machine.here()
    training_data = read_training_data(recipe, data)
    validations = read_validations(recipe, data)
    check_training(recipe, training_data.classes, ranks=machine.ranks, weights=weights)
    unlabelled = read_unlabelled(recipe, data) if recipe.pretrain else ()
    network = make_network(recipe, training_data, weights="none")
    trained = {uri for each in training_data.sets for uri in each.uris} | set(unlabelled)
    steps = BatchSampler(training_data.sets, recipe.seed, recipe.schedule.epoch_steps).steps_per_epoch
    return Plan(
        parameters=_count(network),
        trunk_parameters=_count(network.trunk),
        feature_dim=network.channels,
        heads=_plan_heads(recipe, training_data),
        sets=tuple(
            SetPlan(
                name=each.name,
                photos=len(each.uris),
                quota=each.quota,
                products=each.quota // each.per_product if each.products is not None else None,
                of_epoch=steps * each.quota,
            )
            for each in training_data.sets
        ),
        validations=tuple(
            ValidationPlan(
                dataset=recipe.validation[number].dataset,
                queries=len(each.queries),
                gallery=len(each.gallery),
                trained_on=len(trained & set(each.queries)),
            )
            for number, each in validations.items()
        ),
        steps_per_epoch=steps,
        epochs=recipe.schedule.epochs,
        ranks=machine.ranks.size,
        cost=measure_cost(recipe, network, training_data, machine),
    )


def _plan_heads(recipe: Recipe, data: TrainingData) -> tuple[HeadPlan, ...]:
    found = []
    for task in recipe.task:
        codes = [each.labels[task.name] for each in data.sets if task.name in each.labels]
        for column, (name, _) in enumerate(task.heads):
            of_head = [each[:, column : column + 1] if task.labels else each for each in codes]
            labelled = sum(int((each >= 0).any(axis=1).sum()) for each in of_head)
            found.append(HeadPlan(name, task.loss, task.on, len(data.classes[name]), labelled, task.weight))
    return tuple(found)


def _count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
