"""What a student learns from a teacher: to see as it does, and to predict as it does.

All take the student's outputs first and the teacher's, which get no gradient, second, for photos of this rank's own; a
rank may have none. They return this rank's part of the mean over all ranks' photos, or pairs of them.
"""

import torch
from torch import Tensor

from trainer.ranks import ALONE, Ranks


def embedding_distance(student: Tensor, teacher: Tensor, ranks: Ranks = ALONE) -> Tensor:
    """[n, dim] both of length 1 -> the mean squared L2 distance, 2 - 2 cos, in [0, 4].

    Vectors of the student then lie where the teacher's do: they can be searched in an index of the teacher's.
    """
    return _mean(2 - 2 * (student * teacher.detach()).sum(dim=1), ranks)


def similarity_distance(student: Tensor, teacher: Tensor, ranks: Ranks = ALONE) -> Tensor:
    """[n, dim] and [n, other dim] of length 1 -> the mean squared difference of the cosines of all pairs, in [0, 4].

    Relational knowledge distillation (Park et al., arXiv:1904.05068) with cosines for relations: the student may have
    an embedding of another length. Pairs are of all ranks' photos. 0 where there is no pair.
    """
    others, first = ranks.gather(student)
    taught, _ = ranks.gather(teacher)
    difference = (student @ others.T - teacher.detach() @ taught.T).square()
    itself = torch.arange(len(student), device=student.device)
    total = difference.sum() - difference[itself, first + itself].sum()
    # each pair comes twice, as (i, j) and as (j, i), and teaches its photo i here only: the gradient is half of all
    part = 2 * total - total.detach()
    return ranks.size * part / max(len(others) * (len(others) - 1), 1)


def head_divergence(student: Tensor, teacher: Tensor, temperature: float, ranks: Ranks = ALONE) -> Tensor:
    """[n, classes] logits of both -> the mean KL divergence of the student's softened softmax from the teacher's.

    Times the squared temperature, so that gradients keep their size (Hinton et al., arXiv:1503.02531, section 2).
    """
    wanted = (teacher.detach() / temperature).log_softmax(dim=1)
    found = (student / temperature).log_softmax(dim=1)
    return _mean((wanted.exp() * (wanted - found)).sum(dim=1) * temperature**2, ranks)


def _mean(values: Tensor, ranks: Ranks) -> Tensor:
    """This rank's part of the mean over all ranks' [n] values; 0 where there is none."""
    count = ranks.sum(torch.tensor(float(len(values)), device=values.device))
    return ranks.size * values.sum() / count.clamp(min=1)
