"""Softmax cross-entropy: of a linear layer on the features, or of cosines with one proxy a class on the embedding.

On the embedding this is NormSoftmax (Zhai and Wu, "Classification is a strong baseline for deep metric learning",
arXiv:1811.12649): inputs and proxies have length 1, cosines are divided by a temperature, no bias.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.recipe import Task


def softmax_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """[n, classes] logits, [n, 1] true classes -> [n] losses.

    `smoothing` moves that share of the target from the true class to all classes alike.
    """
    return F.cross_entropy(logits, labels[:, 0], reduction="none", label_smoothing=smoothing)


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
        return F.linear(embeddings, F.normalize(self.weight, dim=1))


class Softmax(nn.Module):
    """The task's classifier and its loss; `classifier` is what is exported as a head."""

    multilabel = False

    def __init__(self, task: Task, dim: int, classes: int) -> None:
        super().__init__()
        self.classifier: nn.Module = (Proxies if task.on == "embedding" else Linear)(dim, classes)
        self.temperature = task.temperature if task.on == "embedding" else 1.0
        self.smoothing = task.label_smoothing

    def forward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """[n, dim] inputs, [n, 1] true classes -> [n] losses."""
        return softmax_loss(self.classifier(inputs) / self.temperature, labels, self.smoothing)
