"""What a training runs on."""

from dataclasses import dataclass

import torch

from engine.settings import cores, thread_count
from trainer.ranks import ALONE, Ranks


@dataclass(frozen=True)
class Machine:
    """What the training runs on."""

    device: torch.device
    workers: int  # processes that prepare photos; 0: none but the training process itself
    threads: int  # of the training process
    ranks: Ranks = ALONE  # the processes that train together

    @classmethod
    def here(cls, workers: int | None = None, ranks: Ranks = ALONE) -> "Machine":
        """A GPU where there is one, else the processor; few workers beside a processor that is itself training.

        The ranks on this machine share its cores.
        """
        device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
        usual = (cores() - 1 if device.type == "cuda" else cores() // 8) // ranks.local_size
        threads = max(1, thread_count() // ranks.local_size)
        return cls(device, max(1, usual) if workers is None else workers, threads, ranks)
