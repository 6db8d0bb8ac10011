"""What a student learns from a teacher: to see as it does, and to predict as it does.

All take the student's outputs first and the teacher's, which get no gradient, second.
"""

from torch import Tensor
from torch.nn import functional as F


def embedding_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """[n, dim] both of length 1 -> the mean squared L2 distance, 2 - 2 cos, in [0, 4].

    Vectors of the student then lie where the teacher's do: they can be searched in an index of the teacher's.
    """
    return (2 - 2 * (student * teacher.detach()).sum(dim=1)).mean()


def similarity_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """[n, dim] and [n, other dim] of length 1 -> the mean squared difference of the cosines of all pairs, in [0, 4].

    Relational knowledge distillation (Park et al., arXiv:1904.05068) with cosines for relations: the student may have
    an embedding of another length. 0 where there is no pair.
    """
    n = len(student)
    difference = (student @ student.T - (teacher @ teacher.T).detach()).square()
    pairs = n * (n - 1)
    return (difference.sum() - difference.diagonal().sum()) / max(pairs, 1)


def head_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """[n, classes] logits of both -> the mean KL divergence of the student's softened softmax from the teacher's.

    Times the squared temperature, so that gradients keep their size (Hinton et al., arXiv:1503.02531, section 2).
    """
    wanted = (teacher.detach() / temperature).log_softmax(dim=1)
    found = (student / temperature).log_softmax(dim=1)
    return F.kl_div(found, wanted, reduction="batchmean", log_target=True) * temperature**2
