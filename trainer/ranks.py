"""The processes that train together, as `torchrun` starts them: what they add up and gather, and who takes what.

Every rank makes the gradients of its own photos, and DistributedDataParallel takes their mean over the ranks. So what a
rank minimises is scaled: a loss is always *this rank's part*, such that the mean of the parts over the ranks is the
loss of the whole batch, and the mean of their gradients its gradient.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from engine.errors import BadCall

T = TypeVar("T")

# the others wait while the first rank labels photos, measures and exports; in all else torch's own patience is enough
PATIENCE = timedelta(days=7)


@dataclass(frozen=True)
class Ranks:
    """This process's place among those that train together; alone by default."""

    rank: int = 0
    size: int = 1
    local_size: int = 1  # how many of them are on this machine
    waiting: dist.ProcessGroup | None = field(default=None, compare=False, repr=False)  # group with PATIENCE, no GPUs

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes, measures and talks."""
        return self.rank == 0

    @property
    def own(self) -> slice:
        """This rank's entries of a whole, every `size`-th: as many of each dataset as any other has, or one more."""
        return slice(self.rank, None, self.size)

    def part(self, whole: Sequence[T]) -> Sequence[T]:
        """The entries of `whole` that are this rank's `own`."""
        return whole[self.own]

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all ranks of tensors of one shape, on each of them; it has no gradient."""
        total = values.detach()
        if self.size > 1:
            total = total.clone()
            dist.all_reduce(total)
        return total

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all ranks of tensors of one shape, on each of them; it has no gradient."""
        return self.sum(values) / self.size if self.size > 1 else values.detach()

    def gather(self, rows: Tensor) -> tuple[Tensor, int]:
        """[n, ...] rows, n of each rank's own -> all ranks' rows one after another, and the place of this rank's first.

        It has no gradient.
        """
        rows = rows.detach()
        if self.size == 1:
            return rows, 0
        counts = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(self.size)]
        dist.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
        lengths = [int(count) for count in counts]
        # tensors of one shape is what every backend can gather
        padded = rows.new_zeros((max(lengths), *rows.shape[1:]))
        padded[: len(rows)] = rows
        found = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(found, padded)
        whole = torch.cat([part[:length] for part, length in zip(found, lengths, strict=True)])
        return whole, sum(lengths[: self.rank])

    def everybodys(self, value: T) -> list[T]:
        """Small values of all ranks, in their order, on each of them; whoever comes first waits."""
        if self.size == 1:
            return [value]
        found: list[T | None] = [None] * self.size
        dist.all_gather_object(found, value, group=self.waiting)
        return found  # type: ignore[return-value]  # torch has put a value into each place

    def wait(self) -> None:
        """Until every rank has come here, for as long as PATIENCE allows."""
        if self.size > 1:
            dist.barrier(group=self.waiting)


ALONE = Ranks()


@contextmanager
def joined() -> Iterator[Ranks]:
    """The ranks that `torchrun` started, for the time of the `with`; ALONE in a process that it did not start.

    Raises BadCall where a machine is asked for more ranks with a GPU than it has GPUs.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    local, local_size = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if torch.cuda.is_available():
        if local >= torch.cuda.device_count():
            raise BadCall(
                f"There are {torch.cuda.device_count()} GPUs for {local_size} processes; "
                "start torchrun with a --nproc-per-node of at most that."
            )
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    yield Ranks(dist.get_rank(), dist.get_world_size(), local_size, dist.new_group(backend="gloo", timeout=PATIENCE))
    # not after an error: NCCL's farewell may wait for ranks that are still in a step, and a process that
    # does not end keeps torchrun from ending the others
    dist.destroy_process_group()
