"""What each process of `test_ranks` computes: its part of every kind of loss, on its part of a batch."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
from torch import Tensor
from torch import distributed as dist
from torch.nn import functional as F

from trainer.losses.registry import make_loss
from trainer.losses.task_loss import Targets, TaskLoss
from trainer.ranks import ALONE, Ranks
from trainer.recipe import Task

PHOTOS, DIM, CLASSES = 13, 6, 5  # an odd number: one rank has a photo more
SOME = [[0, 2, -1], [1, -1, -1], [-1, -1, -1], [4, 3, 0]]  # labels of every four photos

Case = tuple[TaskLoss, Tensor, Targets]
Found = dict[str, Tensor]


def task(loss: str, **options: object) -> Task:
    of_label = {"labels": ["a", "b", "c"]} if loss == "grouped_softmax" else {"label": "l"}
    return Task.model_validate({"name": "t", "dataset": "d", "loss": loss, **of_label, **options})


def cases() -> dict[str, Case]:
    """Losses in float64 with inputs and targets of a whole batch; the same in every process."""
    torch.manual_seed(0)
    inputs = F.normalize(torch.randn(PHOTOS, DIM, dtype=torch.float64), dim=1)
    several = torch.tensor((SOME * 4)[:PHOTOS])
    others, share = several.roll(1, 0), torch.linspace(0.3, 1, PHOTOS, dtype=torch.float64)
    found: dict[str, Case] = {}
    for name in ("softmax", "norm_softmax", "arcface"):
        on = "trunk" if name == "softmax" else "embedding"
        loss = make_loss(task(name, on=on), DIM, CLASSES).double()
        found[name] = loss, inputs, Targets(several[:, :1], others[:, :1], share)
    for positives in ("together", "apart"):
        loss = make_loss(task("multilabel_arcface", on="embedding", positives=positives), DIM, CLASSES).double()
        found[positives] = loss, inputs, Targets(several, others, share)
    loss = make_loss(task("grouped_softmax"), DIM, CLASSES, CLASSES, CLASSES).double()
    found["grouped_softmax"] = loss, inputs, Targets(several, others, share)
    margins = {"positive_margins": (0.1, 3.5), "negative_margins": (0.2, 3.5)}
    loss = make_loss(task("pairwise", on="embedding", **margins), DIM, CLASSES)
    products = torch.arange(PHOTOS)[:, None] % CLASSES - 1
    found["pairwise"] = loss, inputs, Targets(products, products, torch.ones(PHOTOS))
    return found


def gradients(case: Case, ranks: Ranks) -> Found:
    """The loss and its gradients as every rank has them once the mean over the ranks is taken."""
    loss, inputs, targets = case
    rows = torch.tensor(ranks.part(range(PHOTOS)))
    own = inputs[rows].requires_grad_()
    part = loss(own, Targets(targets.labels[rows], targets.others[rows], targets.share[rows]), ranks)
    part.backward()
    assert own.grad is not None
    found = {"loss": ranks.mean(part), "inputs": own.grad / ranks.size}
    for name, parameter in loss.named_parameters():
        assert parameter.grad is not None
        found[name] = ranks.mean(parameter.grad)
    return found


def whole_batch() -> dict[str, Found]:
    """What one process finds on its own."""
    return {name: gradients(case, ALONE) for name, case in cases().items()}


def in_group(rank: int, size: int, folder: str, work: Callable[[Ranks], object]) -> None:
    """Runs `work` as one of `size` processes and keeps what it returns in `folder`."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size, timeout=timedelta(minutes=10)
    )
    torch.save(work(Ranks(rank, size)), Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def parts_of_losses(ranks: Ranks) -> dict[str, Found]:
    return {name: gradients(case, ranks) for name, case in cases().items()}
