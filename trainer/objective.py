"""What a step minimises: the network and its tasks' losses on one batch, as one module that ranks can share."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trainer.augment import LoadedBatch, TrainingBatch
from trainer.losses.task_loss import Targets
from trainer.network import Network, Outputs
from trainer.proxy_bank import Classes, ProxyBank, renumbered
from trainer.ranks import Ranks
from trainer.recipe import Task
from trainer.sampler import BatchSampler, seed_of
from trainer.tables import Codes, TrainingData
from trainer.teacher import Distillation


@dataclass(frozen=True)
class TaskBatch:
    """What a task is told of a batch: the photos from the task's first dataset to its last, and their labels."""

    rows: slice
    targets: Targets


class Objective(nn.Module):
    """[tasks and the teacher's terms] this rank's part of each task's loss, and what a teacher adds."""

    def __init__(
        self,
        network: Network,
        tasks: Iterable[Task],
        dtype: torch.dtype,
        ranks: Ranks,
        lessons: Distillation | None = None,
    ) -> None:
        """`dtype`: of the trunk's activations; losses are in float32 always."""
        super().__init__()
        self.network = network
        self._tasks, self._dtype, self._ranks, self._lessons = tuple(tasks), dtype, ranks, lessons

    @property
    def uses_embedding(self) -> bool:
        """Whether a term of the loss is on the embedding; else its layer gets no gradient."""
        taught = self._lessons is not None and self._lessons.on_embedding
        return taught or any(task.on == "embedding" for task in self._tasks)

    def forward(self, photos: Tensor, batches: Mapping[str, TaskBatch], readable: Tensor | None = None) -> Tensor:
        """float32 [n, 3, size, size] photos, normalised, what each task knows of them, and [n] which could be read.

        Tasks know of themselves which photos they learn nothing from; a teacher would have an opinion of black too.
        """
        outputs = self.outputs(photos)
        losses = []
        for task in self._tasks:
            batch = batches[task.name]
            inputs = outputs.embedding if task.on == "embedding" else outputs.features
            losses.append(self.network.losses[task.name](inputs[batch.rows], batch.targets, self._ranks))
        if self._lessons:
            losses += self._lessons(photos, outputs, self.network, readable, self._ranks)
        return torch.stack(losses)

    def outputs(self, photos: Tensor) -> Outputs:
        """What the network makes of [n, 3, size, size] photos, its trunk in the number format of this training."""
        with torch.autocast(photos.device.type, self._dtype, enabled=self._dtype != torch.float32):
            outputs: Outputs = self.network(photos)
        return outputs


def shared(objective: Objective, ranks: Ranks) -> nn.Module:
    """The same module, whose backward leaves every rank with the mean of all ranks' gradients.

    Parameters that do not learn are left out, and what the first rank begins with is what all begin with.
    """
    if ranks.size == 1:
        return objective
    if not objective.uses_embedding:  # what gets no gradient must not be waited for
        objective.network.project.requires_grad_(False)
    return DistributedDataParallel(objective, gradient_as_bucket_view=True)


def task_batches(
    tasks: Iterable[Task], data: TrainingData, loaded: LoadedBatch, batch: TrainingBatch
) -> dict[str, TaskBatch]:
    """The labels of a loaded batch by task; a photo that could not be read has none."""
    sets = np.array([draw.set for draw in loaded.draws])
    drawn = np.array([draw.row for draw in loaded.draws])
    readable = could_be_read(loaded)
    found = {}
    for task in tasks:
        start, stop = np.searchsorted(sets, span_of(task, data)).tolist()  # draws come set by set
        codes = _codes_of(task, data, sets[start:stop], drawn[start:stop])
        codes[~readable[start:stop]] = -1
        labels = torch.from_numpy(codes).to(batch.photos.device)
        rows = slice(start, stop)
        found[task.name] = TaskBatch(rows, Targets(labels, labels[batch.partner[rows] - start], batch.share[rows]))
    return found


def _sets_of(task: Task, data: TrainingData) -> list[int]:
    """The numbers of the sets that the task learns from, rising."""
    return [number for number, each in enumerate(data.sets) if each.name in task.dataset]


def span_of(task: Task, data: TrainingData) -> tuple[int, int]:
    """The numbers of the first set whose photos the task is given and of the one after its last.

    Photos of a set in between, which the task does not learn from, come without a label of it.
    """
    numbers = _sets_of(task, data)
    return numbers[0], numbers[-1] + 1


def _codes_of(task: Task, data: TrainingData, sets: Codes, rows: Codes) -> Codes:
    """[n] sets and rows of draws -> [n, k] numbers of the task's classes, all -1 for photos of other sets."""
    labels = {number: data.sets[number].labels[task.name] for number in _sets_of(task, data)}
    codes = np.full((len(sets), max(each.shape[1] for each in labels.values())), -1, np.int64)
    for number, of_set in labels.items():
        here = np.flatnonzero(sets == number)
        codes[here, : of_set.shape[1]] = of_set[rows[here]]
    return codes


def could_be_read(loaded: LoadedBatch) -> NDArray[np.bool_]:
    """[n] which of its photos are not black for want of a file."""
    readable = np.ones(len(loaded.draws), np.bool_)
    readable[[place for place, _ in loaded.unreadable]] = False
    return readable


@dataclass(frozen=True)
class BankDraw:
    """The classes of a bank that a step works with, and their proxies as it leaves them: [drawn, dim], a leaf."""

    classes: Classes
    proxies: Tensor


class Banks:
    """The proxy banks of a training, by task: no part of the network, which is averaged, moved and exported."""

    def __init__(self, tasks: Iterable[Task], data: TrainingData, dim: int, seed: int) -> None:
        self._data, self._seed = data, seed
        self._tasks = [(number, task) for number, task in enumerate(tasks) if task.sampled_classes]
        self.banks = {
            task.name: ProxyBank.random(len(data.classes[task.name]), dim, seed_of(seed, 2, number))
            for number, task in self._tasks
        }

    def draw(self, sampler: BatchSampler, step: int, device: torch.device) -> dict[str, BankDraw]:
        """What `step` takes of each bank: the classes of all its photos, on whatever rank they are, and others.

        Every rank draws the same.
        """
        found = {}
        for number, task in self._tasks:
            labels = [
                self._data.sets[place].labels[task.name][sampler.rows(step, place)].ravel()
                for place in _sets_of(task, self._data)
            ]
            codes = np.concatenate(labels)
            bank = self.banks[task.name]
            classes = bank.draw(codes[codes >= 0], task.sampled_classes, seed_of(self._seed, 3, number, step))
            found[task.name] = BankDraw(classes, bank.rows(classes, device))
        return found

    def learn(self, drawn: Mapping[str, BankDraw], gradients: Mapping[str, Tensor], rate: float) -> None:
        """One step of gradient descent on what was drawn; the same on every rank, whose banks so stay the same."""
        for name, gradient in gradients.items():
            self.banks[name].learn(drawn[name].classes, gradient, rate)


def proxy_gradients(drawn: Mapping[str, BankDraw], ranks: Ranks) -> dict[str, Tensor]:
    """The gradients of the proxies drawn, the mean over the ranks, after the backward pass."""
    found = {}
    for name, draw in drawn.items():
        assert draw.proxies.grad is not None, name  # every task is in every batch
        found[name] = ranks.mean(draw.proxies.grad)
    return found


def with_proxies(batches: Mapping[str, TaskBatch], drawn: Mapping[str, BankDraw]) -> dict[str, TaskBatch]:
    """The same batches, those of tasks with a bank with its proxies and with labels that count them."""
    return {
        name: replace(batch, targets=_of_bank(batch.targets, drawn[name])) if name in drawn else batch
        for name, batch in batches.items()
    }


def _of_bank(targets: Targets, draw: BankDraw) -> Targets:
    def renumber(labels: Tensor) -> Tensor:
        return torch.from_numpy(renumbered(labels.cpu().numpy(), draw.classes)).to(labels.device)

    return Targets(renumber(targets.labels), renumber(targets.others), targets.share, draw.proxies)
