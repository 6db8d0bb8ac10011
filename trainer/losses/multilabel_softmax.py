"""One softmax over all classes with a target of 1/k on each of the k true ones.

The loss of the hashtag work (Mahajan et al., "Exploring the limits of weakly supervised pretraining",
arXiv:1805.00932, section 2.2), where it did better than one sigmoid a class. With one true class it is `softmax_loss`.
"""

from torch import Tensor

from trainer.losses.softmax import Softmax


def multilabel_softmax_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """[n, classes] logits, [n, k] true classes filled up with -1 (at least one is true) -> [n] losses.

    `smoothing` moves that share of the target from the true classes to all classes alike.
    """
    log_probabilities = logits.log_softmax(dim=1)
    true = labels >= 0
    of_true = log_probabilities.gather(1, labels.clamp(min=0)).where(true, 0.0)
    mean_of_true = of_true.sum(dim=1) / true.sum(dim=1)
    return -((1 - smoothing) * mean_of_true + smoothing * log_probabilities.mean(dim=1))


class MultilabelSoftmax(Softmax):
    """The task's classifier with the loss for several labels a photo."""

    multilabel = True

    def forward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """[n, dim] inputs, [n, k] true classes filled up with -1 -> [n] losses."""
        return multilabel_softmax_loss(self.classifier(inputs) / self.temperature, labels, self.smoothing)
