"""Which photos make up which batch: a pure function of the seed and the number of the step.

Nothing is remembered between batches, so a resumed run gets the very batches that the killed one would have had, and
augmentation, seeded by each draw, gives the very same pictures, whatever the number of worker processes.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from trainer.tables import TrainingSet


@dataclass(frozen=True, slots=True)
class Draw:
    """One photo of a batch, and the seed of what augmentation does to it."""

    set: int
    row: int
    seed: int  # 32 bits


class BatchSampler:
    """Batches with a fixed quota of every set. An epoch is as long as its largest set, by quota, needs to be seen once.

    Each set is an endless row of cycles. A cycle draws as many photos as the set has, in random order: each photo
    once where weights are equal, else by systematic sampling, so that a photo with weight w comes floor or ceil of
    w * rows times. A small set just begins its next cycles while a large one is in its first.
    """

    def __init__(self, sets: Sequence[TrainingSet], seed: int, epoch_steps: int | None = None) -> None:
        """`epoch_steps`: another length of an epoch; the batches stay the same."""
        self._sets, self._seed = tuple(sets), seed
        self._cycle = lru_cache(maxsize=2 * len(self._sets))(self._draw_cycle)
        self.steps_per_epoch = epoch_steps or max(math.ceil(len(each.uris) / each.quota) for each in self._sets)

    def batch(self, step: int) -> list[Draw]:
        """The photos of the batch of `step`, counted from 0 over all epochs; set by set, each as many as its quota."""
        draws = []
        for number, each in enumerate(self._sets):
            for position in range(step * each.quota, (step + 1) * each.quota):
                cycle, place = divmod(position, len(each.uris))
                row = int(self._cycle(number, cycle)[place])
                draws.append(Draw(number, row, seed_of(self._seed, 1 + number, position)))
        return draws

    def batches(self, start: int, stop: int) -> Iterator[list[Draw]]:
        """The batches of the steps from `start` to before `stop`."""
        return (self.batch(step) for step in range(start, stop))

    def _draw_cycle(self, number: int, cycle: int) -> NDArray[np.int64]:
        weights = self._sets[number].weights
        rng = np.random.default_rng((self._seed, number, cycle))
        order = rng.permutation(len(weights))
        if np.ptp(weights) == 0:
            return order
        # systematic sampling: evenly spaced marks along the weights laid end to end, in random order
        ends = np.cumsum(weights[order])
        marks = (np.arange(len(weights)) + rng.random()) / len(weights) * ends[-1]
        return rng.permutation(order[np.searchsorted(ends, marks, side="right").clip(max=len(weights) - 1)])


def seed_of(*parts: int) -> int:
    """A 32-bit seed that has nothing to do with the seeds of other `parts`."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
