"""Photos a second of a training beside a plain timm loop with the same trunk, in turns in one run.

    python benchmarks/training_speed.py --recipe recipes/grocery.toml --data grocery --json training_speed.json

The plain loop is what timm's own script comes down to: its transforms, a torch DataLoader over the same files, its
model with a classifier of 100 made classes, cross-entropy, its optimiser. Photo size, batch, workers, random crops and
colours, number format and memory layout are the recipe's in both; erasing and mixing, the other losses and the average
of the weights are ours alone, and so is keeping decoded photos in memory.

Each takes `--steps` steps, then the other, `--rounds` times; every round's own ratio is kept, and the median of them
counts. The first round, which is cold, does not, nor do a turn's first steps, whose batches were loaded while the other
was at work.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from benchmarks.measuring import machine, write_json
from engine.sources.photos import read_photo
from engine.vision.image import decode
from trainer import training
from trainer.augment import make_transform
from trainer.loop import Trainer
from trainer.machine import Machine
from trainer.optimise import choose_precision, keep_freed_memory
from trainer.recipe import Recipe, read_recipe, with_epochs
from trainer.tables import TrainingData, read_training_data
from trainer.torchvision_shim import timm

LOADED_AHEAD = 2  # batches by each worker, in our loader and in torch's


class Photos(Dataset[Any]):
    """Every photo of the training data, with a made class: the work is the same for any."""

    def __init__(self, recipe: Recipe, data: TrainingData) -> None:
        self._photos = [(uri, row % 100) for each in data.sets for row, uri in enumerate(each.uris)]
        self._recipe = recipe
        self._transform: Any = None

    def __len__(self) -> int:
        return len(self._photos)

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        if self._transform is None:
            self._transform = make_transform(self._recipe.augment, self._recipe.trunk.image_size)
        uri, label = self._photos[place]
        return self._transform(decode(read_photo(uri), uri)), label


def main() -> None:
    parser = argparse.ArgumentParser(description="Photos a second beside a plain timm loop.")
    parser.add_argument("--recipe", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    keep_freed_memory()
    here = Machine.here(arguments.workers)
    # as many epochs as it may take: a schedule changes no step's work
    turn = arguments.steps + LOADED_AHEAD * here.workers + 1
    recipe = with_epochs(read_recipe(arguments.recipe), turn * (arguments.rounds + 1), str(arguments.recipe))
    data = read_training_data(recipe, arguments.data)
    with TemporaryDirectory() as out:
        contenders = {"lookalike": ours(recipe, data, here, Path(out)), "timm": plain(recipe, data, here)}
        rounds: list[dict[str, float]] = []
        for number in range(arguments.rounds + 1):
            seconds = {name: timed(step, arguments.steps, here) for name, step in contenders.items()}
            if number:  # the first one is cold
                rounds.append({name: arguments.steps * recipe.batch / each for name, each in seconds.items()})
                print("  ".join(f"{name} {rate:.1f} photos/s" for name, rate in rounds[-1].items()), flush=True)
    ratio = float(np.median([each["lookalike"] / each["timm"] for each in rounds]))
    print(f"lookalike trains at {ratio:.2f} times the rate of the plain loop")
    if arguments.json:
        figures = {"recipe": recipe.name, "batch": recipe.batch, "device": str(here.device), "workers": here.workers}
        write_json(arguments.json, {"machine": machine(), **figures, "rounds": rounds, "ratio": ratio})


def timed(step: Callable[[], None], steps: int, here: Machine) -> float:
    """Seconds of that many steps, the wait for photos included, after those whose batches may lie ready."""
    for _ in range(LOADED_AHEAD * here.workers + 1):
        step()
    if here.device.type == "cuda":
        torch.cuda.synchronize()
    began = perf_counter()
    for _ in range(steps):
        step()
    if here.device.type == "cuda":
        torch.cuda.synchronize()
    return perf_counter() - began


def ours(recipe: Recipe, data: TrainingData, here: Machine, out: Path) -> Callable[[], None]:
    """A step of the real training, its losses and average included."""
    network = training.make_network(recipe, data, weights="none")
    preprocess = training.serving_preprocess(network, recipe)
    trainer = Trainer(recipe, network, data, validations={}, preprocess=preprocess, out=out, machine=here)
    trainer.network.train()
    batches = trainer.batches()

    def step() -> None:
        trainer.train_step(next(batches))
        trainer.step += 1

    return step


def plain(recipe: Recipe, data: TrainingData, here: Machine) -> Callable[[], None]:
    """A step of the plain loop."""
    model: nn.Module = timm.create_model(recipe.trunk.name, num_classes=100, **recipe.trunk.options).to(here.device)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    model.train()
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.train(not recipe.trunk.freeze_batch_norm)
    schedule = recipe.schedule
    optimizer = timm.optim.create_optimizer_v2(
        model, opt=schedule.optimizer, lr=schedule.learning_rate, weight_decay=schedule.weight_decay
    )
    dtype = choose_precision(schedule.precision, here.device)
    config = timm.data.resolve_model_data_config(model)
    mean, std = (torch.tensor(config[key], device=here.device).view(1, 3, 1, 1) * 255 for key in ("mean", "std"))
    batches = endless(recipe, data, here)

    def step() -> None:
        photos, labels = (each.to(here.device, non_blocking=True) for each in next(batches))
        photos = ((photos.float() - mean) / std).contiguous(memory_format=torch.channels_last)
        with torch.autocast(here.device.type, dtype, enabled=dtype != torch.float32):
            logits = model(photos)
        loss = F.cross_entropy(logits.float(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        loss.item()  # as a loop does that shows its loss

    return step


def endless(recipe: Recipe, data: TrainingData, here: Machine) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    loader = DataLoader(
        Photos(recipe, data),
        batch_size=recipe.batch,
        shuffle=True,
        drop_last=True,
        num_workers=here.workers,
        persistent_workers=here.workers > 0,
        multiprocessing_context="spawn" if here.workers else None,
    )
    while True:
        yield from loader


if __name__ == "__main__":
    main()
