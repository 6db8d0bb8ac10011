"""What a training would do, for `--dry-run`: its batches and heads, the memory it needs, and how fast it would go.

Memory and speed are measured, not guessed: a few random photos go through one real step of the real network.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from trainer.augment import PhotoReader
from trainer.checks import check_training
from trainer.losses.task_loss import Targets
from trainer.machine import Machine
from trainer.network import Network
from trainer.objective import Objective, TaskBatch
from trainer.optimise import choose_precision, make_optimizer
from trainer.pretrain import read_unlabelled
from trainer.recipe import Recipe
from trainer.sampler import BatchSampler
from trainer.tables import TrainingData, read_training_data
from trainer.training import make_network, read_validations

TRIED = 8  # photos that go through the network, and that are read: enough for a rate, few enough to wait for

Result = TypeVar("Result")


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
class Cost:
    """What one process needs, and what it does in a second."""

    photos: int  # of a batch, of this process
    memory: dict[str, int]  # bytes by what for
    photos_per_second: float  # through the network: forward, backward, optimiser
    read_per_second: float  # photos that one worker reads, decodes and augments the first time


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
    """Reads the tables, makes the network and tries a step; no weights are loaded and nothing is written.

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


def measure_cost(recipe: Recipe, network: Network, data: TrainingData, machine: Machine) -> Cost:
    """What a process of this training needs, by a step with `TRIED` random photos. Trains the network a little."""
    torch.set_num_threads(machine.threads)
    network = network.to(machine.device).train()
    optimizer = make_optimizer(network, recipe.schedule)
    dtype = choose_precision(recipe.schedule.precision, machine.device)
    objective = Objective(network, recipe.task, dtype, machine.ranks)
    photos = torch.randn(TRIED, 3, recipe.trunk.image_size, recipe.trunk.image_size, device=machine.device)
    photos = photos.contiguous(memory_format=torch.channels_last)
    batches = _random_batches(recipe, data, machine.device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        objective(photos, batches).sum().backward()
        optimizer.step()
        if machine.device.type == "cuda":
            torch.cuda.synchronize()

    kept = _bytes_kept(lambda: objective(photos, batches), network)
    step()  # the first one makes the optimiser's state and warms caches
    _, seconds = _timed(step)
    of_process = -(-recipe.batch // machine.ranks.size)
    weights = sum(tensor.nbytes for tensor in network.state_dict().values())
    state = sum(each.nbytes for of in optimizer.state.values() for each in of.values() if isinstance(each, Tensor))
    memory = {
        "weights": weights,
        "gradients": sum(each.nbytes for each in network.parameters() if each.requires_grad),
        "optimiser": state,
        "average of the weights": weights if recipe.schedule.ema else 0,
        "activations": kept * of_process // TRIED,
        "decoded photos": _bytes_of_photos(recipe, data) // machine.ranks.size,
        "proxy banks": sum(
            4 * recipe.embedding.dim * len(data.classes[task.name]) for task in recipe.task if task.sampled_classes
        ),
    }
    return Cost(
        photos=of_process,
        memory={name: size for name, size in memory.items() if size},
        photos_per_second=TRIED / seconds,
        read_per_second=_reading_rate(recipe, data),
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


def _random_batches(recipe: Recipe, data: TrainingData, device: torch.device) -> dict[str, TaskBatch]:
    """For every task: all tried photos, with labels drawn evenly."""
    found = {}
    share = torch.ones(TRIED, device=device)
    for task in recipe.task:
        counts = [len(data.classes[name]) for name, _ in task.heads]
        proxies = None
        if task.sampled_classes:
            counts = [min(task.sampled_classes, *counts)]
            proxies = torch.randn(counts[0], recipe.embedding.dim, device=device, requires_grad=True)
        labels = torch.stack([torch.randint(count, (TRIED,), device=device) for count in counts], dim=1)
        found[task.name] = TaskBatch(slice(0, TRIED), Targets(labels, labels, share, proxies))
    return found


def _bytes_kept(forward: Callable[[], Tensor], network: Network) -> int:
    """Bytes that a forward pass keeps for the backward pass, parameters apart."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        losses = forward()  # its graph keeps every storage alive, so that no address is counted for two
    del losses
    return sum(storages.values())


def _bytes_of_photos(recipe: Recipe, data: TrainingData) -> int:
    """Bytes of the decoded photos that are kept, taken to be squares."""
    side = recipe.augment.keep * recipe.trunk.image_size
    return min(int(recipe.augment.keep_gb * 1e9), int(3 * side**2) * sum(len(each.uris) for each in data.sets))


def _reading_rate(recipe: Recipe, data: TrainingData) -> float:
    reader = PhotoReader([each.uris for each in data.sets], recipe.augment, recipe.trunk.image_size, 0)
    batch = BatchSampler(data.sets, recipe.seed).batch(0)
    draws = batch[:: max(1, len(batch) // TRIED)][:TRIED]
    reader.__getitems__(draws[:1])  # makes the transform
    _, seconds = _timed(lambda: reader.__getitems__(draws))
    return len(draws) / seconds


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    began = perf_counter()
    return work(), perf_counter() - began


def _count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
