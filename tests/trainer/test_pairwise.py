"""The pairwise loss against its formula pair by pair, finite differences, and one process against several."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from tests.trainer.test_losses import plain
from trainer.losses import pairwise
from trainer.losses.pairwise import Margins, Pairwise, pairwise_loss
from trainer.losses.task_loss import Targets
from trainer.recipe import Task

PAPER = Margins()
# wide enough for random vectors to meet all their parts
WIDE = Margins(positive=(0.3, 1.9), negative=(0.5, 2.1), negative_weight=3.0)


def unit_vectors(seed: int, rows: int, dim: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, dim, generator=generator, dtype=torch.float64), dim=1)


def oracle(embeddings: Tensor, products: Tensor, margins: Margins) -> float:
    """The formula, one ordered pair after the other."""
    positive: list[float] = []
    negative: list[float] = []
    for i, one in enumerate(embeddings.tolist()):
        for j, other in enumerate(embeddings.tolist()):
            distance = sum((a - b) ** 2 for a, b in zip(one, other, strict=True))
            if i != j and products[i] == products[j]:
                positive.append(max(0.0, min(distance, margins.positive[1]) - margins.positive[0]) ** margins.power)
            elif i != j:
                cost = max(0.0, margins.negative[1] - max(distance, margins.negative[0]))
                negative.append(margins.negative_weight * cost**margins.power)
    return sum(float(np.mean(costs)) for costs in (positive, negative) if costs)


def by_autograd(embeddings: Tensor, products: Tensor, margins: Margins) -> Tensor:
    """The formula over whole matrices, whose gradient is torch's own."""
    distance = (2 - 2 * embeddings @ embeddings.T).clamp(min=0)
    same = products[:, None] == products
    itself = torch.eye(len(products), dtype=torch.bool)
    positive = (distance.clamp(max=margins.positive[1]) - margins.positive[0]).clamp(min=0)[same & ~itself]
    negative = (margins.negative[1] - distance.clamp(min=margins.negative[0])).clamp(min=0)[~same]
    loss = embeddings.sum() * 0
    if len(positive):
        loss = loss + positive.pow(margins.power).mean()
    if len(negative):
        loss = loss + margins.negative_weight * negative.pow(margins.power).mean()
    return loss


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(0, 12),
    kinds=st.integers(1, 6),
    margins=st.sampled_from([PAPER, WIDE, Margins((0.2, 1.5), (0.3, 1.8), power=2.0)]),
)
def test_it_is_its_formula(seed: int, rows: int, kinds: int, margins: Margins) -> None:
    embeddings = unit_vectors(seed, rows)
    products = torch.randint(0, kinds, (rows,), generator=torch.Generator().manual_seed(seed))
    found = float(pairwise_loss(embeddings, products, margins))
    assert found == pytest.approx(oracle(embeddings, products, margins), rel=1e-9, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    kinds=st.integers(1, 9),
    power=st.sampled_from([1.0, 1.5, 2.0]),
    block=st.sampled_from([1, 30, 10_000]),
    sparse=st.sampled_from([0, 64]),  # 0: pair by pair, however many matter
)
def test_its_gradient_is_that_of_the_formula_whatever_the_blocks(
    seed: int, kinds: int, power: float, block: int, sparse: int
) -> None:
    products = torch.randint(0, kinds, (9,), generator=torch.Generator().manual_seed(seed))
    margins = Margins(WIDE.positive, WIDE.negative, power, 3.0)
    expected, found = (unit_vectors(seed, 9).requires_grad_() for _ in range(2))
    by_autograd(expected, products, margins).backward()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairwise, "BLOCK", block)
        patch.setattr(pairwise, "SPARSE", sparse)
        loss = pairwise_loss(found, products, margins)
        (2 * loss).backward()
    assert float(loss.detach()) == pytest.approx(oracle(found.detach(), products, margins), rel=1e-9, abs=1e-12)
    torch.testing.assert_close(found.grad, 2 * expected.grad)


class Largest(TorchDispatchMode):
    """Notes the largest tensor that is made inside the `with`, in numbers."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for each in found if isinstance(found, tuple | list) else (found,):
            if isinstance(each, Tensor):
                self.numbers = max(self.numbers, each.numel())
        return found


def test_a_gpus_block_is_far_from_all_pairs_of_the_papers_batch() -> None:
    assert 4 * pairwise.GPU_BLOCK < 4416**2


@pytest.mark.parametrize("alike", [1, 20])  # no pair matters, or one in 70, whose vectors are more than a block
def test_nothing_as_large_as_all_pairs_is_ever_made(alike: int, monkeypatch: pytest.MonkeyPatch) -> None:
    photos, dim, block = 1400, 80, 2**17
    monkeypatch.setattr(pairwise, "BLOCK", block)
    products = torch.arange(photos) % (photos // alike)
    embeddings = unit_vectors(0, photos, dim).float().requires_grad_()
    with Largest() as largest:
        pairwise_loss(embeddings, products, Margins((0.1, 3.0), (0.0, 0.1))).backward()
    assert largest.numbers <= block


def test_its_gradient_is_that_of_finite_differences() -> None:
    products = torch.tensor([0, 1, 0, 2, 1, 1, 3])
    inputs = torch.randn(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert gradcheck(lambda x: pairwise_loss(F.normalize(x, dim=1), products, WIDE), [inputs])


def at_distance(distance: float) -> Tensor:
    """Two unit vectors at this squared distance."""
    angle = math.acos(1 - distance / 2)
    return torch.tensor([[1.0, 0.0], [math.cos(angle), math.sin(angle)]], dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize(
    ("distance", "same", "costs", "teaches"),
    [
        (0.05, True, False, False),  # good enough
        (0.4, True, True, True),
        (0.9, True, True, False),  # an outlier: likely another product
        (0.9, False, False, False),  # far enough
        (0.4, False, True, True),
        (0.1, False, True, False),  # an outlier: likely the same product
    ],
)
def test_only_pairs_between_the_margins_teach(distance: float, same: bool, costs: bool, teaches: bool) -> None:
    pair = at_distance(distance)
    loss = pairwise_loss(pair, torch.tensor([0, 0 if same else 1]), Margins((0.1, 0.7), (0.2, 0.7)))
    loss.backward()
    assert pair.grad is not None
    assert (float(loss.detach()) > 0) == costs
    assert bool((pair.grad != 0).any()) == teaches


@pytest.mark.parametrize("products", [[0, 1, 2], [0, 0, 0], [0]])
def test_without_pairs_of_a_kind_it_is_finite(products: list[int]) -> None:
    embeddings = unit_vectors(0, len(products)).requires_grad_()
    loss = pairwise_loss(embeddings, torch.tensor(products), PAPER)
    loss.backward()
    assert loss.isfinite() and embeddings.grad is not None and embeddings.grad.isfinite().all()
    if len(products) == 1:
        assert float(loss.detach()) == 0 and (embeddings.grad == 0).all()


def test_equal_photos_in_half_the_bits_give_finite_losses_and_gradients() -> None:
    embeddings = F.normalize(torch.ones(6, 8), dim=1).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = pairwise_loss(embeddings, torch.tensor([0, 0, 1, 1, 2, 2]), PAPER)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite() and embeddings.grad is not None and embeddings.grad.isfinite().all()


def test_float32_is_near_float64() -> None:
    embeddings = F.normalize(torch.randn(600, 64, generator=torch.Generator().manual_seed(0)), dim=1)
    products = torch.arange(600) // 4
    single, double = embeddings.clone().requires_grad_(), embeddings.double().requires_grad_()
    losses = [pairwise_loss(each, products, WIDE) for each in (single, double)]
    for loss in losses:
        loss.backward()
    assert float(losses[0].detach()) == pytest.approx(float(losses[1].detach()), rel=1e-5)
    assert single.grad is not None and double.grad is not None
    torch.testing.assert_close(single.grad.double(), double.grad, rtol=1e-3, atol=1e-7)


def test_the_task_leaves_out_photos_without_a_product_and_mixtures() -> None:
    values = {"name": "t", "dataset": "d", "label": "l", "loss": "pairwise", "on": "embedding"}
    loss = Pairwise(Task.model_validate({**values, "positive_margins": [0.1, 3.0], "negative_margins": [0.0, 3.0]}))
    embeddings, labels = unit_vectors(3, 6).requires_grad_(), torch.tensor([[0], [0], [-1], [1], [1], [0]])
    share = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.6, 1.0])
    found = loss(embeddings, Targets(labels, labels, share))
    found.backward()
    kept = [0, 1, 3, 5]
    expected = loss(embeddings[kept], plain(labels[kept]))
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-12) and float(expected.detach()) > 0
    assert embeddings.grad is not None and (embeddings.grad[[2, 4]] == 0).all()
