"""Distillation's terms against plain sums in float64, and their gradients by finite differences."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from trainer.losses.distillation import embedding_distance, head_divergence, similarity_distance


def unit(n: int, dim: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(n, dim, dtype=torch.float64, generator=generator), dim=1)


def test_the_distance_of_embeddings_is_the_mean_squared_one() -> None:
    student, teacher = unit(5, 3, 0), unit(5, 3, 1)
    expected = sum(((student[n] - teacher[n]) ** 2).sum().item() for n in range(5)) / 5
    assert embedding_distance(student, teacher).item() == pytest.approx(expected)
    assert embedding_distance(student, student).item() == pytest.approx(0, abs=1e-12)


def test_the_distance_of_similarities_is_over_all_pairs_and_needs_no_equal_length() -> None:
    student, teacher = unit(5, 3, 0), unit(5, 7, 1)
    pairs = [(i, j) for i in range(5) for j in range(5) if i != j]
    expected = sum((student[i] @ student[j] - teacher[i] @ teacher[j]).item() ** 2 for i, j in pairs) / len(pairs)
    assert similarity_distance(student, teacher).item() == pytest.approx(expected)
    assert similarity_distance(student[:1], teacher[:1]).item() == 0


def test_the_divergence_of_heads_is_that_of_softened_predictions() -> None:
    student, teacher = 3 * unit(4, 6, 0), 3 * unit(4, 6, 1)
    expected = 0.0
    for row in range(4):
        found, wanted = ((each[row] / 2).exp() / (each[row] / 2).exp().sum() for each in (student, teacher))
        expected += sum(wanted[c].item() * math.log(wanted[c].item() / found[c].item()) for c in range(6))
    assert head_divergence(student, teacher, 2.0).item() == pytest.approx(4 * expected / 4)


def test_gradients_are_right_and_reach_the_student_alone() -> None:
    student, same, other = unit(4, 3, 0), unit(4, 3, 1), unit(4, 5, 2)
    student.requires_grad_()
    for loss in (
        lambda values: embedding_distance(values, same),
        lambda values: similarity_distance(values, other),
        lambda values: head_divergence(values, same, 2.0),
    ):
        assert torch.autograd.gradcheck(loss, (student,))
    teacher = same.clone().requires_grad_()
    total = embedding_distance(student, teacher) + similarity_distance(student, teacher)
    (total + head_divergence(student, teacher, 2.0)).backward()
    assert teacher.grad is None


def test_no_photo_to_learn_from_costs_nothing_and_has_a_gradient_of_zero() -> None:
    student = unit(4, 3, 0).requires_grad_()
    none, other = student[:0], unit(0, 5, 1)
    total = embedding_distance(none, none) + similarity_distance(none, other) + head_divergence(none, none, 2.0)
    total.backward()
    assert total.item() == 0
    assert student.grad is not None and (student.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_logits_stay_finite(dtype: torch.dtype) -> None:
    student = torch.tensor([[1e4, -1e4], [0.0, 0.0]], dtype=dtype, requires_grad=True)
    loss = head_divergence(student.float(), torch.tensor([[-1e4, 1e4], [1e4, -1e4]]), 1.0)
    loss.backward()
    assert loss.isfinite() and student.grad is not None and student.grad.isfinite().all()
