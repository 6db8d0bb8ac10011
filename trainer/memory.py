"""What to say when memory runs out: the settings that need it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from engine.errors import TrainingFailed
from trainer.ranks import Ranks
from trainer.recipe import Recipe


@contextmanager
def explaining_lack_of_memory(recipe: Recipe, ranks: Ranks) -> Iterator[None]:
    """Makes a TrainingFailed, which names settings to lower, of an allocation that fails in the `with`."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_lack_of_memory(error):
            raise
        photos = -(-recipe.batch // ranks.size)
        where = "the GPU's memory" if isinstance(error, torch.OutOfMemoryError) else "memory"
        quota = max(recipe.dataset, key=lambda dataset: dataset.quota)
        raise TrainingFailed(
            f"A batch of {photos} photos of {recipe.trunk.image_size} px does not fit into {where}; lower quota (that "
            f"of {quota.name!r} is {quota.quota}) or image_size, or raise frozen_stages."
        ) from error


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed: torch has a class of errors for a GPU's only."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error)
    return "DefaultCPUAllocator" in text or "not enough memory" in text or "Cannot allocate memory" in text
