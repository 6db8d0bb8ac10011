"""Which photos make up which batch: a pure function of the seed and the number of the step.

Nothing is remembered between batches, so a resumed run gets the very batches that the killed one would have had, and
augmentation, seeded by each draw, gives the very same pictures, whatever the number of worker processes. Ranks that
train together take parts of the same batch: how many there are changes nothing about it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from trainer.cycles import ProductCycles, Rows, photo_cycle
from trainer.tables import TrainingSet


@dataclass(frozen=True, slots=True)
class Draw:
    """One photo of a batch, and the seed of what augmentation does to it."""

    set: int
    row: int
    seed: int  # 32 bits


class BatchSampler:
    """Batches with a fixed quota of every set. An epoch is as long as its largest set, by quota, needs to be seen once.

    Each set is an endless row of cycles (`trainer.cycles`). A small set just begins its next cycles while a large one
    is in its first.
    """

    def __init__(self, sets: Sequence[TrainingSet], seed: int, epoch_steps: int | None = None) -> None:
        """`epoch_steps`: another length of an epoch; the batches stay the same."""
        self._sets, self._seed = tuple(sets), seed
        self._products = [_product_cycles(each) for each in self._sets]
        self._cycle = lru_cache(maxsize=2 * len(self._sets))(self._draw_cycle)
        self.steps_per_epoch = epoch_steps or max(math.ceil(len(each.uris) / each.quota) for each in self._sets)

    def batch(self, step: int) -> list[Draw]:
        """The photos of the batch of `step`, counted from 0 over all epochs; set by set, each as many as its quota."""
        draws = []
        for number, each in enumerate(self._sets):
            for position in range(step * each.quota, (step + 1) * each.quota):
                cycle, place = divmod(position, self._length(number))
                row = int(self._cycle(number, cycle)[place])
                draws.append(Draw(number, row, seed_of(self._seed, 1 + number, position)))
        return draws

    def batches(self, start: int, stop: int) -> Iterator[list[Draw]]:
        """The batches of the steps from `start` to before `stop`."""
        return (self.batch(step) for step in range(start, stop))

    def _length(self, number: int) -> int:
        """Photos of a cycle of the set."""
        products = self._products[number]
        return products.length if products else len(self._sets[number].uris)

    def _draw_cycle(self, number: int, cycle: int) -> Rows:
        rng = np.random.default_rng((self._seed, number, cycle))
        products = self._products[number]
        return products.draw(rng) if products else photo_cycle(self._sets[number].weights, rng)


def _product_cycles(each: TrainingSet) -> ProductCycles | None:
    if each.products is None:
        return None
    return ProductCycles(each.products, each.weights, each.quota, each.per_product)


def seed_of(*parts: int) -> int:
    """A 32-bit seed that has nothing to do with the seeds of other `parts`."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
