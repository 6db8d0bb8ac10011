"""The losses a recipe can name. A new one is a file in this folder, a line here and a name in `trainer.recipe.Task`."""

from torch import Tensor, nn

from trainer.losses.arcface import ArcFace
from trainer.losses.multilabel_softmax import MultilabelSoftmax
from trainer.losses.softmax import Softmax
from trainer.recipe import Task

LOSSES: dict[str, type[Softmax] | type[ArcFace]] = {
    "softmax": Softmax,
    "multilabel_softmax": MultilabelSoftmax,
    "arcface": ArcFace,
}


def make_loss(task: Task, dim: int, classes: int) -> nn.Module:
    """The module that turns [n, dim] inputs and [n, k] labels into [n] losses, with its own parameters."""
    return LOSSES[task.loss](task, dim, classes)


def takes_many_labels(task: Task) -> bool:
    """Whether a photo may have several classes of this task."""
    return LOSSES[task.loss].multilabel


def mixed_mean(loss: nn.Module, inputs: Tensor, labels: Tensor, mixed_labels: Tensor, share: Tensor) -> Tensor:
    """The mean loss of the photos that have a label; 0, with a gradient of 0, where none has.

    A photo may be a mixture: `share` [n] of its pixels are of `labels` [n, k], the rest of `mixed_labels` [n, k].
    A row of labels that is all -1 is no label; the photo then counts, and learns, only as much as it has one.
    """
    total, weight = inputs.new_zeros(()), inputs.new_zeros(())
    for targets, part in ((labels, share), (mixed_labels, 1 - share)):
        labelled = (targets >= 0).any(dim=1) & (part > 0)
        total = total + (loss(inputs[labelled], targets[labelled]) * part[labelled]).sum()
        weight = weight + part[labelled].sum()
    return total / weight.clamp(min=1e-6)
