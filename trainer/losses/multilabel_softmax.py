"""One softmax over all classes with a target of 1/k on each of the k true ones.

The loss of the hashtag work (Mahajan et al., "Exploring the limits of weakly supervised pretraining",
arXiv:1805.00932, section 2.2), where it did better than one sigmoid a class. With one true class it is `softmax_loss`.
"""

from torch import Tensor

from trainer.losses.classifiers import make_classifier
from trainer.losses.task_loss import ClassLoss, full_precision, without_repeats
from trainer.recipe import Task


def multilabel_softmax_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """[n, classes] logits, [n, k] true classes filled up with -1 (at least one is true) -> [n] losses.

    A class named twice counts once. `smoothing` moves that share of the target from the true classes to all alike.
    """
    log_probabilities = full_precision(logits).log_softmax(dim=1)
    true = without_repeats(labels) >= 0
    of_true = log_probabilities.gather(1, labels.clamp(min=0)).where(true, 0.0)
    mean_of_true = of_true.sum(dim=1) / true.sum(dim=1)
    return -((1 - smoothing) * mean_of_true + smoothing * log_probabilities.mean(dim=1))


class MultilabelSoftmax(ClassLoss):
    """The task's classifier with the loss for several labels a photo; on the embedding, as `norm_softmax` is."""

    multilabel = True

    def __init__(self, task: Task, dim: int, classes: int) -> None:
        super().__init__(make_classifier(task, dim, classes))
        self.temperature = task.temperature if task.on == "embedding" else 1.0
        self.smoothing = task.label_smoothing

    def photo_losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return multilabel_softmax_loss(full_precision(outputs) / self.temperature, labels, self.smoothing)
