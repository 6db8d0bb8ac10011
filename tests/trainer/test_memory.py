"""What running out of memory says."""

from collections.abc import Sequence

import pytest
import torch

from engine.errors import TrainingFailed
from tests.trainer.shapes import shapes_recipe
from trainer.memory import explaining_lack_of_memory, of_a_step, of_banks, of_measuring, of_network
from trainer.ranks import Ranks

FEW: dict[str, Sequence[str]] = {"product": "abcdef", "shape": "ab", "tags": "abcdefg"}
MANY = FEW | {"product": "p" * 60_000}
BANK = ('on = "embedding"', 'on = "embedding"\nsampled_classes = {}')


def test_lack_of_memory_names_the_settings_to_lower() -> None:
    with (
        pytest.raises(TrainingFailed, match=r"4 photos of 32 px .* lower quota \(that of 'shapes' is 8\)") as failed,
        explaining_lack_of_memory(*of_a_step(shapes_recipe(), Ranks(0, 2), FEW)),
    ):
        torch.empty(2**60, dtype=torch.uint8)
    assert "classes" not in str(failed.value)


def banked(sampled: int) -> tuple[str, str]:
    return BANK[0], BANK[1].format(sampled)


def test_a_step_with_many_classes_names_them_too() -> None:
    step = of_a_step(shapes_recipe(), Ranks(), MANY)
    assert "task 'product' compares 60,000," in step[0] and "give task 'product' sampled_classes" in step[1]
    step = of_a_step(shapes_recipe(banked(55_000)), Ranks(), MANY)
    assert "task 'product' compares 55,000," in step[0] and "lower sampled_classes of task 'product'" in step[1]
    step = of_a_step(shapes_recipe(banked(500)), Ranks(), MANY)
    assert "compares" not in step[0] and "sampled_classes" not in step[1]


def test_what_does_not_fit_before_the_first_photo_is_not_the_photos() -> None:
    for (what, remedy), sentence in (
        (of_network(shapes_recipe(), FEW), "take a smaller trunk"),
        (of_network(shapes_recipe(banked(500)), MANY), "take a smaller trunk"),
        (of_network(shapes_recipe(), MANY), r"60,000 classes of task .* give task 'product' sampled_classes"),
        (of_banks(shapes_recipe(banked(500)), MANY), r"task 'product' \(60,000 classes x 8 .*, 0.0 GB\).* lower dim"),
    ):
        with pytest.raises(TrainingFailed, match=sentence) as failed, explaining_lack_of_memory(what, remedy):
            raise MemoryError
        assert "quota" not in str(failed.value)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_a_gpu_out_of_memory_is_told_as_that(error: RuntimeError) -> None:
    sentence = "^64 photos of 32 px, .* into the GPU's memory; lower eval_size or image_size.$"
    with pytest.raises(TrainingFailed, match=sentence), explaining_lack_of_memory(*of_measuring(64, 32)):
        raise error


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_killed_worker_names_what_workers_keep(wrapped: bool) -> None:
    killed = RuntimeError("DataLoader worker (pid 12) is killed by signal: Killed. ")
    with (
        pytest.raises(TrainingFailed, match=r"lower keep_gb in \[augment\], or start fewer of them with --workers"),
        explaining_lack_of_memory(*of_a_step(shapes_recipe(), Ranks(), FEW)),
    ):
        if wrapped:  # as torch does where it notices that a worker is gone while it waits for a batch
            raise RuntimeError("DataLoader worker (pid(s) 12) exited unexpectedly") from killed
        raise killed


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot"), explaining_lack_of_memory(*of_measuring(64, 32)):
        raise RuntimeError("shapes cannot be multiplied")
