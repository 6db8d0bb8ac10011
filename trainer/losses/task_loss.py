"""What a task's loss is made of: a batch's targets in, one number out; the base of all losses with classes."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from trainer.ranks import ALONE, Ranks


@dataclass(frozen=True)
class Targets:
    """The labels of n photos. A photo may be a mixture: `share` of its pixels are its own, the rest another's."""

    labels: Tensor  # int64 [n, k] numbers of classes, filled up with -1; a row of -1 is a photo without a label
    others: Tensor  # int64 [n, k]: of the photo it is mixed with
    share: Tensor  # float32 [n], 1 where a photo is no mixture
    proxies: Tensor | None = None  # [classes drawn, dim] of a proxy bank; labels then count these


class TaskLoss(nn.Module, ABC):
    """A task's loss with its own parameters, its classifier."""

    multilabel: ClassVar[bool] = False  # whether a photo may have several classes

    @abstractmethod
    def forward(self, inputs: Tensor, targets: Targets, ranks: Ranks = ALONE) -> Tensor:
        """[n, dim] inputs -> this rank's part of the mean loss over the batch's photos that have a label, [].

        0, with a gradient of 0, where none has one.
        """

    def heads(self) -> list[tuple[Tensor, Tensor]]:
        """Weight [classes, dim] and bias [classes] of what predictions are made with; none on the embedding."""
        return []


class ClassLoss(TaskLoss):
    """A loss of each photo by what a classifier says of it: logits of a linear layer, or cosines with proxies.

    Without a classifier of its own it takes the proxies that come with the targets, from a bank.
    """

    def __init__(self, classifier: nn.Module | None) -> None:
        super().__init__()
        self.classifier = classifier

    @abstractmethod
    def photo_losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """[n, classes] of the classifier, [n, k] labels of which each row has one -> [n] losses."""

    def forward(self, inputs: Tensor, targets: Targets, ranks: Ranks = ALONE) -> Tensor:
        return mean_over_labelled(lambda rows, labels: self._losses(rows, labels, targets), inputs, targets, ranks)

    def heads(self) -> list[tuple[Tensor, Tensor]]:
        return [(self.classifier.weight, self.classifier.bias)] if isinstance(self.classifier, nn.Linear) else []

    def _losses(self, inputs: Tensor, labels: Tensor, targets: Targets) -> Tensor:
        if targets.proxies is not None:
            return self.photo_losses(cosines(inputs, targets.proxies), labels)
        assert self.classifier is not None, "a loss without classifier needs a bank's proxies"
        return self.photo_losses(self.classifier(inputs), labels)


def cosines(embeddings: Tensor, proxies: Tensor) -> Tensor:
    """[n, dim] of length 1 and [classes, dim] of any length -> [n, classes] cosines."""
    return F.linear(embeddings, F.normalize(proxies, dim=1))


def mean_over_labelled(
    losses: Callable[[Tensor, Tensor], Tensor], inputs: Tensor, targets: Targets, ranks: Ranks = ALONE
) -> Tensor:
    """This rank's part of the mean of `losses` over all ranks' photos that have a label; 0 where none has.

    Of a mixture, each part that has a label counts, and teaches, by its share.
    """
    total, weight = inputs.new_zeros(()), inputs.new_zeros(())
    for labels, part in ((targets.labels, targets.share), (targets.others, 1 - targets.share)):
        labelled = (labels >= 0).any(dim=1) & (part > 0)
        total = total + (losses(inputs[labelled], labels[labelled]) * part[labelled]).sum()
        weight = weight + part[labelled].sum()
    return ranks.size * total / ranks.sum(weight).clamp(min=1e-6)


def full_precision(values: Tensor) -> Tensor:
    """float32 for what came out of mixed precision in fewer bits: exponentials and margins need them."""
    return values if values.dtype.itemsize >= 4 else values.float()


def without_repeats(labels: Tensor) -> Tensor:
    """[n, k] labels with every repetition within a row made -1."""
    same = labels.unsqueeze(2) == labels.unsqueeze(1)  # [n, k, k]
    return labels.masked_fill(same.tril(diagonal=-1).any(dim=2), -1)
