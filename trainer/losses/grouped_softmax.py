"""Many softmaxes in one layer: attributes in groups of values that exclude one another, one group a column.

GrokNet (Bell et al., KDD 2020) trains 80 of them on photos of which most lack most labels: a group's loss is the mean
over the photos that have a label in it, and a photo without one gives it no gradient. All groups are one matrix
product, and no photo is picked out, so that 80 groups cost hardly more than one.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from trainer.losses.classifiers import Linear
from trainer.losses.task_loss import Targets, TaskLoss, full_precision
from trainer.ranks import ALONE, Ranks
from trainer.recipe import Task


def grouped_softmax_losses(logits: Tensor, labels: Tensor, groups: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy within each group.

    Args:
        logits: [n, classes], group after group.
        labels: int64 [n, groups], each the number of a class within its group; -1 is none.
        groups: int64 [classes], the number of each class's group, in rising order.
        smoothing: share of the target that moves to all classes of the group alike.

    Returns:
        [n, groups] losses, 0 where there is no label.
    """
    logits = full_precision(logits)
    sizes = torch.bincount(groups, minlength=labels.shape[1])
    firsts = sizes.cumsum(0) - sizes
    of_class = groups.expand(len(logits), -1)
    per_group = logits.new_zeros(labels.shape)
    highest = per_group.scatter_reduce(1, of_class, logits.detach(), "amax", include_self=False)
    powers = (logits - highest.gather(1, of_class)).exp()
    log_sums = highest + per_group.scatter_add(1, of_class, powers).log()
    target = (1 - smoothing) * logits.gather(1, firsts + labels.clamp(min=0))
    if smoothing:
        target = target + smoothing * per_group.scatter_add(1, of_class, logits) / sizes
    return (log_sums - target).masked_fill(labels < 0, 0.0)


class GroupedSoftmax(TaskLoss):
    """One linear layer on the features for all groups; the task's loss is the sum of the groups' means."""

    groups: Tensor

    def __init__(self, task: Task, dim: int, classes: Sequence[int]) -> None:
        """`classes`: how many each group has."""
        super().__init__()
        self.classifier = Linear(dim, sum(classes))
        self.sizes, self.smoothing = tuple(classes), task.label_smoothing
        groups = torch.repeat_interleave(torch.arange(len(classes)), torch.tensor(self.sizes))
        self.register_buffer("groups", groups, persistent=False)

    def forward(self, inputs: Tensor, targets: Targets, ranks: Ranks = ALONE) -> Tensor:
        logits = self.classifier(inputs)
        total = logits.new_zeros(len(self.sizes))
        weight = torch.zeros_like(total)
        for labels, part in ((targets.labels, targets.share), (targets.others, 1 - targets.share)):
            losses = grouped_softmax_losses(logits, labels, self.groups, self.smoothing)
            total = total + (losses * part[:, None]).sum(dim=0)
            weight = weight + ((labels >= 0) * part[:, None]).sum(dim=0)
        means: Tensor = total / ranks.sum(weight).clamp(min=1e-6)
        return ranks.size * means.sum()

    def heads(self) -> list[tuple[Tensor, Tensor]]:
        weights, biases = (
            torch.split(each, list(self.sizes)) for each in (self.classifier.weight, self.classifier.bias)
        )
        return list(zip(weights, biases, strict=True))
