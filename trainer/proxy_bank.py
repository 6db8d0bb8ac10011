"""Proxies of more classes than a GPU holds: a bank in the processor's memory, of which each step takes a few.

Zhai et al., "Learning a unified embedding for visual search at Pinterest" (arXiv:1908.01707): softmax over
all classes of the batch and a random sample of the others. A step reads and writes only the rows it drew; they learn by
plain gradient descent, since momentum would take a second bank and move rows that nobody drew. Rows are put back
to length 1 after each step: only their direction counts, and a longer row would learn slower.
"""

from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

Classes = NDArray[np.int64]
CHUNK = 2**16  # rows begun at a time, so that beginning takes no second bank


class ProxyBank:
    """One proxy of length 1 a class, float32 [classes, dim] in the processor's memory."""

    def __init__(self, weight: Tensor) -> None:
        """`weight` is taken as it is, not copied: rows of length 1."""
        self.weight = weight

    @classmethod
    def random(cls, classes: int, dim: int, seed: int) -> Self:
        """Directions drawn evenly by `seed`."""
        generator = torch.Generator().manual_seed(seed)
        weight = torch.empty(classes, dim)
        for rows in torch.split(weight, CHUNK):
            F.normalize(rows.normal_(generator=generator), dim=1, out=rows)
        return cls(weight)

    def draw(self, true: Classes, count: int, seed: int) -> Classes:
        """`count` classes in rising order: all of `true`, even if they are more, and others drawn evenly."""
        wanted = np.unique(true)
        missing = min(count, len(self.weight)) - len(wanted)
        if missing <= 0:
            return wanted
        rng = np.random.default_rng(seed)
        # as many as could be needed if all the true ones were drawn too
        drawn = rng.choice(len(self.weight), min(len(self.weight), missing + len(wanted)), replace=False)
        others = drawn[~np.isin(drawn, wanted)][:missing]
        return np.sort(np.concatenate([wanted, others]))

    def rows(self, drawn: Classes, device: torch.device) -> Tensor:
        """[drawn, dim] a copy of these classes' proxies on `device`, which takes gradients."""
        return self.weight[torch.from_numpy(drawn)].to(device).requires_grad_()

    def learn(self, drawn: Classes, gradient: Tensor, rate: float) -> None:
        """One step of gradient descent on the rows of `drawn`, which are different classes."""
        places = torch.from_numpy(drawn)
        changed = self.weight[places].sub_(gradient.to("cpu", torch.float32), alpha=rate)
        self.weight[places] = F.normalize(changed, dim=1)


def renumbered(labels: Classes, drawn: Classes) -> Classes:
    """Numbers of classes -> their places in `drawn`, which has them all; -1 stays."""
    places = np.searchsorted(drawn, labels)
    return np.where(labels >= 0, places, -1)
