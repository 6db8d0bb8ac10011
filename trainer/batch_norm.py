"""Batch norm's statistics taken anew: as the photos are that are served, not as the ones were that weights came from.

Statistics from training lag behind the weights, come from cropped and mixed pictures, and for an average of weights
belong to no network at all; pretrained ones come from other photos. A pass over some training photos, prepared as for
serving, puts that right (Izmailov et al., arXiv:1803.05407, section 3.2; Li et al., arXiv:1603.04779).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from engine.vision.preprocess import Preprocess
from trainer.memory import explaining_lack_of_memory, of_measuring
from trainer.photos import read_photos
from trainer.tables import TrainingSet

BATCH = 64  # photos at a time: each batch norm before another normalises by so many


def draw_photos(sets: Sequence[TrainingSet], count: int, seed: int) -> list[str]:
    """The URIs of `count` photos, or all there are: of each set as many as its share of a batch, none twice."""
    rng = np.random.default_rng((seed, len(sets)))
    batch = sum(each.quota for each in sets)
    uris = []
    for each in sets:
        wanted = min(len(each.uris), max(1, round(count * each.quota / batch)))
        uris += [each.uris[row] for row in sorted(rng.permutation(len(each.uris))[:wanted])]
    return uris


def reestimate(trunk: nn.Module, uris: Sequence[str], preprocess: Preprocess) -> int:
    """Gives every batch norm of `trunk` the mean and variance of what it sees of the photos; how many could be read.

    Each sees what the ones before it make of a batch by its own statistics, as in training. Where no photo can be read
    nothing changes. The trunk's batch norms must not be folded (`trainer.folding`).
    """
    norms = [
        module
        for module in trunk.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    ]
    device = next(trunk.parameters()).device
    before = [tuple(each.clone() for each in _statistics(norm)) for norm in norms]
    sums = [(torch.zeros_like(mean), torch.zeros_like(variance)) for mean, variance in before]
    read = 0
    with _measuring(trunk, norms):
        for start in range(0, len(uris) if norms else 0, BATCH):
            photos, readable = read_photos(uris[start : start + BATCH], preprocess)
            count = int(readable.sum())
            if count < 2:  # one photo may have one value a channel, which has no variance
                continue
            batch = torch.from_numpy(photos[readable]).to(device).contiguous(memory_format=torch.channels_last)
            with explaining_lack_of_memory(*of_measuring(BATCH, preprocess.size)):
                trunk.forward_features(batch)  # type: ignore[operator]  # every timm model has it
            read += count
            for norm, (values, squares) in zip(norms, sums, strict=True):
                mean, variance = _statistics(norm)
                values.add_(count * mean)
                squares.add_(count * (variance + mean.square()))
    for norm, old, (values, squares) in zip(norms, before, sums, strict=True):
        # of all photos together, not the mean of the batches' variances: batches differ in their means too
        mean, variance = _statistics(norm)
        mean.copy_(values / read if read else old[0])
        variance.copy_((squares / read - mean.square()).clamp(min=0) if read else old[1])
    return read


def _statistics(norm: nn.modules.batchnorm._BatchNorm) -> tuple[Tensor, Tensor]:
    """The running mean and variance, of a batch norm that has them."""
    assert norm.running_mean is not None and norm.running_var is not None
    return norm.running_mean, norm.running_var


@contextmanager
def _measuring(trunk: nn.Module, norms: Sequence[nn.modules.batchnorm._BatchNorm]) -> Iterator[None]:
    """Inside the `with`, batch norms note each batch's own statistics and nothing is dropped."""
    training = {module: module.training for module in trunk.modules()}
    momenta = [norm.momentum for norm in norms]
    trunk.eval()
    for norm in norms:
        norm.train()
        norm.momentum = 1.0  # the running statistics are then those of the last batch
    try:
        with torch.no_grad():
            yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, mode in training.items():
            module.training = mode
