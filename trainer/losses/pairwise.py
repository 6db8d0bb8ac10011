"""Pairs of photos: the same product is drawn together, two products are pushed apart, between two margins each.

GrokNet's embedding loss (Bell et al., KDD 2020) over all ordered pairs of different photos, D the squared distance:

    L = 1/Np  sum over pairs of one product   [ max(0, min(D, outer_p) - inner_p) ] ** a
      + w/Nn  sum over pairs of two products  [ max(0, outer_n - max(D, inner_n)) ] ** a

Pairs that are good, nearer than inner_p or farther than outer_n, cost nothing. Outliers, one product farther apart than
outer_p or two nearer than inner_n, cost a constant and so have no gradient: they are likely wrong labels. The
published values are a = 1.5, inner_p = .1, outer_p = .7, inner_n = 0 (no outliers), outer_n = .7, w = 10,000.

The distances of all photos of all ranks are needed, of which each rank makes the rows of its own photos, a block at a
time. The gradient is known in closed form and made in the same pass, so nothing of N x N outlives its block. As the
matrix is symmetric, a row has all there is to know about its photo: no gradient goes from rank to rank.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from trainer.losses.task_loss import Targets, TaskLoss, full_precision
from trainer.ranks import ALONE, Ranks
from trainer.recipe import Task

BLOCK = 2**19  # distances at a time on a processor: 2 MB, which its caches hold; a GPU takes 64 times as many


@dataclass(frozen=True)
class Margins:
    """Inner and outer margins are squared distances of unit vectors, in [0, 4]."""

    positive: tuple[float, float] = (0.1, 0.7)
    negative: tuple[float, float] = (0.0, 0.7)
    power: float = 1.5
    negative_weight: float = 10_000.0


def pairwise_loss(embeddings: Tensor, products: Tensor, margins: Margins, ranks: Ranks = ALONE) -> Tensor:
    """[n, dim] embeddings of length 1 and [n] numbers of products, n of this rank's own -> its part of the loss, [].

    0, with a gradient of 0, where there is no pair of either kind. A second derivative does not exist.
    """
    loss: Tensor = _BlockedPairs.apply(full_precision(embeddings), products, margins, ranks)  # type: ignore[no-untyped-call]
    return loss


class _BlockedPairs(torch.autograd.Function):
    """The loss and its gradient in one pass; backward only scales what forward found."""

    @staticmethod
    def forward(ctx: Any, embeddings: Tensor, products: Tensor, margins: Margins, ranks: Ranks) -> Tensor:
        with torch.autocast(embeddings.device.type, enabled=False):
            all_embeddings, first = ranks.gather(embeddings)
            all_products, _ = ranks.gather(products)
            loss, gradient = _pairs(_Rows(embeddings, products), _Rows(all_embeddings, all_products), first, margins)
        # the mean over the ranks is taken of both
        ctx.save_for_backward(gradient.mul_(ranks.size))
        return loss * ranks.size

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]  # untyped in torch
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return scale * gradient, None, None, None


@dataclass(frozen=True)
class _Rows:
    embeddings: Tensor  # [n, dim]
    products: Tensor  # [n]


def _pairs(own: _Rows, everybody: _Rows, first: int, margins: Margins) -> tuple[Tensor, Tensor]:
    """What the pairs of `own`, which are the rows of `everybody` from `first` on, add to the loss, and own gradient."""
    others, count = everybody.embeddings, len(everybody.embeddings)
    sizes = everybody.products.unique(return_counts=True)[1].double()
    positives = (sizes * (sizes - 1)).sum()
    negatives = count * (count - 1) - positives
    positive_weight, negative_weight = (1 / each.clamp(min=1) for each in (positives, negatives))
    negative_weight = margins.negative_weight * negative_weight
    total = torch.zeros((), dtype=torch.float64, device=others.device)
    gradient = torch.empty_like(own.embeddings)
    step = max(1, BLOCK * (64 if others.is_cuda else 1) // max(1, count))
    for start in range(0, len(own.embeddings), step):
        distance = (own.embeddings[start : start + step] @ others.T).mul_(-2).add_(2).clamp_(min=0)
        same = own.products[start : start + step, None] == everybody.products
        row, column = same.nonzero(as_tuple=True)
        itself = column == row + (first + start)
        pull, pulled = _positive_pairs(distance[row, column], margins)
        push, pushed = _negative_pairs(distance, same, margins)
        total += positive_weight * pulled[~itself].sum(dtype=torch.float64)
        total += negative_weight * pushed
        # from here on the block holds the loss's slope along each distance
        slope = push.mul_(-negative_weight.to(push.dtype))
        slope[row, column] = (pull * positive_weight.to(pull.dtype)).masked_fill_(itself, 0.0)
        # a pair is in the sum twice, and D = 2 - 2 x.y falls by 2 y along x
        torch.mm(slope, others, out=gradient[start : start + step]).mul_(-4)
    return total.to(others.dtype), gradient


def _positive_pairs(distance: Tensor, margins: Margins) -> tuple[Tensor, Tensor]:
    """[m] distances within products -> slopes and losses, unweighted."""
    inner, outer = margins.positive
    excess = (distance.clamp(max=outer) - inner).clamp_(min=0)
    root = excess.pow(margins.power - 1)
    slope = (margins.power * root).masked_fill_((distance > outer) | (distance < inner), 0.0)
    return slope, excess * root


def _negative_pairs(distance: Tensor, same: Tensor, margins: Margins) -> tuple[Tensor, Tensor]:
    """[b, n] distances, of which those of the `same` product do not count -> slopes [b, n], less their sign, and the
    sum of losses, both unweighted. `distance` is used up."""
    inner, outer = margins.negative
    outliers = distance < inner if inner > 0 else None
    missing = distance.clamp_(min=inner).neg_().add_(outer).clamp_(min=0).masked_fill_(same, 0.0)
    root = missing.sqrt() if margins.power == 1.5 else missing.pow(margins.power - 1)
    loss = torch.dot(root.view(-1), missing.view(-1)).double()
    slope = root.mul_(margins.power)
    if margins.power == 1:  # 0 ** 0 is 1, but a pair that costs nothing has no slope
        slope.masked_fill_(missing == 0, 0.0)
    if outliers is not None:
        slope.masked_fill_(outliers, 0.0)
    return slope, loss


class Pairwise(TaskLoss):
    """The loss of all pairs that a batch has of a dataset, with no parameters of its own.

    A photo that is mixed with another shows no one product and takes no part.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.margins = Margins(task.positive_margins, task.negative_margins, task.power, task.negative_weight)

    def forward(self, inputs: Tensor, targets: Targets, ranks: Ranks = ALONE) -> Tensor:
        known = (targets.labels[:, 0] >= 0) & (targets.share == 1)
        return pairwise_loss(inputs[known], targets.labels[known, 0], self.margins, ranks)
