"""Softmax cross-entropy of a linear layer on the features: one of several classes that exclude one another."""

from torch import Tensor
from torch.nn import functional as F

from trainer.losses.classifiers import make_classifier
from trainer.losses.task_loss import ClassLoss, full_precision
from trainer.recipe import Task


def softmax_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """[n, classes] logits, [n, 1] true classes -> [n] losses, -log of the true class's share of the sum of exp(logits).

    `smoothing` moves that share of the target from the true class to all classes alike.
    """
    return F.cross_entropy(full_precision(logits), labels[:, 0], reduction="none", label_smoothing=smoothing)


class Softmax(ClassLoss):
    """The task's linear head and its loss."""

    def __init__(self, task: Task, dim: int, classes: int) -> None:
        super().__init__(make_classifier(task, dim, classes))
        self.smoothing = task.label_smoothing

    def photo_losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return softmax_loss(outputs, labels, self.smoothing)
