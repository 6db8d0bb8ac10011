"""The training itself: from a recipe and its data to trained weights, over and over again one batch at a time."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import nn

from engine.errors import TrainingFailed
from engine.telemetry import SILENT, Progress
from engine.vision.preprocess import Preprocess
from trainer.augment import (
    Finisher,
    LoadedBatch,
    PhotoReader,
    check_readable,
    load_batches,
    seeded,
    step_seed,
)
from trainer.checkpoint import Checkpoint, Checkpoints, digests, require_same, require_same_tables, require_shared
from trainer.machine import Machine
from trainer.memory import explaining_lack_of_memory, of_a_step, of_banks, of_network
from trainer.network import Network
from trainer.objective import Banks, Objective, could_be_read, proxy_gradients, shared, task_batches, with_proxies
from trainer.optimise import Rates, choose_precision, clip_gradients, make_optimizer
from trainer.recipe import Recipe
from trainer.record import Record, Sums, summary
from trainer.sampler import BatchSampler
from trainer.tables import TrainingData, ValidationData
from trainer.teacher import Distillation
from trainer.tensorboard import Board
from trainer.torchvision_shim import timm


class Trainer:
    """A training that can be stopped at any step and gone on with."""

    def __init__(
        self,
        recipe: Recipe,
        network: Network,
        data: TrainingData,
        *,
        validations: Mapping[int, ValidationData],
        preprocess: Preprocess,
        out: Path,
        machine: Machine,
        progress: Progress = SILENT,
    ) -> None:
        """`validations` by their number in the recipe; `preprocess` is that of serving; `out` takes the checkpoints."""
        torch.set_num_threads(machine.threads)
        self.recipe, self.data, self.out = recipe, data, out
        self._progress, self._machine, self._ranks = progress, machine, machine.ranks
        assert recipe.batch >= self._ranks.size  # `trainer.checks` refuses such a recipe
        schedule = recipe.schedule
        with explaining_lack_of_memory(*of_banks(recipe, data.classes)):
            self._banks = Banks(recipe.task, data, recipe.embedding.dim, recipe.seed)
        dtype = choose_precision(schedule.precision, machine.device)
        teaches = recipe.teacher is not None and (recipe.teacher.embedding or recipe.teacher.heads)
        with explaining_lack_of_memory(*of_network(recipe, data.classes)):
            network.trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
            self.network = network.to(machine.device)
            self._optimizer = make_optimizer(self.network, schedule)
            self._average = _make_average(self.network, schedule.ema) if schedule.ema else None
            lessons = Distillation(recipe, data.classes, preprocess, machine.device) if teaches else None
            self._objective = shared(Objective(self.network, recipe.task, dtype, self._ranks, lessons), self._ranks)
        self._sampler = BatchSampler(data.sets, recipe.seed, schedule.epoch_steps)
        self._rates = Rates(self._optimizer, schedule, self._sampler.steps_per_epoch)
        self._weights = {task.name: task.weight for task in recipe.task}
        self._weights |= dict.fromkeys(lessons.names if lessons else (), 1.0)  # the teacher's terms have theirs inside
        own = [draw.set for draw in self._sampler.batch(0, self._ranks.own)]
        quotas = np.bincount(own, minlength=len(data.sets)).tolist()
        self._finish = Finisher(recipe.augment, preprocess.mean, preprocess.std, quotas, machine.device)
        self.board: Board | None = None  # is told of every epoch
        self.step = 0
        self._record = Record(recipe, data, validations, preprocess, out)
        self._sums = Sums()
        self._checkpoints, self._digests = Checkpoints(out), digests(data.sets)
        self._saved_at = perf_counter()
        self._unreadable: set[tuple[int, int]] = set()

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes and exports."""
        return self._ranks.leads

    @property
    def best_network(self) -> Network:
        """What is measured and exported: the moving average of the weights where there is one."""
        network: Network = self._average.module if self._average else self.network
        return network

    @property
    def total_steps(self) -> int:
        return self.recipe.schedule.epochs * self._sampler.steps_per_epoch

    def restore(self) -> bool:
        """Goes on where the checkpoint in `out` stopped; False where there is none.

        Raises WrongModel where it is of another recipe or other tables, BadCall where ranks find different ones.
        """
        with explaining_lack_of_memory(*of_network(self.recipe, self.data.classes)):
            checkpoint = self._checkpoints.load()
            require_shared(checkpoint.step if checkpoint else None, self.out, self._ranks)
            if checkpoint is None:
                return False
            require_same(checkpoint, self.recipe, self.data.classes, self.out)
            require_same_tables(checkpoint, self._digests, self.out)
            self.network.load_state_dict(checkpoint.network)
            if self._average:
                self._average.module.load_state_dict(checkpoint.average)
            self._optimizer.load_state_dict(dict(checkpoint.optimizer))
        for name, weight in checkpoint.banks.items():
            self._banks.banks[name].weight.copy_(weight)
        self.step, self._sums = checkpoint.step, Sums(**checkpoint.epoch_so_far)
        self._record.restore(self.step)
        return True

    def run(self) -> None:
        """Trains to the end of the recipe.

        TrainingFailed when a loss is no number; what stays is the last checkpoint that a step could follow.
        """
        if self.step >= self.total_steps:
            return
        batches = self.batches()
        while self.step < self.total_steps:
            self._run_epoch(batches)
        if self._ranks.leads:
            self._checkpoints.prove()  # as far as can be: its weights are numbers, and no step follows

    def batches(self) -> Iterator[LoadedBatch]:
        """This rank's parts of the batches from the next step on, as workers load them."""
        reader = PhotoReader(
            [each.uris for each in self.data.sets],
            self.recipe.augment,
            self.recipe.trunk.image_size,
            int(self.recipe.augment.keep_gb * 1e9) // max(1, self._machine.workers) // self._ranks.local_size,
        )
        batches = self._sampler.batches(self.step, self.total_steps, self._ranks.own)
        return load_batches(reader, batches, self._machine.workers)

    def _run_epoch(self, batches: Iterator[LoadedBatch]) -> None:
        """Trains to the end of the epoch that `step` is in, measures, and keeps the result."""
        length = self._sampler.steps_per_epoch
        epoch = self.step // length + 1
        self._progress.start(f"epoch {epoch} of {self.recipe.schedule.epochs}", total=epoch * length - self.step)
        self.network.train()
        with explaining_lack_of_memory(*of_a_step(self.recipe, self._ranks, self.data.classes)):
            while self.step < epoch * length:
                began = perf_counter()
                loaded = next(batches)
                waited = perf_counter() - began
                losses = self.train_step(loaded)
                self._sums.add(losses, perf_counter() - began, waited)
                self.step += 1
                self._progress.advance()
                late = perf_counter() - self._saved_at > self.recipe.schedule.checkpoint_minutes * 60
                if late and self.step < epoch * length:  # an epoch's end is kept below, with its figures
                    self._save()
        self._progress.finish()
        self._keep(epoch)
        self._ranks.wait()  # none goes on before the checkpoint is there that it would resume with

    def _keep(self, epoch: int) -> None:
        """Measures and writes down what an epoch has come to, and begins the next one's sums."""
        sums, self._sums = self._sums, Sums()
        if not self._ranks.leads:
            return
        self._require_sound_weights()
        line = self._record.add(
            self.best_network, sums, epoch=epoch, step=self.step, weights=self._weights, rates=self._learning_rates()
        )
        if self.board:
            self.board.add(line)
        self._save()
        self._progress.note(summary(line))

    def train_step(self, loaded: LoadedBatch) -> dict[str, float]:
        """One step of learning; the losses of the whole batch by task."""
        seed = step_seed(self.recipe.seed, self.step)
        batch = self._finish(loaded, seed)
        batches = task_batches(self.recipe.task, self.data, loaded, batch)
        readable = torch.from_numpy(could_be_read(loaded)).to(batch.photos.device) if loaded.unreadable else None
        drawn = self._banks.draw(self._sampler, self.step, self._machine.device)
        self._rates.set(self.step)
        own_seed = seed + self._ranks.rank
        if self._machine.device.type == "cuda":
            torch.cuda.manual_seed(own_seed)
        with seeded(own_seed % 2**32):  # for dropped paths
            photos = batch.photos.contiguous(memory_format=torch.channels_last)
            losses = self._objective(photos, with_proxies(batches, drawn), readable)
        # all ranks see the same figures, so that all of them stop when one has to
        told = torch.cat([losses.detach(), losses.new_tensor([len(loaded.unreadable)])])
        *means, unreadable = self._ranks.mean(told).tolist()
        values = dict(zip(self._weights, means, strict=True))
        if unreadable:
            self._note_unreadable(loaded)
        self._require_finite({f"The loss of {name}": value for name, value in values.items()})
        self._optimizer.zero_grad(set_to_none=True)
        (losses.new_tensor([*self._weights.values()]) * losses).sum().backward()
        norm = clip_gradients(self.network, self.recipe.schedule.clip)
        of_proxies = proxy_gradients(drawn, self._ranks)
        norms = {f"The norm of {name}'s gradient": float(each.norm()) for name, each in of_proxies.items()}
        self._require_finite({"The gradient's norm": norm, **norms})
        if self._ranks.leads:
            self._checkpoints.prove()
        self._optimizer.step()
        self._banks.learn(drawn, of_proxies, self._proxy_rate())
        if self._average:
            self._average.update(self.network, self.step + 1)
        return values

    def _proxy_rate(self) -> float:
        """The banks' learning rate, which warms up and falls as that of the other new layers does."""
        schedule = self.recipe.schedule
        return schedule.proxy_learning_rate * self._learning_rates()["new layers"] / schedule.head_learning_rate

    def _learning_rates(self) -> dict[str, float]:
        rates = [group["lr"] / group.get("lr_scale", 1.0) for group in self._optimizer.param_groups]
        return {"trunk": rates[0], "new layers": rates[-1]}

    def _save(self) -> None:
        if not self._ranks.leads:
            return
        self._require_sound_weights()
        self._record.make_room()
        self._checkpoints.save(
            Checkpoint(
                step=self.step,
                recipe=self.recipe.source,
                classes=dict(self.data.classes),
                network=self.network.state_dict(),
                average=self._average.module.state_dict() if self._average else None,
                optimizer=self._optimizer.state_dict(),
                tables=self._digests,
                banks={name: bank.weight for name, bank in self._banks.banks.items()},
                epoch_so_far=vars(self._sums),
            )
        )
        self._saved_at = perf_counter()

    def _note_unreadable(self, loaded: LoadedBatch) -> None:
        """Tells of each photo, on whatever rank, that cannot be read once; it is black and has no labels."""
        own = [((loaded.draws[place].set, loaded.draws[place].row), text) for place, text in loaded.unreadable]
        everybodys = [each for part in self._ranks.everybodys(own) for each in part]
        check_readable([sentence for _, sentence in everybodys], self.recipe.batch)
        for photo, sentence in everybodys:
            if photo not in self._unreadable:
                self._unreadable.add(photo)
                self._progress.note(f"Left out: {sentence}")

    def _require_sound_weights(self) -> None:
        norm = nn.utils.get_total_norm([each.detach() for each in self.network.parameters()])
        self._require_finite({"The norm of the weights": float(norm)})

    def _require_finite(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            if not math.isfinite(value):
                left = self._checkpoints.fall_back() if self._ranks.leads else False
                kept = f"{self.out} holds the last good checkpoint" if left else "there is no checkpoint yet"
                raise TrainingFailed(
                    f"{name} became {value} in step {self.step + 1} of {self.total_steps}; lower learning_rate and "
                    f'head_learning_rate, or set precision = "float32" ({kept}).'
                )


def _make_average(network: Network, decay: float) -> Any:
    """A moving average of the weights that spans about the last third of the steps so far, until `decay` is its limit.

    Step t weighs in with 3 / (t + 3): polynomial-decay averaging (Shamir and Zhang, arXiv:1212.1824, eta = 2).
    """
    return timm.utils.ModelEmaV3(network, decay, use_warmup=True, warmup_gamma=3.0, warmup_power=1.0)
