"""ArcFace for photos with several true classes: a margin on each of them.

Bell et al., "GrokNet: unified computer vision model trunk and embeddings for commerce" (KDD 2020), train with such a
loss, but its formula is only published as a picture. Both readings are here; with one true class both are
`arcface_loss`. s is the scale, m the margin, P the k true classes of a photo:

together    one softmax over all classes with a target of 1/k on each true one, as `multilabel_softmax`:
            mean over j in P of  -log( z_j / sum over all c of z_c )
apart       true classes do not compete with one another:
            mean over j in P of  -log( z_j / (z_j + sum over c not in P of z_c) )

with z_c = exp(s cos(theta_c + m)) for c in P and exp(s cos(theta_c)) for the others.
"""

import torch
from torch import Tensor

from trainer.losses.arcface import cosine_of_wider_angle
from trainer.losses.classifiers import make_classifier
from trainer.losses.multilabel_softmax import multilabel_softmax_loss
from trainer.losses.task_loss import ClassLoss, full_precision, without_repeats
from trainer.recipe import Task

NOTHING = -1e30


def true_classes(labels: Tensor, classes: int) -> Tensor:
    """[n, k] labels filled up with -1 -> bool [n, classes]."""
    # a column more takes what the fills stand for and is cut off
    places = labels.where(labels >= 0, classes)
    none = torch.zeros(len(labels), classes + 1, dtype=torch.bool, device=labels.device)
    return none.scatter(1, places, True)[:, :-1]


def multilabel_arcface_together_loss(
    cosines: Tensor, labels: Tensor, scale: float, margin: float, smoothing: float = 0.0
) -> Tensor:
    """[n, classes] cosines in [-1, 1], [n, k] true classes filled up with -1 (at least one is true) -> [n] losses."""
    cosines = full_precision(cosines)
    true = true_classes(labels, cosines.shape[1])
    logits = cosine_of_wider_angle(cosines, margin).where(true, cosines)
    return multilabel_softmax_loss(scale * logits, labels, smoothing)


def multilabel_arcface_apart_loss(cosines: Tensor, labels: Tensor, scale: float, margin: float) -> Tensor:
    """[n, classes] cosines in [-1, 1], [n, k] true classes filled up with -1 (at least one is true) -> [n] losses."""
    cosines = full_precision(cosines)
    # a finite stand-in for log(0): a photo of all classes has no others, and infinities have no gradient
    others = (scale * cosines).masked_fill(true_classes(labels, cosines.shape[1]), NOTHING)
    of_others = others.logsumexp(dim=1, keepdim=True)
    own = scale * cosine_of_wider_angle(cosines.gather(1, labels.clamp(min=0)), margin)
    true = without_repeats(labels) >= 0
    losses = (torch.logaddexp(own, of_others) - own).where(true, 0.0)
    return losses.sum(dim=1) / true.sum(dim=1)


class MultilabelArcFace(ClassLoss):
    """One proxy a class on the embedding; `positives` of the recipe says which formula."""

    multilabel = True

    def __init__(self, task: Task, dim: int, classes: int) -> None:
        super().__init__(make_classifier(task, dim, classes))
        self.scale, self.margin, self.smoothing = task.scale, task.margin, task.label_smoothing
        self.apart = task.positives == "apart"

    def photo_losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        if self.apart:
            return multilabel_arcface_apart_loss(outputs, labels, self.scale, self.margin)
        return multilabel_arcface_together_loss(outputs, labels, self.scale, self.margin, self.smoothing)
