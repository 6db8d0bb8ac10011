"""The grouped softmax against one softmax a group."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from tests.trainer.test_losses import cross_entropy_oracle, plain
from trainer.losses.grouped_softmax import GroupedSoftmax, grouped_softmax_losses
from trainer.losses.registry import make_loss
from trainer.losses.task_loss import Targets
from trainer.recipe import Task

SIZES = (3, 2, 5)
GROUPS = torch.repeat_interleave(torch.arange(3), torch.tensor(SIZES))


def grouped(smoothing: float = 0.0) -> GroupedSoftmax:
    torch.manual_seed(0)
    values = {"name": "t", "dataset": "d", "labels": ["a", "b", "c"], "loss": "grouped_softmax"}
    made = make_loss(Task.model_validate({**values, "label_smoothing": smoothing}), 4, *SIZES)
    assert isinstance(made, GroupedSoftmax)
    return made


def some_labels(rng: np.random.Generator, photos: int) -> np.ndarray:
    """A class of each group, or none for about a third."""
    drawn = np.stack([rng.integers(0, size, photos) for size in SIZES], axis=1)
    return np.where(rng.random(drawn.shape) < 1 / 3, -1, drawn)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), smoothing=st.sampled_from([0.0, 0.1]), scale=st.sampled_from([1.0, 20.0]))
def test_each_group_is_a_softmax_of_its_own(seed: int, smoothing: float, scale: float) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = scale * rng.normal(0, 2, (6, 10)), some_labels(rng, 6)
    expected = np.zeros((6, 3))
    for group, first in enumerate((0, 3, 5)):
        size = SIZES[group]
        targets = np.eye(size)[labels[:, group]] * (1 - smoothing) + smoothing / size
        of_group = cross_entropy_oracle(logits[:, first : first + size], targets)
        expected[:, group] = np.where(labels[:, group] >= 0, of_group, 0)
    found = grouped_softmax_losses(torch.tensor(logits), torch.tensor(labels), GROUPS, smoothing)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_gradients_are_those_of_finite_differences(smoothing: float) -> None:
    rng = np.random.default_rng(1)
    logits, labels = torch.tensor(rng.normal(0, 2, (4, 10)), requires_grad=True), torch.tensor(some_labels(rng, 4))
    assert gradcheck(lambda x: grouped_softmax_losses(x, labels, GROUPS, smoothing), [logits])


def test_the_task_costs_the_sum_of_its_groups_means() -> None:
    loss, inputs = grouped(), torch.randn(5, 4)
    labels = torch.tensor([[0, -1, -1], [2, 1, -1], [-1, -1, -1], [1, 0, -1], [0, -1, -1]])
    losses = grouped_softmax_losses(loss.classifier(inputs), labels, GROUPS)
    expected = losses[[0, 1, 3, 4], 0].mean() + losses[[1, 3], 1].mean()  # nobody has a label of the third
    torch.testing.assert_close(loss(inputs, plain(labels)), expected)


def test_a_photo_and_a_group_without_a_label_learn_nothing() -> None:
    loss, inputs = grouped(), torch.randn(3, 4, requires_grad=True)
    loss(inputs, plain(torch.tensor([[0, -1, -1], [-1, -1, -1], [1, 0, -1]]))).backward()
    assert inputs.grad is not None and loss.classifier.weight.grad is not None
    assert (inputs.grad[1] == 0).all()
    assert (inputs.grad[[0, 2]] != 0).any(dim=1).all()
    assert (loss.classifier.weight.grad[5:] == 0).all()
    assert (loss.classifier.weight.grad[:5] != 0).any(dim=1).all()


def test_a_batch_without_any_label_has_no_loss_and_no_gradient() -> None:
    loss, inputs = grouped(0.1), torch.randn(3, 4, requires_grad=True)
    total = loss(inputs, plain(torch.full((3, 3), -1)))
    total.backward()
    assert float(total.detach()) == 0
    assert inputs.grad is not None and (inputs.grad == 0).all()


def test_a_mixture_costs_each_group_what_its_parts_cost() -> None:
    loss, inputs = grouped(), torch.randn(2, 4)
    labels, others = torch.tensor([[0, 1, -1], [1, -1, -1]]), torch.tensor([[2, -1, -1], [0, 0, -1]])
    share = torch.tensor([0.7, 0.6])
    own, other = (grouped_softmax_losses(loss.classifier(inputs), each, GROUPS) for each in (labels, others))
    first = 0.7 * own[0, 0] + 0.3 * other[0, 0] + 0.6 * own[1, 0] + 0.4 * other[1, 0]
    second = (0.7 * own[0, 1] + 0.4 * other[1, 1]) / 1.1
    torch.testing.assert_close(loss(inputs, Targets(labels, others, share)), first / 2 + second)


def test_heads_are_the_groups_rows_of_the_layer() -> None:
    loss, inputs = grouped(), torch.randn(2, 4)
    logits = torch.cat([inputs @ weight.T + bias for weight, bias in loss.heads()], dim=1)
    assert [len(weight) for weight, _ in loss.heads()] == list(SIZES)
    torch.testing.assert_close(logits, loss.classifier(inputs))


def test_logits_in_half_the_bits_give_finite_losses_and_gradients() -> None:
    logits = torch.tensor([[200.0, -200, 0, 1, 2, 3, 4, 5, 6, 7]], dtype=torch.bfloat16, requires_grad=True)
    losses = grouped_softmax_losses(logits, torch.tensor([[1, 0, 4]]), GROUPS, 0.1)
    losses.sum().backward()
    assert losses.isfinite().all() and logits.grad is not None and logits.grad.isfinite().all()
