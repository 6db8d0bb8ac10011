"""What running out of memory says."""

import pytest
import torch

from engine.errors import TrainingFailed
from tests.trainer.shapes import shapes_recipe
from trainer.memory import explaining_lack_of_memory
from trainer.ranks import Ranks


def test_lack_of_memory_names_the_settings_to_lower() -> None:
    with (
        pytest.raises(TrainingFailed, match=r"4 photos of 32 px .* lower quota \(that of 'shapes' is 8\)"),
        explaining_lack_of_memory(shapes_recipe(), Ranks(0, 2)),
    ):
        torch.empty(2**60, dtype=torch.uint8)


def test_a_gpu_out_of_memory_is_told_as_that() -> None:
    with pytest.raises(TrainingFailed, match="the GPU's memory"), explaining_lack_of_memory(shapes_recipe(), Ranks()):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot"), explaining_lack_of_memory(shapes_recipe(), Ranks()):
        raise RuntimeError("shapes cannot be multiplied")
