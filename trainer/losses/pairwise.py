"""Pairs of photos: the same product is drawn together, two products are pushed apart, between two margins each.

GrokNet's embedding loss (Bell et al., KDD 2020) over all ordered pairs of different photos, D the squared distance:

    L = 1/Np  sum over pairs of one product   [ max(0, min(D, outer_p) - inner_p) ] ** a
      + w/Nn  sum over pairs of two products  [ max(0, outer_n - max(D, inner_n)) ] ** a

Pairs that are good, nearer than inner_p or farther than outer_n, cost nothing. Outliers, one product farther apart than
outer_p or two nearer than inner_n, cost a constant and so have no gradient: they are likely wrong labels. The
published values are a = 1.5, inner_p = .1, outer_p = .7, inner_n = 0 (no outliers), outer_n = .7, w = 10,000.

The distances of all photos of all ranks are needed, of which each rank makes the rows of its own photos, a block at a
time. The gradient is known in closed form and made in the same pass, so nothing of N x N outlives its block, and of a
block only the pairs that cost or teach something, soon the fewest, are looked at. As the matrix is symmetric, a row
has all there is to know about its photo: no gradient goes from rank to rank.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from trainer.losses.task_loss import Targets, TaskLoss, full_precision
from trainer.ranks import ALONE, Ranks
from trainer.recipe import Task

BLOCK = 2**21  # distances at a time, 8 MB: more would leave a processor's caches
GPU_BLOCK = 2**22  # enough to keep a GPU busy; a quarter of the pairs of 4,416 photos
# a block in which fewer than one pair in so many matters is multiplied pair by pair, if those pairs' vectors take no
# more room than the block
SPARSE = 64


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
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return scale * gradient, None, None, None


@dataclass(frozen=True)
class _Rows:
    embeddings: Tensor  # [n, dim]
    products: Tensor  # [n]


@dataclass(frozen=True)
class _Block:
    """Some rows of the matrix of all pairs, [b, n]."""

    distances: Tensor
    alike: Tensor  # whether a pair is of one product
    first: int  # the column of the first row's own photo


def _pairs(own: _Rows, everybody: _Rows, first: int, margins: Margins) -> tuple[Tensor, Tensor]:
    """What the pairs of `own`, which are the rows of `everybody` from `first` on, add to the loss, and own gradient."""
    others = everybody.embeddings
    costs = _Costs.of_batch(everybody.products, margins)
    total = torch.zeros((), dtype=torch.float64, device=others.device)
    gradient = torch.zeros_like(own.embeddings)
    size = GPU_BLOCK if others.is_cuda else BLOCK
    step = max(1, size // max(1, len(others)))
    for start in range(0, len(own.embeddings), step):
        rows = slice(start, start + step)
        distances = (own.embeddings[rows] @ others.T).mul_(-2).add_(2).clamp_(min=0)
        block = _Block(distances, own.products[rows, None] == everybody.products, first + start)
        matters = (distances < margins.negative[1]) | block.alike
        count = int(matters.count_nonzero())
        few = SPARSE * count < matters.numel() and count * others.shape[1] <= size
        add = _add_some if few else _add_all
        total += add(gradient[rows], block, matters, others, costs)
    # a pair is in the sum twice, and D = 2 - 2 x.y falls by 2 y along x
    return total.to(others.dtype), gradient.mul_(-4)


def _add_some(gradient: Tensor, block: _Block, matters: Tensor, others: Tensor, costs: "_Costs") -> Tensor:
    """Adds slopes times `others` to `gradient`, one by one for the pairs that matter; returns what they cost."""
    row, column = matters.nonzero(as_tuple=True)
    distance, same = block.distances[row, column], block.alike[row, column]
    itself = column == row + block.first
    slope, cost = (
        torch.where(same, pulled, pushed).masked_fill_(itself, 0)
        for pulled, pushed in zip(costs.of_one_product(distance), costs.of_two_products(distance), strict=True)
    )
    gradient.index_add_(0, row, slope[:, None] * others[column])
    return cost.sum(dtype=torch.float64)


def _add_all(gradient: Tensor, block: _Block, _: Tensor, others: Tensor, costs: "_Costs") -> Tensor:
    """The same for all pairs at once, by a matrix product."""
    row, column = block.alike.nonzero(as_tuple=True)
    itself = column == row + block.first
    pull, pulled = (each.masked_fill_(itself, 0) for each in costs.of_one_product(block.distances[row, column]))
    slopes, pushed = (each.masked_fill_(block.alike, 0) for each in costs.of_two_products(block.distances))
    slopes[row, column] = pull
    torch.mm(slopes, others, out=gradient)
    return pulled.sum(dtype=torch.float64) + pushed.sum(dtype=torch.float64)


@dataclass(frozen=True)
class _Costs:
    """What pairs cost in a batch, by their distances: each method gives slopes and costs of the same shape."""

    margins: Margins
    positive_weight: float
    negative_weight: float

    @classmethod
    def of_batch(cls, products: Tensor, margins: Margins) -> "_Costs":
        sizes = torch.unique(products, return_counts=True)[1].double()
        positives = float((sizes * (sizes - 1)).sum())
        negatives = len(products) * (len(products) - 1) - positives
        return cls(margins, 1 / max(1, positives), margins.negative_weight / max(1, negatives))

    def of_one_product(self, distance: Tensor) -> tuple[Tensor, Tensor]:
        inner, outer = self.margins.positive
        excess = (distance.clamp(max=outer) - inner).clamp_(min=0)
        root = excess.pow(self.margins.power - 1).mul_(self.positive_weight)
        cost = excess.mul_(root)
        return root.mul_(self.margins.power).masked_fill_((distance > outer) | (distance <= inner), 0), cost

    def of_two_products(self, distance: Tensor) -> tuple[Tensor, Tensor]:
        inner, outer = self.margins.negative
        missing = (outer - distance.clamp(min=inner)).clamp_(min=0)
        root = missing.pow(self.margins.power - 1).mul_(self.negative_weight)
        cost = missing.mul_(root)
        return root.mul_(-self.margins.power).masked_fill_((distance < inner) | (distance >= outer), 0), cost


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
