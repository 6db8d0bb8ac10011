"""ArcFace: softmax on scaled cosines, the true class's angle made `margin` radians wider.

Deng et al., "ArcFace: additive angular margin loss", arXiv:1801.07698, eq. 3.
"""

import math

from torch import Tensor

from trainer.losses.classifiers import make_classifier
from trainer.losses.softmax import softmax_loss
from trainer.losses.task_loss import ClassLoss, full_precision
from trainer.recipe import Task

EPSILON = 1e-7  # keeps cosines inside (-1, 1), where the sine's gradient is finite


def cosine_of_wider_angle(cosine: Tensor, margin: float) -> Tensor:
    """cos(theta + margin) for cosines of theta, without acos, whose gradient is infinite at both ends.

    Beyond theta = pi - margin the cosine would rise again, so that a worse angle would cost less; there the
    straight line cos(theta) - margin * sin(margin) goes on, as in the authors' own code.
    """
    cosine = cosine.clamp(-1 + EPSILON, 1 - EPSILON)
    sine = (1 - cosine.square()).clamp(min=1e-9).sqrt()
    wider = cosine * math.cos(margin) - sine * math.sin(margin)
    return wider.where(cosine > math.cos(math.pi - margin), cosine - margin * math.sin(margin))


def arcface_loss(cosines: Tensor, labels: Tensor, scale: float, margin: float, smoothing: float = 0.0) -> Tensor:
    """[n, classes] cosines in [-1, 1], [n, 1] true classes -> [n] losses."""
    cosines = full_precision(cosines)
    true = cosines.gather(1, labels)
    logits = cosines.scatter(1, labels, cosine_of_wider_angle(true, margin))
    return softmax_loss(scale * logits, labels, smoothing)


class ArcFace(ClassLoss):
    """One proxy a class on the embedding, with ArcFace's margin and scale."""

    def __init__(self, task: Task, dim: int, classes: int) -> None:
        super().__init__(make_classifier(task, dim, classes))
        self.scale, self.margin, self.smoothing = task.scale, task.margin, task.label_smoothing

    def photo_losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return arcface_loss(outputs, labels, self.scale, self.margin, self.smoothing)
