"""A training that kills itself before its n-th change to the disk, `kill -9`, nothing flushed or released.

Python's audit hooks count the changes; production code knows nothing of this.
"""

import os
import signal
import sys
from pathlib import Path

import torch

from tests.trainer.shapes import shapes_recipe
from trainer import training
from trainer.machine import Machine
from trainer.recipe import Recipe

EVENTS = frozenset({"os.rename", "os.remove", "os.mkdir", "open"})


def killed_recipe() -> Recipe:
    """A checkpoint at every step, a measurement at every epoch, the best one kept."""
    return shapes_recipe(
        ("epochs = 3\nema = 0.9", 'epochs = 2\nema = 0.9\ncheckpoint_minutes = 1e-9\nbest_by = "product_id"'),
        ("every = 2", "every = 1"),
        ("quota = 8", "quota = 12"),
    )


def train_until(data: Path, out: Path, at: int, report: Path) -> None:
    """Goes on with the training in `out`, and dies before its `at`-th change to `out`; `report` says before which."""
    torch.set_num_threads(1)
    left = at
    told = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def hear(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event not in EVENTS or not str(arguments[0]).startswith(str(out)):
            return
        if event == "open" and not int(str(arguments[2])) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        left -= 1
        if left == 0:
            os.write(told, f"{event} {Path(str(arguments[0])).name}".encode())
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hear)
    training.train(killed_recipe(), data, out, resume=True, machine=Machine(torch.device("cpu"), 0, 1))
    left = 0
    os.write(told, b"finished")
