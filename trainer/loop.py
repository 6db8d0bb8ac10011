"""The training itself: from a recipe and its data to trained weights, over and over again one batch at a time."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from engine.errors import TrainingFailed
from engine.telemetry import SILENT, Progress
from engine.vision.preprocess import Preprocess
from trainer.answers import FILE as ANSWERS_FILE
from trainer.answers import Answers, write_answers
from trainer.augment import (
    Finisher,
    LoadedBatch,
    PhotoReader,
    check_readable,
    load_batches,
    seeded,
    step_seed,
)
from trainer.batch_norm import draw_photos, reestimate
from trainer.checkpoint import BEST_FILE, Checkpoint, load_checkpoint, require_same, save_best, save_checkpoint
from trainer.checkpoint import FILE as CHECKPOINT_FILE
from trainer.machine import Machine
from trainer.memory import explaining_lack_of_memory
from trainer.network import GeM, Network
from trainer.objective import Banks, Objective, proxy_gradients, shared, task_batches, with_proxies
from trainer.optimise import Rates, choose_precision, clip_gradients, make_optimizer
from trainer.recipe import Recipe
from trainer.report import METRICS_FILE, best_epoch, draw_curves, read_metrics, write_metrics
from trainer.sampler import BatchSampler
from trainer.tables import TrainingData, ValidationData
from trainer.teacher import Distillation
from trainer.tensorboard import Board
from trainer.torchvision_shim import timm
from trainer.validate import Nearest, find_nearest, precisions

DRAW_EVERY_S = 60.0  # a picture of the curves takes matplotlib a second: as long as an epoch of a small training


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
        self._validations, self._preprocess, self._progress, self._machine = validations, preprocess, progress, machine
        self._ranks = machine.ranks
        assert recipe.batch >= self._ranks.size  # `trainer.checks` refuses such a recipe
        network.trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
        self.network = network.to(machine.device)
        schedule = recipe.schedule
        self._optimizer = make_optimizer(self.network, schedule)
        self._sampler = BatchSampler(data.sets, recipe.seed, schedule.epoch_steps)
        self._rates = Rates(self._optimizer, schedule, self._sampler.steps_per_epoch)
        self._average = _make_average(self.network, schedule.ema) if schedule.ema else None
        self._banks = Banks(recipe.task, data, recipe.embedding.dim, recipe.seed)
        dtype = choose_precision(schedule.precision, machine.device)
        teaches = recipe.teacher is not None and (recipe.teacher.embedding or recipe.teacher.heads)
        lessons = Distillation(recipe, data.classes, preprocess, machine.device) if teaches else None
        self._objective = shared(Objective(self.network, recipe.task, dtype, self._ranks, lessons), self._ranks)
        self._weights = {task.name: task.weight for task in recipe.task}
        self._weights |= dict.fromkeys(lessons.names if lessons else (), 1.0)  # the teacher's terms have theirs inside
        own = [draw.set for draw in self._ranks.part(self._sampler.batch(0))]
        quotas = np.bincount(own, minlength=len(data.sets)).tolist()
        self._finish = Finisher(recipe.augment, preprocess.mean, preprocess.std, quotas, machine.device)
        self.board: Board | None = None  # is told of every epoch
        self.step = 0
        self._lines: list[dict[str, Any]] = []
        self._saved_at = self._drawn_at = perf_counter()
        self._unreadable: set[tuple[int, int]] = set()
        self._owns_out = False  # whether what `out` has is of this training

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

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What `metrics.jsonl` holds: a line for each finished epoch."""
        return self._lines

    def restore(self) -> bool:
        """Goes on where the checkpoint in `out` stopped; False where there is none."""
        checkpoint = load_checkpoint(self.out)
        if checkpoint is None:
            return False
        require_same(checkpoint, self.recipe, self.data.classes, self.out)
        self.network.load_state_dict(checkpoint.network)
        if self._average:
            self._average.module.load_state_dict(checkpoint.average)
        self._optimizer.load_state_dict(dict(checkpoint.optimizer))
        for name, weight in checkpoint.banks.items():
            self._banks.banks[name].weight.copy_(weight)
        self.step = checkpoint.step
        self._lines = [line for line in read_metrics(self.out) if line["step"] <= self.step]
        self._owns_out = True
        return True

    def run(self) -> None:
        """Trains to the end of the recipe. TrainingFailed when the loss is no number; the last checkpoint stays."""
        if self.step >= self.total_steps:
            return
        batches = self.batches()
        with explaining_lack_of_memory(self.recipe, self._ranks):
            while self.step < self.total_steps:
                self._run_epoch(batches)

    def batches(self) -> Iterator[LoadedBatch]:
        """This rank's parts of the batches from the next step on, as workers load them."""
        reader = PhotoReader(
            [each.uris for each in self.data.sets],
            self.recipe.augment,
            self.recipe.trunk.image_size,
            int(self.recipe.augment.keep_gb * 1e9) // max(1, self._machine.workers) // self._ranks.size,
        )
        batches = (self._ranks.part(batch) for batch in self._sampler.batches(self.step, self.total_steps))
        return load_batches(reader, batches, self._machine.workers)

    def _run_epoch(self, batches: Iterator[LoadedBatch]) -> None:
        """Trains to the end of the epoch that `step` is in, measures, and keeps the result."""
        length = self._sampler.steps_per_epoch
        epoch = self.step // length + 1
        first, began, waited = self.step, perf_counter(), 0.0
        sums: dict[str, float] = {}
        self._progress.start(f"epoch {epoch} of {self.recipe.schedule.epochs}", total=epoch * length - first)
        self.network.train()
        while self.step < epoch * length:
            asked = perf_counter()
            loaded = next(batches)
            waited += perf_counter() - asked
            for task, loss in self.train_step(loaded).items():
                sums[task] = sums.get(task, 0.0) + loss
            self.step += 1
            self._progress.advance()
            late = perf_counter() - self._saved_at > self.recipe.schedule.checkpoint_minutes * 60
            if late and self.step < epoch * length:  # an epoch's end is kept below, with its figures
                self._save()
        seconds = perf_counter() - began
        self._progress.finish()
        losses = {task: total / (self.step - first) for task, total in sums.items()}
        nearest = self._measure(epoch) if self._ranks.leads else {}
        self._lines.append(
            {
                "epoch": epoch,
                "step": self.step,
                "loss": sum(weight * losses[name] for name, weight in self._weights.items()),
                "losses": losses,
                "learning_rate": self._learning_rates(),
                "seconds": round(seconds, 2),
                "photos_per_second": round((self.step - first) * self.recipe.batch / seconds, 1),
                "waiting": round(waited / seconds, 3),
                "gem_p": self.best_network.pool.p.item() if isinstance(self.best_network.pool, GeM) else None,
                "validation": self._figures(nearest),
            }
        )
        self._record(epoch, nearest)
        self._save()
        self._ranks.wait()  # none goes on before the checkpoint is there that it would resume with
        self._progress.note(summary(self._lines[-1]))

    def _record(self, epoch: int, nearest: Mapping[int, Nearest]) -> None:
        if not self._ranks.leads:
            return
        self._make_room()
        write_metrics(self.out, self._lines)
        if self.board:
            self.board.add(self._lines[-1])
        self._keep_answers(epoch, nearest)
        if self.step >= self.total_steps or perf_counter() - self._drawn_at > DRAW_EVERY_S:
            draw_curves(self.out, self._lines, self.recipe.name)
            self._drawn_at = perf_counter()

    def train_step(self, loaded: LoadedBatch) -> dict[str, float]:
        """One step of learning; the losses of the whole batch by task."""
        self._note_unreadable(loaded)
        seed = step_seed(self.recipe.seed, self.step)
        batch = self._finish(loaded, seed)
        batches = task_batches(self.recipe.task, self.data, loaded, batch)
        drawn = self._banks.draw(self._sampler, self.step, self._machine.device)
        self._rates.set(self.step)
        own_seed = seed + self._ranks.rank
        if self._machine.device.type == "cuda":
            torch.cuda.manual_seed(own_seed)
        with seeded(own_seed % 2**32):  # for dropped paths
            photos = batch.photos.contiguous(memory_format=torch.channels_last)
            losses = self._objective(photos, with_proxies(batches, drawn))
        # all ranks see the same figures, so that all of them stop when one has to
        values = dict(zip(self._weights, self._ranks.mean(losses).tolist(), strict=True))
        self._require_finite({f"The loss of {name}": value for name, value in values.items()})
        self._optimizer.zero_grad(set_to_none=True)
        (losses.new_tensor([*self._weights.values()]) * losses).sum().backward()
        norm = clip_gradients(self.network, self.recipe.schedule.clip)
        of_proxies = proxy_gradients(drawn, self._ranks)
        norms = {f"The norm of {name}'s gradient": float(each.norm()) for name, each in of_proxies.items()}
        self._require_finite({"The gradient's norm": norm, **norms})
        self._optimizer.step()
        self._banks.learn(drawn, of_proxies, self._proxy_rate())
        if self._average:
            self._average.update(self.network, self.step + 1)
        return values

    def _proxy_rate(self) -> float:
        """The banks' learning rate, which warms up and falls as that of the other new layers does."""
        schedule = self.recipe.schedule
        return schedule.proxy_learning_rate * self._learning_rates()["new layers"] / schedule.head_learning_rate

    def _measure(self, epoch: int) -> dict[int, Nearest]:
        """The nearest photos of the queries of the validations that are due after this epoch, by their numbers."""
        last = epoch == self.recipe.schedule.epochs
        due = [number for number in self._validations if last or epoch % self.recipe.validation[number].every == 0]
        trunk = self.recipe.trunk
        if trunk.batch_norm_photos and not trunk.freeze_batch_norm and (due or last):
            uris = draw_photos(self.data.sets, trunk.batch_norm_photos, self.recipe.seed)
            reestimate(self.best_network.trunk, uris, self._preprocess)
        return {number: find_nearest(self.best_network, self._validations[number], self._preprocess) for number in due}

    def _figures(self, nearest: Mapping[int, Nearest]) -> dict[str, dict[str, float]]:
        """Precision@1 by validation and label."""
        return {
            self.recipe.validation_name(number): {
                label: round(value, 4) for label, value in precisions(self._validations[number], each).items()
            }
            for number, each in nearest.items()
        }

    def _keep_answers(self, epoch: int, nearest: Mapping[int, Nearest]) -> None:
        """Keeps what was answered, and with `best_by` the weights, where they are those to be exported so far."""
        best_by = self.recipe.schedule.best_by
        if best_by and best_epoch(self._lines, best_by) == epoch:
            save_best(self.out, epoch, self.best_network.state_dict())
        elif best_by:
            return
        if nearest:
            write_answers(self.out, Answers(epoch, nearest), self._validations)

    def _learning_rates(self) -> dict[str, float]:
        rates = [group["lr"] / group.get("lr_scale", 1.0) for group in self._optimizer.param_groups]
        return {"trunk": rates[0], "new layers": rates[-1]}

    def _save(self) -> None:
        if not self._ranks.leads:
            return
        self._make_room()
        save_checkpoint(
            self.out,
            Checkpoint(
                step=self.step,
                recipe=self.recipe.source,
                classes=dict(self.data.classes),
                network=self.network.state_dict(),
                average=self._average.module.state_dict() if self._average else None,
                optimizer=self._optimizer.state_dict(),
                banks={name: bank.weight for name, bank in self._banks.banks.items()},
            ),
        )
        self._saved_at = perf_counter()

    def _make_room(self) -> None:
        """Before the first file of a new training, takes away those of an earlier one, which would pass for its own.

        The model stays, and so does all else until there is something to put in its place.
        """
        if not self._owns_out:
            for name in (CHECKPOINT_FILE, METRICS_FILE, BEST_FILE, ANSWERS_FILE):
                (self.out / name).unlink(missing_ok=True)
            self._owns_out = True

    def _note_unreadable(self, loaded: LoadedBatch) -> None:
        """Tells of each photo that cannot be read once; it is black and has no labels."""
        check_readable(loaded)
        for place, sentence in loaded.unreadable:
            photo = (loaded.draws[place].set, loaded.draws[place].row)
            if photo not in self._unreadable:
                self._unreadable.add(photo)
                self._progress.note(f"Left out: {sentence}")

    def _require_finite(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            if not math.isfinite(value):
                kept = f"{self.out} holds the last checkpoint" if (self.out / CHECKPOINT_FILE).is_file() else "none yet"
                raise TrainingFailed(
                    f"{name} became {value} in step {self.step + 1} of {self.total_steps}; lower learning_rate and "
                    f'head_learning_rate, or set precision = "float32" ({kept}).'
                )


def _make_average(network: Network, decay: float) -> Any:
    """A moving average of the weights that spans about the last third of the steps so far, until `decay` is its limit.

    Step t weighs in with 3 / (t + 3): polynomial-decay averaging (Shamir and Zhang, arXiv:1212.1824, eta = 2).
    """
    return timm.utils.ModelEmaV3(network, decay, use_warmup=True, warmup_gamma=3.0, warmup_power=1.0)


def summary(line: Mapping[str, Any]) -> str:
    """An epoch's line in words."""
    figures = [f"{label} {value:.3f}" for labels in line["validation"].values() for label, value in labels.items()]
    measured = f"; precision@1: {', '.join(figures)}" if figures else ""
    return f"epoch {line['epoch']}: loss {line['loss']:.3f}, {line['photos_per_second']:.0f} photos/s{measured}"
