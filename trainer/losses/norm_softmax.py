"""NormSoftmax: softmax of cosines with one proxy a class, divided by a temperature.

Zhai and Wu, "Classification is a strong baseline for deep metric learning", arXiv:1811.12649: embeddings and proxies
have length 1, there is no bias, and the temperature is .05. The unified embedding of Zhai et al.
(arXiv:1908.01707) is trained with one of these a dataset.
"""

from torch import Tensor

from trainer.losses.classifiers import make_classifier
from trainer.losses.softmax import softmax_loss
from trainer.losses.task_loss import ClassLoss, full_precision
from trainer.recipe import Task


def norm_softmax_loss(cosines: Tensor, labels: Tensor, temperature: float, smoothing: float = 0.0) -> Tensor:
    """[n, classes] cosines in [-1, 1], [n, 1] true classes -> [n] losses of softmax(cosines / temperature)."""
    return softmax_loss(full_precision(cosines) / temperature, labels, smoothing)


class NormSoftmax(ClassLoss):
    """One proxy a class on the embedding."""

    def __init__(self, task: Task, dim: int, classes: int) -> None:
        super().__init__(make_classifier(task, dim, classes))
        self.temperature, self.smoothing = task.temperature, task.label_smoothing

    def photo_losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return norm_softmax_loss(outputs, labels, self.temperature, self.smoothing)
