"""A program for torchrun whose last rank fails while the others wait; it says whether it took its leave first."""

import sys

import torch
from torch import distributed as dist

from trainer.ranks import joined


def main() -> None:
    try:
        with joined() as ranks:
            ranks.sum(torch.ones(1))
            if ranks.rank == ranks.size - 1:
                raise RuntimeError("this rank fails")
            ranks.wait()
    except RuntimeError as error:
        if "this rank fails" in str(error):
            sys.stdout.write(f"failed, {'still' if dist.is_initialized() else 'no longer'} in the group\n")
        raise


if __name__ == "__main__":
    main()
