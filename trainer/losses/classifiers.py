"""What turns inputs into an output a class: a linear layer on the features, or proxies on the embedding."""

import torch
from torch import Tensor, nn

from trainer.losses.task_loss import cosines
from trainer.recipe import Task


class Linear(nn.Linear):
    """A head on the features: logits are `features @ weight.T + bias`, nothing else, so numpy can serve it."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__(dim, classes)
        nn.init.normal_(self.weight, std=0.01)
        nn.init.zeros_(self.bias)


class Proxies(nn.Module):
    """One learned direction a class: [n, dim] of length 1 -> [n, classes] cosines."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, dim) * dim**-0.5)

    def forward(self, embeddings: Tensor) -> Tensor:
        return cosines(embeddings, self.weight)


def make_classifier(task: Task, dim: int, classes: int) -> nn.Module | None:
    """The task's classifier; None where a bank in the processor's memory holds its proxies."""
    if task.sampled_classes:
        return None
    return (Proxies if task.on == "embedding" else Linear)(dim, classes)
