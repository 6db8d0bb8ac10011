"""What a training needs of a process: memory and time, measured and not guessed.

A few random photos go through real steps of the real network, twice, once half as many: what grows with their number
is the photos' part, what does not, such as the proxies of many classes, is there once. A formula would have to know
every trunk.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from time import perf_counter
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from trainer.augment import PhotoReader
from trainer.losses.task_loss import Targets
from trainer.machine import Machine
from trainer.memory import explaining_lack_of_memory, of_a_step, of_network
from trainer.network import Network
from trainer.objective import Objective, TaskBatch, span_of
from trainer.optimise import choose_precision, make_optimizer
from trainer.recipe import Recipe, Task
from trainer.sampler import BatchSampler
from trainer.tables import TrainingData
from trainer.teacher import Distillation
from trainer.training import serving_preprocess

TRIED = 8  # photos that go through the network, and that are read: enough for a rate, few enough to wait for
TRIED_ON_GPU = 64  # at most: fewer do not keep it busy
TIMES = 2  # a step is timed; the faster one counts

Result = TypeVar("Result")


@dataclass(frozen=True)
class Cost:
    """What one process needs, and what it does in a second."""

    photos: int  # of a batch, of this process
    memory: dict[str, int]  # bytes by what for
    photos_per_second: float  # through the network, whole batches of them: forward, backward, optimiser
    read_per_second: float  # photos that one worker reads, decodes and augments the first time


@dataclass(frozen=True)
class Line:
    """Something that grows with the number of photos: `fixed + each * photos`."""

    fixed: float
    each: float

    @classmethod
    def through(cls, measure: Callable[[int], float], photos: int) -> "Line":
        """By what `measure` says of `photos` and of half as many."""
        few, many = measure(photos // 2), measure(photos)
        each = (many - few) / (photos - photos // 2)
        return cls(many - each * photos, each)

    def at(self, photos: int) -> float:
        return self.fixed + self.each * photos


class Trial:
    """The network of a training on the device, ready for steps with random photos."""

    def __init__(self, recipe: Recipe, network: Network, data: TrainingData, machine: Machine) -> None:
        self.recipe, self._data, self._machine = recipe, data, machine
        self.photos = -(-recipe.batch // machine.ranks.size)
        on_gpu = machine.device.type == "cuda"
        self.tried = max(TRIED, min(TRIED_ON_GPU, self.photos)) if on_gpu else TRIED
        with explaining_lack_of_memory(*of_network(recipe, data.classes)):
            network.trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
            self.network = network.to(machine.device).train()
            self.optimizer = make_optimizer(self.network, recipe.schedule)
            teaches = recipe.teacher is not None and (recipe.teacher.embedding or recipe.teacher.heads)
            preprocess = serving_preprocess(network, recipe)
            self.lessons = Distillation(recipe, data.classes, preprocess, machine.device) if teaches else None
        dtype = choose_precision(recipe.schedule.precision, machine.device)
        self._objective = Objective(self.network, recipe.task, dtype, machine.ranks, self.lessons)
        size = recipe.trunk.image_size
        photos = torch.randn(self.tried, 3, size, size, device=machine.device)
        self._photos = photos.contiguous(memory_format=torch.channels_last)

    def seconds(self, photos: int) -> float:
        """Of a whole step with so many photos, each task with its share of them."""
        batches = self._batches(photos)

        def step() -> None:
            self.optimizer.zero_grad(set_to_none=True)
            self._objective(self._photos[:photos], batches).sum().backward()
            self.optimizer.step()
            if self._machine.device.type == "cuda":
                torch.cuda.synchronize()

        step()  # the first one makes the optimiser's state and warms caches
        return min(_timed(step)[1] for _ in range(TIMES))

    def kept(self) -> int:
        """Bytes that the forward pass of a process's photos keeps for the backward pass."""
        found = Line.through(self._kept_by_network, self.tried).at(self.photos)
        for task in self.recipe.task:
            of_task = Line.through(partial(self._kept_by, task), self.tried)
            first, end = span_of(task, self._data)
            quota = sum(each.quota for each in self.recipe.dataset[first:end])
            found += of_task.at(-(-quota // self._machine.ranks.size))
        return round(found)

    def of_teacher(self) -> int:
        """Bytes of the teacher: its weights, the largest of its layers at work, and what its terms keep."""
        if self.lessons is None:
            return 0
        lessons = self.lessons
        with torch.no_grad():
            outputs = self._objective.outputs(self._photos)
        for each in (outputs.embedding, outputs.features):
            each.requires_grad_()
        given = [self._photos, outputs.embedding, outputs.features]
        largest = _largest_layer(lessons.teacher.network, lambda: lessons.teacher(self._photos))
        kept = _bytes_kept(lambda: lessons(self._photos, outputs, self.network), self.network, given)
        return lessons.teacher.nbytes + (largest + kept) * self.photos // self.tried

    def _kept_by_network(self, photos: int) -> int:
        return _bytes_kept(lambda: self._objective.outputs(self._photos[:photos]), self.network)

    def _kept_by(self, task: Task, photos: int) -> int:
        """Bytes that a task's loss keeps of so many photos, without the features or embeddings it is given."""
        dim = self.recipe.embedding.dim if task.on == "embedding" else self.network.channels
        inputs = nn.functional.normalize(torch.randn(photos, dim, device=self._machine.device), dim=1).requires_grad_()
        targets, loss = self._targets(task, photos), self.network.losses[task.name]
        return _bytes_kept(lambda: loss(inputs, targets, self._machine.ranks), self.network, [inputs])

    def _batches(self, photos: int) -> dict[str, TaskBatch]:
        """Every task's share of so many photos, with labels drawn evenly."""
        ends = [0, *accumulate(dataset.quota for dataset in self.recipe.dataset)]
        places = [round(end * photos / self.recipe.batch) for end in ends]
        found = {}
        for task in self.recipe.task:
            rows = slice(*(places[number] for number in span_of(task, self._data)))
            found[task.name] = TaskBatch(rows, self._targets(task, rows.stop - rows.start))
        return found

    def _targets(self, task: Task, photos: int) -> Targets:
        device = self._machine.device
        counts = [len(self._data.classes[name]) for name, _ in task.heads]
        proxies = None
        if task.sampled_classes:
            counts = [min(task.sampled_classes, *counts)]
            proxies = torch.randn(counts[0], self.recipe.embedding.dim, device=device, requires_grad=True)
        labels = torch.stack([torch.randint(count, (photos,), device=device) for count in counts], dim=1)
        return Targets(labels, labels, torch.ones(photos, device=device), proxies)


def measure_cost(recipe: Recipe, network: Network, data: TrainingData, machine: Machine) -> Cost:
    """What a process of this training needs, by steps with a few random photos. Trains the network a little."""
    torch.set_num_threads(machine.threads)
    trial = Trial(recipe, network, data, machine)
    with explaining_lack_of_memory(*of_a_step(recipe, machine.ranks, data.classes)):
        kept, of_teacher = trial.kept(), trial.of_teacher()
        time = Line.through(trial.seconds, trial.tried)
    # noise may swallow the photos' part of so small steps: a photo then counts a tenth of its share of one
    seconds = max(time.at(trial.photos), time.at(trial.tried) / trial.tried / 10 * trial.photos)
    network, state = trial.network, trial.optimizer.state.values()
    weights = sum(tensor.nbytes for tensor in network.state_dict().values())
    banked = [(task, len(data.classes[task.name])) for task in recipe.task if task.sampled_classes]
    drawn = sum(4 * recipe.embedding.dim * min(task.sampled_classes, count) for task, count in banked)
    memory = {
        "weights": weights,
        "gradients": sum(each.nbytes for each in network.parameters() if each.requires_grad) + drawn,
        "optimiser": sum(each.nbytes for of in state for each in of.values() if isinstance(each, Tensor)),
        "average of the weights": weights if recipe.schedule.ema else 0,
        "activations": kept,
        "teacher": of_teacher,
        "decoded photos": _bytes_of_photos(recipe, data) // machine.ranks.local_size,
        "proxy banks": sum(4 * recipe.embedding.dim * count for _, count in banked),
    }
    return Cost(
        photos=trial.photos,
        memory={name: size for name, size in memory.items() if size},
        photos_per_second=trial.photos / seconds,
        read_per_second=_reading_rate(recipe, data),
    )


def _bytes_kept(forward: Callable[[], Any], network: Network, given: Iterable[Tensor] = ()) -> int:
    """Bytes that a forward pass keeps for the backward pass, parameters and what it was `given` apart."""
    known = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *given)}
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        results = forward()  # its graph keeps every storage alive, so that no address is counted for two
    del results
    return sum(storages.values())


def _largest_layer(network: nn.Module, forward: Callable[[], object]) -> int:
    """The most bytes that a layer's input and output have together, without gradients: all others are gone by then."""
    largest = 0

    def look(_: nn.Module, given: tuple[object, ...], made: object) -> None:
        nonlocal largest
        tensors = [each for each in (*given, made) if isinstance(each, Tensor)]
        largest = max(largest, sum(each.nbytes for each in tensors))

    handles = [module.register_forward_hook(look) for module in network.modules()]
    forward()
    for handle in handles:
        handle.remove()
    return largest


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
