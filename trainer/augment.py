"""Photos -> batches to train on: read and decoded once, cropped and changed anew each time, mixed with one another.

Worker processes do what is done to one photo, ahead of the training process, which does what is done to whole
batches. Both seed every random source they use from the draw or the step, so that batches depend on nothing else.
"""

import math
import multiprocessing
import os
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from engine.errors import LookalikeError, TrainingFailed
from engine.sources.photos import read_photo
from engine.vision.image import decode
from trainer.recipe import Augment
from trainer.sampler import Draw, seed_of
from trainer.torchvision_shim import timm

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class LoadedBatch:
    """Pictures as the workers hand them over. An unreadable photo is black and named; it must not be learnt from."""

    draws: tuple[Draw, ...]
    pixels: Pixels  # [n, 3, size, size]
    unreadable: tuple[tuple[int, str], ...]  # (place in the batch, sentence)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The processor's global random sources start at `seed` inside the `with` and go on as before after it.

    timm's and torchvision's augmentations draw from all three of them and take no generator. (torch's own `fork_rng`
    and `manual_seed` look for every kind of device each time, and take half as long as augmenting a small photo.)
    """
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  # the old state is what timm draws from
    ours = torch.default_generator.get_state()
    try:
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.default_generator.manual_seed(seed)
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.default_generator.set_state(ours)


class PhotoReader(Dataset[Any]):
    """Draws -> augmented pictures: what a worker process runs. Decoded photos are kept up to a budget of memory."""

    def __init__(self, uris: Sequence[Sequence[str]], augment: Augment, size: int, budget: int) -> None:
        """`uris` by set and row; `size` in pixels; `budget` in bytes."""
        self._uris, self._augment, self._size, self._left = uris, augment, size, budget
        self._side = math.ceil(augment.keep * size)
        self._kept: dict[tuple[int, int], Pixels] = {}
        self._transform: Callable[[Image.Image], Tensor] | None = None

    def __getitems__(self, draws: Sequence[Draw]) -> LoadedBatch:
        """A whole batch at once; the name is torch's."""
        if self._transform is None:  # made in the worker: not all policies can be sent to one
            self._transform = make_transform(self._augment, self._size)
        pixels = np.zeros((len(draws), 3, self._size, self._size), np.uint8)
        unreadable = []
        for place, draw in enumerate(draws):
            try:
                photo = Image.fromarray(self._photo(draw.set, draw.row))
            except LookalikeError as error:
                unreadable.append((place, str(error)))
                continue
            with seeded(draw.seed):
                pixels[place] = self._transform(photo).numpy()
        return LoadedBatch(tuple(draws), pixels, tuple(unreadable))

    def _photo(self, number: int, row: int) -> Pixels:
        """RGB [height, width, 3] with a short side of at most `keep` times the size trained at."""
        if (number, row) in self._kept:
            return self._kept[number, row]
        uri = self._uris[number][row]
        image = decode(read_photo(uri), uri, min_side=self._side)
        scale = self._side / min(image.size)
        if scale < 1:
            width, height = image.size
            image = image.resize((round(width * scale), round(height * scale)), Image.Resampling.BICUBIC)
        pixels = np.asarray(image)
        if pixels.nbytes <= self._left:
            self._left -= pixels.nbytes
            self._kept[number, row] = pixels
        return pixels


def make_transform(augment: Augment, size: int) -> Callable[[Image.Image], Tensor]:
    """timm's training transform as far as uint8: RGB picture -> [3, size, size]."""
    transform: Callable[[Image.Image], Tensor] = timm.data.transforms_factory.transforms_imagenet_train(
        size,
        scale=augment.scale,
        ratio=augment.ratio,
        hflip=augment.flip,
        color_jitter=augment.colour_jitter or None,
        force_color_jitter=True,
        auto_augment=augment.auto_augment,
        interpolation="random",
        normalize=False,
    )
    return transform


def load_batches(reader: PhotoReader, batches: Iterable[Sequence[Draw]], workers: int) -> Iterator[LoadedBatch]:
    """`batches` one after another, prepared ahead by `workers` processes (0: in this one, when they are asked for)."""
    loader = DataLoader(
        reader,
        batch_sampler=batches,  # type: ignore[arg-type]  # any iterable of index lists does; ours are draws
        num_workers=workers,
        collate_fn=_as_it_is,
        # spawn: a fork would copy the locks of running threads; pictures come back as numpy arrays through a pipe,
        # because torch's way, shared memory, is only 64 MB in a container
        multiprocessing_context="spawn" if workers else None,
        prefetch_factor=2 if workers else None,
        worker_init_fn=_end_with_trainer,
    )
    return iter(loader)


def _end_with_trainer(_: int) -> None:
    """Ends this worker when the training process is killed: with its pipe full it would wait for a reader for ever."""
    trainer = multiprocessing.parent_process()
    assert trainer is not None

    def wait() -> None:
        trainer.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _as_it_is(batch: Any) -> Any:
    return batch


@dataclass(frozen=True)
class TrainingBatch:
    """What the network is trained on: pictures, and for each the one it is mixed with."""

    photos: Tensor  # float32 [n, 3, size, size], normalised
    partner: Tensor  # int64 [n]: whose labels count for the rest of the picture
    share: Tensor  # float32 [n]: how much of the picture is its own, 1 where it is not mixed


class Finisher:
    """Whole batches on the device: normalised, erased in parts, mixed within each set.

    `quotas` are those of this rank; photos are mixed with photos of the same rank, so mixing, alone among all that is
    done to photos, depends on how many ranks there are.
    """

    def __init__(
        self,
        augment: Augment,
        mean: Sequence[float],
        std: Sequence[float],
        quotas: Sequence[int],
        device: torch.device,
    ) -> None:
        self._augment, self._quotas, self._device = augment, tuple(quotas), device
        self._mean = torch.tensor(mean, device=device).view(1, 3, 1, 1) * 255
        self._std = torch.tensor(std, device=device).view(1, 3, 1, 1) * 255
        self._erase = timm.data.random_erasing.RandomErasing(augment.erasing, mode="pixel", device="cpu")

    def __call__(self, loaded: LoadedBatch, seed: int) -> TrainingBatch:
        photos = torch.from_numpy(loaded.pixels).to(self._device, non_blocking=True)
        photos = (photos.float() - self._mean) / self._std
        if self._augment.erasing:  # photo by photo: what is erased of one does not depend on which others are here
            for photo, draw in zip(photos, loaded.draws, strict=True):
                with seeded(seed_of(draw.seed, 1)):
                    self._erase(photo)
        return mix(photos, self._quotas, self._augment, np.random.default_rng(seed))


def mix(photos: Tensor, quotas: Sequence[int], augment: Augment, rng: np.random.Generator) -> TrainingBatch:
    """Mixes each set's photos with others of that set, or not, as the recipe's probabilities say.

    mixup: Zhang et al., arXiv:1710.09412; cutmix: Yun et al., arXiv:1905.04899.
    """
    assert sum(quotas) == len(photos), quotas
    partner, share = torch.arange(len(photos)), torch.ones(len(photos))
    photos = photos.clone() if augment.mixup or augment.cutmix else photos
    start = 0
    for quota in quotas:
        kind, own = rng.random(), float(rng.beta(augment.mix_alpha, augment.mix_alpha))
        others = torch.from_numpy(start + rng.permutation(quota))
        rows = slice(start, start + quota)
        start += quota
        if kind >= augment.mixup + augment.cutmix:
            continue
        if kind < augment.mixup:
            photos[rows] = own * photos[rows] + (1 - own) * photos[others]
        else:
            top, bottom, left, right = _box(photos.shape[-1], 1 - own, rng)
            photos[rows, :, top:bottom, left:right] = photos[others][:, :, top:bottom, left:right]
            own = 1 - (bottom - top) * (right - left) / photos.shape[-1] ** 2
        partner[rows], share[rows] = others, own
    return TrainingBatch(photos, partner.to(photos.device), share.to(photos.device))


def _box(size: int, area: float, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """A square of `area` (a share) of a size x size picture at a random centre, cut off at the edges."""
    half = size * math.sqrt(area) / 2
    y, x = rng.uniform(0, size, 2)
    top, bottom = (int(np.clip(round(y + way * half), 0, size)) for way in (-1, 1))
    left, right = (int(np.clip(round(x + way * half), 0, size)) for way in (-1, 1))
    return top, bottom, left, right


def step_seed(seed: int, step: int) -> int:
    """The seed of everything random about a step but its photos: erasing, mixing, dropped paths."""
    return seed_of(seed, 0, step)


def check_readable(unreadable: Sequence[str], photos: int) -> None:
    """TrainingFailed where hardly a photo of the batch can be read: then the folder is wrong, not the photos.

    `unreadable`: why, for each such photo of a whole batch of `photos`.
    """
    if len(unreadable) * 2 > photos:
        raise TrainingFailed(
            f"{len(unreadable)} of {photos} photos of a batch cannot be read, the first because: {unreadable[0]}"
        )
