"""What to say when memory runs out: what needs it, and the settings that lower that."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch

from engine.errors import TrainingFailed
from trainer.ranks import Ranks
from trainer.recipe import Recipe, Task

WIDE = 50_000  # classes from which on their logits and proxies may weigh more than photos do
CPU_SIGNS = ("DefaultCPUAllocator", "not enough memory", "Cannot allocate memory")
GPU_SIGNS = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
KILLED_WORKER = "killed by signal: Killed"  # as the kernel does when memory runs out, and torch's DataLoader says


@contextmanager
def explaining_lack_of_memory(what: str, remedy: str) -> Iterator[None]:
    """Makes a TrainingFailed of an allocation that fails in the `with`: "`what` into memory; `remedy`."."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if _text_of(error, (KILLED_WORKER,)):
            raise TrainingFailed(
                "A process that prepares photos was killed, most likely because memory ran out; lower keep_gb in "
                "[augment], or start fewer of them with --workers."
            ) from error
        if not is_lack_of_memory(error):
            raise
        where = "the GPU's memory" if _is_of_gpu(error) else "memory"
        raise TrainingFailed(f"{what} into {where}; {remedy}.") from error


def of_a_step(recipe: Recipe, ranks: Ranks, classes: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """What does not fit in a step of training, and what to do about it. `classes` by head."""
    photos = -(-recipe.batch // ranks.size)
    quota = max(recipe.dataset, key=lambda dataset: dataset.quota)
    wide = [task for task in recipe.task if _columns(task, classes) >= WIDE]
    tasks = f" and classes, of which task {wide[0].name!r} compares {_columns(wide[0], classes):,}," if wide else ""
    fewer = f"; for fewer classes {_fewer(wide[0])}" if wide else ""
    return (
        f"A batch of {photos} photos of {recipe.trunk.image_size} px{tasks} does not fit",
        f"lower quota (that of {quota.name!r} is {quota.quota}) or image_size, or raise frozen_stages{fewer}",
    )


def of_network(recipe: Recipe, classes: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """What of the network does not fit before the first photo, and what to do about it. `classes` by head."""
    wide = [task for task in recipe.task if not task.sampled_classes and _columns(task, classes) >= WIDE]
    if wide:
        count = _columns(wide[0], classes)
        return f"The network, with {count:,} classes of task {wide[0].name!r}, does not fit", _fewer(wide[0])
    teacher = ", or a smaller [teacher]" if recipe.teacher else ""
    return "The network and its optimiser do not fit", f"take a smaller trunk{teacher}, or end what else uses it"


def of_banks(recipe: Recipe, classes: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """The largest proxy bank, and what to do where it does not fit. `classes` by head."""
    banks = [(len(classes[task.name]), task.name) for task in recipe.task if task.sampled_classes]
    count, name = max(banks, default=(0, ""))
    size = f"{count:,} classes x {recipe.embedding.dim} numbers, {4 * count * recipe.embedding.dim / 1e9:.1f} GB"
    return f"The proxy bank of task {name!r} ({size}) does not fit", "lower dim, or leave out rare classes"


def of_measuring(photos: int, size: int) -> tuple[str, str]:
    """What does not fit where photos are only looked at, so many at a time, and what to do about it."""
    return f"{photos} photos of {size} px, which are measured at a time, do not fit", "lower eval_size or image_size"


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed: torch has a class of errors for a GPU's only, and not for all of those."""
    return isinstance(error, MemoryError) or _is_of_gpu(error) or _text_of(error, CPU_SIGNS)


def _is_of_gpu(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or _text_of(error, GPU_SIGNS)


def _text_of(error: BaseException, signs: Sequence[str]) -> bool:
    """Whether the error, or the one it was raised from, says one of `signs`."""
    texts = (str(error), str(error.__cause__ or ""))
    return any(sign in text for sign in signs for text in texts)


def _columns(task: Task, classes: Mapping[str, Sequence[str]]) -> int:
    """How many classes a photo is compared with in a step."""
    count = 0 if task.loss == "pairwise" else sum(len(classes[name]) for name, _ in task.heads)
    return min(count, task.sampled_classes) if task.sampled_classes else count


def _fewer(task: Task) -> str:
    if task.sampled_classes:
        return f"lower sampled_classes of task {task.name!r}"
    if task.on == "embedding":
        return f"give task {task.name!r} sampled_classes"
    return f"leave out rare classes of task {task.name!r}"
