"""What each process of `test_ranks` computes: its part of every kind of loss, on its part of a batch."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional as F

from trainer.losses.distillation import embedding_distance, head_divergence, similarity_distance
from trainer.losses.registry import make_loss
from trainer.losses.task_loss import Targets
from trainer.ranks import ALONE, Ranks
from trainer.recipe import Task

PHOTOS, DIM, CLASSES = 13, 6, 5  # an odd number: one rank has a photo more
SOME = [[0, 2, -1], [1, -1, -1], [-1, -1, -1], [4, 3, 0]]  # labels of every four photos

Case = tuple[nn.Module, Tensor, Targets]
Found = dict[str, Tensor]


class Taught(nn.Module):
    """A term of distillation: labels are the places of photos in the teacher's answers, -1 for one not taught."""

    def __init__(self, term: Callable[[Tensor, Tensor, Ranks], Tensor], teacher: Tensor) -> None:
        super().__init__()
        self._term, self._teacher = term, teacher

    def forward(self, inputs: Tensor, targets: Targets, ranks: Ranks) -> Tensor:
        places = targets.labels[:, 0]
        return self._term(inputs[places >= 0], self._teacher[places[places >= 0]], ranks)


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
    same, other = (F.normalize(torch.randn(PHOTOS, dim, dtype=torch.float64), dim=1) for dim in (DIM, DIM + 2))
    # one rank is taught more photos than the other
    places = torch.arange(PHOTOS)[:, None].masked_fill(torch.tensor([[0], [0], [1], [1]] * 4)[:PHOTOS] == 1, -1)
    places[[0, 4]] = -1
    lessons = {
        "teacher's embedding": Taught(embedding_distance, same),
        "teacher's cosines": Taught(similarity_distance, other),
        "teacher's heads": Taught(lambda ours, theirs, ranks: head_divergence(ours, 5 * theirs, 2.0, ranks), same),
    }
    found |= {name: (taught, inputs, Targets(places, places, torch.ones(PHOTOS))) for name, taught in lessons.items()}
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
