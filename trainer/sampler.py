"""Which photos make up which batch: a pure function of the seed and the number of the step.

Nothing is remembered between batches, so a resumed run gets the very batches that the killed one would have had, and
augmentation, seeded by each draw, gives the very same pictures, whatever the number of worker processes. Ranks that
train together take parts of the same batch: how many there are changes nothing about it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np

from trainer.cycles import ProductCycles, Rows, photo_cycle
from trainer.tables import TrainingSet

WHOLE = slice(None)


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
        # of each set the last two: a batch goes on from one to the next, and a small set through many
        self._cycles = [lru_cache(maxsize=2)(partial(self._draw_cycle, number)) for number in range(len(self._sets))]
        self.steps_per_epoch = epoch_steps or max(math.ceil(len(each.uris) / each.quota) for each in self._sets)

    def batch(self, step: int, part: slice = WHOLE) -> list[Draw]:
        """The photos of the batch of `step`, counted from 0 over all epochs; set by set, each as many as its quota.

        `part`: of such a list, those that are wanted.
        """
        places = [(number, position) for number in range(len(self._sets)) for position in self._positions(step, number)]
        return [
            Draw(number, self._row(number, position), seed_of(self._seed, 1 + number, position))
            for number, position in places[part]
        ]

    def batches(self, start: int, stop: int, part: slice = WHOLE) -> Iterator[list[Draw]]:
        """The batches, or that part of each, of the steps from `start` to before `stop`."""
        return (self.batch(step, part) for step in range(start, stop))

    def rows(self, step: int, number: int) -> list[int]:
        """The rows of the set of that number that the batch of `step` has."""
        return [self._row(number, position) for position in self._positions(step, number)]

    def _positions(self, step: int, number: int) -> range:
        """Which photos of a set's endless row of cycles a batch has."""
        quota = self._sets[number].quota
        return range(step * quota, (step + 1) * quota)

    def _row(self, number: int, position: int) -> int:
        cycle, place = divmod(position, self._length(number))
        return int(self._cycles[number](cycle)[place])

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
