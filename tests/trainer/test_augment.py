"""Augmentation: the same for the same seed and step, mixing within a set, erasing and memory as told."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest
import torch

from tests.trainer.shapes import draw_shapes, shapes_recipe
from trainer.augment import Finisher, LoadedBatch, PhotoReader, load_batches, mix, seeded
from trainer.recipe import Augment
from trainer.sampler import BatchSampler, Draw
from trainer.tables import TrainingData, read_training_data


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    return read_training_data(shapes_recipe(), draw_shapes(tmp_path_factory.mktemp("shapes")))


def reader(data: TrainingData, budget: int = 10**9) -> PhotoReader:
    return PhotoReader([each.uris for each in data.sets], shapes_recipe().augment, 32, budget)


def test_pictures_depend_on_the_draw_alone(data: TrainingData) -> None:
    draws = BatchSampler(data.sets, 0).batch(0)
    first = reader(data).__getitems__(draws)
    random.seed(99)  # whatever happened before
    torch.manual_seed(99)
    warm = reader(data)
    warm.__getitems__(BatchSampler(data.sets, 0).batch(1))
    assert np.array_equal(warm.__getitems__(draws).pixels, first.pixels)
    assert np.array_equal(reader(data, budget=0).__getitems__(draws).pixels, first.pixels)
    other = [Draw(draw.set, draw.row, draw.seed + 1) for draw in draws]
    assert not np.array_equal(reader(data).__getitems__(other).pixels, first.pixels)


def test_photos_are_kept_up_to_the_budget(data: TrainingData) -> None:
    photo = 37 * 44 * 3  # 40 x 48 pixels made to a short side of 1.15 times 32
    for kept in (0, 1, 3):
        keeping = reader(data, budget=kept * photo + 1)
        keeping.__getitems__(BatchSampler(data.sets, 0).batch(0))
        assert len(keeping._kept) == kept
        assert all(min(pixels.shape[:2]) == 37 for pixels in keeping._kept.values())


def test_batches_come_in_order(data: TrainingData) -> None:
    batches = list(BatchSampler(data.sets, 0).batches(2, 6))
    assert [list(loaded.draws) for loaded in load_batches(reader(data), batches, workers=0)] == batches


FULL_PIPE = """
import multiprocessing, sys, time
from pathlib import Path
from tests.trainer.shapes import draw_shapes, shapes_recipe
from trainer.augment import PhotoReader, load_batches
from trainer.sampler import BatchSampler
from trainer.tables import read_training_data

if __name__ == "__main__":
    data = read_training_data(shapes_recipe(), draw_shapes(Path(sys.argv[1])))
    reader = PhotoReader([each.uris for each in data.sets], shapes_recipe().augment, 224, 10**9)
    batches = load_batches(reader, BatchSampler(data.sets, 0).batches(0, 50), workers=1)
    next(batches)
    print(multiprocessing.active_children()[0].pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for the worker in /proc, which this system lacks")
def test_a_worker_ends_when_its_training_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "full_pipe.py"
    script.write_text(FULL_PIPE)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, script, tmp_path / "shapes"], stdout=subprocess.PIPE, text=True, env=environment
    ) as training:
        assert training.stdout is not None
        worker = Path("/proc") / training.stdout.readline().strip()
        sleep(2)  # by now the worker waits for somebody to take its second batch
        assert worker.is_dir()
        training.send_signal(signal.SIGKILL)
    deadline = monotonic() + 30
    while worker.is_dir() and monotonic() < deadline:
        sleep(0.1)
    assert not worker.is_dir()


def test_seeding_leaves_the_global_sources_as_they_were() -> None:
    random.seed(1)
    torch.manual_seed(1)
    expected = random.random(), float(torch.rand(1))
    random.seed(1)
    torch.manual_seed(1)
    with seeded(7):
        random.random()
        torch.rand(3)
    assert (random.random(), float(torch.rand(1))) == expected


def test_mixup_blends_pictures_by_the_share_that_labels_get() -> None:
    photos = torch.randn(10, 3, 8, 8)
    mixed = mix(photos, (10,), Augment(mixup=1.0), np.random.default_rng(0))
    share = mixed.share.view(-1, 1, 1, 1)
    torch.testing.assert_close(mixed.photos, share * photos + (1 - share) * photos[mixed.partner])
    assert sorted(mixed.partner.tolist()) == list(range(10))


def test_cutmix_gives_labels_the_share_of_the_pixels_that_stayed() -> None:
    photos = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 3, 20, 20)
    for seed in range(20):
        mixed = mix(photos, (6,), Augment(cutmix=1.0), np.random.default_rng(seed))
        for row in range(6):
            partner = int(mixed.partner[row])
            if partner == row:
                continue
            own = (mixed.photos[row, 0] == row).float().mean()
            pasted = (mixed.photos[row, 0] == partner).float().mean()
            assert float(own + pasted) == 1
            assert float(own) == pytest.approx(float(mixed.share[row]), abs=1e-6)


def test_photos_are_mixed_within_their_set_only() -> None:
    photos = torch.randn(12, 3, 8, 8)
    for seed in range(20):
        mixed = mix(photos, (8, 4), Augment(mixup=0.5, cutmix=0.5), np.random.default_rng(seed))
        assert (mixed.partner[:8] < 8).all()
        assert (mixed.partner[8:] >= 8).all()


def test_without_mixing_every_photo_is_its_own() -> None:
    mixed = mix(torch.randn(4, 3, 8, 8), (4,), Augment(), np.random.default_rng(0))
    assert mixed.partner.tolist() == [0, 1, 2, 3]
    assert mixed.share.tolist() == [1, 1, 1, 1]


def test_pixels_are_normalised_as_in_serving() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8), np.uint8)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    finish = Finisher(Augment(), mean, std, (2,), torch.device("cpu"))
    found = finish(LoadedBatch((), pixels, ()), seed=0).photos
    expected = (pixels / 255 - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_erasing_depends_on_the_draw_alone() -> None:
    pixels = np.zeros((4, 3, 32, 32), np.uint8)
    finish = Finisher(Augment(erasing=1.0), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (4,), torch.device("cpu"))
    draws = tuple(Draw(0, row, row) for row in range(4))
    whole = finish(LoadedBatch(draws, pixels, ()), seed=5).photos
    part = Finisher(Augment(erasing=1.0), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (2,), torch.device("cpu"))
    assert torch.equal(part(LoadedBatch(draws[1::2], pixels[1::2], ()), seed=6).photos, whole[1::2])
    assert not torch.equal(whole[0], whole[1])
    assert all((photo != 0).any() for photo in whole)
