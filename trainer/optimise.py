"""Learning: parameter groups, optimiser and schedule by timm, number format and the processor's own quirks."""

import ctypes
from typing import Any

import torch
from torch import nn

from trainer.network import Network
from trainer.recipe import Schedule
from trainer.recipe_faults import Fault
from trainer.torchvision_shim import timm

# glibc's mallopt parameters (malloc.h)
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def keep_freed_memory() -> bool:
    """Lets the allocator keep what training frees, for the life of the process; False where there is no glibc.

    glibc gives blocks above some 32 MB straight back to the kernel, and each step of training asks for the same
    activations again: fresh pages, zeroed by the kernel one by one. Keeping them made training 1.5 times faster.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return False
    return bool(libc.mallopt(_M_MMAP_MAX, 0)) and bool(libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))


def choose_precision(wanted: str, device: torch.device) -> torch.dtype:
    """The number format of the trunk's activations. "auto" is bfloat16 only where the hardware multiplies it:
    elsewhere torch emulates it, ten times slower than float32."""
    if wanted != "auto":
        return torch.bfloat16 if wanted == "bfloat16" else torch.float32
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    able = torch.cpu.get_capabilities()
    return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") else torch.float32


def make_optimizer(network: Network, schedule: Schedule) -> torch.optim.Optimizer:
    """timm's optimiser of that name: the trunk by layers, everything new at its own rate, no decay on biases."""
    trunk = timm.optim.param_groups_layer_decay(
        network.trunk, weight_decay=schedule.weight_decay, layer_decay=schedule.layer_decay
    )
    groups: list[dict[str, Any]] = [{**group, "lr": schedule.learning_rate, "trunk": True} for group in trunk]
    new = [parameter for name, parameter in network.named_parameters() if not name.startswith("trunk.")]
    for decay, wide in ((schedule.weight_decay, True), (0.0, False)):
        parameters = [parameter for parameter in new if (parameter.ndim > 1) == wide]
        groups.append({"params": parameters, "lr": schedule.head_learning_rate, "weight_decay": decay, "lr_scale": 1.0})
    return _create(groups, schedule)


def check_optimizer(schedule: Schedule) -> None:
    """Fault where timm has no optimiser of that name: asked before there is a network."""
    _create([{"params": [nn.Parameter(torch.zeros(1))]}], schedule)


def _create(groups: list[dict[str, Any]], schedule: Schedule) -> torch.optim.Optimizer:
    try:
        optimizer: torch.optim.Optimizer = timm.optim.create_optimizer_v2(
            groups, opt=schedule.optimizer, lr=schedule.learning_rate
        )
    except (AssertionError, ValueError, KeyError) as error:
        sentence = f"timm has no optimizer {schedule.optimizer!r} ({error}); adamw and sgd are two"
        raise Fault(sentence, ("schedule", "optimizer")) from None
    return optimizer


class Rates:
    """The learning rates of every step: a linear warm-up, then timm's schedule down to 0. Stateless between steps.

    In the steps of `new_layers_epochs` the trunk's rates are 0: a new layer's first gradients are noise, and would
    undo what the trunk was pretrained for. They are computed all the same, so that the optimiser's moments are settled
    when the trunk begins.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, schedule: Schedule, steps_per_epoch: int) -> None:
        self._optimizer = optimizer
        self._trunk_begins = round(schedule.new_layers_epochs * steps_per_epoch)
        warmup = min(round(schedule.warmup_epochs * steps_per_epoch), schedule.epochs * steps_per_epoch - 1)
        self._scheduler, _ = timm.scheduler.create_scheduler_v2(
            optimizer,
            sched=schedule.scheduler,
            num_epochs=schedule.epochs * steps_per_epoch - warmup,
            warmup_epochs=warmup,
            warmup_lr=0.0,
            warmup_prefix=True,
            step_on_epochs=False,
            updates_per_epoch=1,  # timm counts updates; its "epochs" are our steps
        )

    def set(self, step: int) -> None:
        """Sets the optimiser's rates for `step`, from 0: those of its middle, so that no step has a rate of 0."""
        self._scheduler.step_update(step + 0.5)
        if step < self._trunk_begins:
            for group in self._optimizer.param_groups:
                if group.get("trunk"):
                    group["lr"] = 0.0


def clip_gradients(network: nn.Module, limit: float) -> float:
    """Scales the gradients down to a norm of `limit` (0: leaves them) and returns the norm they had."""
    norm = nn.utils.clip_grad_norm_(network.parameters(), limit or float("inf"))
    return float(norm)
