"""Losses against plain numpy in float64, finite differences, and one another."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn import functional as F

from trainer.losses.arcface import arcface_loss, cosine_of_wider_angle
from trainer.losses.multilabel_arcface import multilabel_arcface_apart_loss, multilabel_arcface_together_loss
from trainer.losses.multilabel_softmax import multilabel_softmax_loss
from trainer.losses.norm_softmax import norm_softmax_loss
from trainer.losses.registry import OF_CLASSES, make_loss, takes_many_labels
from trainer.losses.softmax import softmax_loss
from trainer.losses.task_loss import ClassLoss, Targets, TaskLoss, without_repeats
from trainer.recipe import Task

Doubles = NDArray[np.float64]
seeds = st.integers(0, 10_000)


def cross_entropy_oracle(logits: Doubles, targets: Doubles) -> Doubles:
    """[n] sums of -target * log(softmax), with the definition of softmax."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(-(targets * np.log(powers / powers.sum(axis=1, keepdims=True))).sum(axis=1))


def targets_oracle(labels: list[list[int]], classes: int, smoothing: float) -> Doubles:
    """1/k on each of the k true classes, then a share of everything spread over all classes."""
    targets = np.zeros((len(labels), classes))
    for row, true in enumerate(labels):
        targets[row, true] = 1 / len(true)
    return targets * (1 - smoothing) + smoothing / classes


def padded(labels: list[list[int]]) -> Tensor:
    width = max(map(len, labels))
    return torch.tensor([true + [-1] * (width - len(true)) for true in labels])


def task(loss: str = "softmax", on: str = "embedding", **options: object) -> Task:
    return Task.model_validate({"name": "t", "dataset": "d", "label": "l", "loss": loss, "on": on, **options})


def plain(labels: Tensor) -> Targets:
    """Photos that are no mixtures."""
    return Targets(labels, labels, torch.ones(len(labels)))


def class_loss(made: TaskLoss) -> ClassLoss:
    assert isinstance(made, ClassLoss)
    return made


@settings(max_examples=30, deadline=None)
@given(seed=seeds, smoothing=st.sampled_from([0.0, 0.1, 0.5]))
def test_softmax_is_the_cross_entropy_of_its_definition(seed: int, smoothing: float) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(0, 4, (5, 7)), [[int(c)] for c in rng.integers(0, 7, 5)]
    expected = cross_entropy_oracle(logits, targets_oracle(labels, 7, smoothing))
    np.testing.assert_allclose(softmax_loss(torch.tensor(logits), padded(labels), smoothing), expected, rtol=1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, smoothing=st.sampled_from([0.0, 0.1]))
def test_multilabel_softmax_shares_the_target_among_the_true_classes(seed: int, smoothing: float) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 4, (5, 7))
    labels = [rng.choice(7, rng.integers(1, 5), replace=False).tolist() for _ in range(5)]
    expected = cross_entropy_oracle(logits, targets_oracle(labels, 7, smoothing))
    found = multilabel_softmax_loss(torch.tensor(logits), padded(labels), smoothing)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=seeds, smoothing=st.sampled_from([0.0, 0.1]))
def test_one_label_makes_multilabel_softmax_the_plain_one(seed: int, smoothing: float) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = torch.tensor(rng.normal(0, 4, (5, 7))), torch.tensor(rng.integers(0, 7, (5, 1)))
    filled = torch.cat([labels, torch.full_like(labels, -1)], dim=1)
    torch.testing.assert_close(
        multilabel_softmax_loss(logits, filled, smoothing), softmax_loss(logits, labels, smoothing)
    )


@settings(max_examples=40, deadline=None)
@given(seed=seeds, margin=st.floats(0, 1.5), scale=st.floats(1, 64))
def test_arcface_widens_the_true_angle_by_its_margin(seed: int, margin: float, scale: float) -> None:
    rng = np.random.default_rng(seed)
    cosines, labels = rng.uniform(-0.99, 0.99, (6, 5)), rng.integers(0, 5, 6)
    logits = cosines.copy()
    for row, true in enumerate(labels):
        angle = math.acos(cosines[row, true])
        beyond = angle > math.pi - margin
        logits[row, true] = math.cos(angle) - margin * math.sin(margin) if beyond else math.cos(angle + margin)
    expected = cross_entropy_oracle(scale * logits, np.eye(5)[labels])
    found = arcface_loss(torch.tensor(cosines), torch.tensor(labels)[:, None], scale, margin)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_arcface_without_margin_is_normalised_softmax() -> None:
    cosines, labels = torch.rand(6, 5).mul(2).sub(1), torch.randint(0, 5, (6, 1))
    found = arcface_loss(cosines, labels, scale=20.0, margin=0.0)
    torch.testing.assert_close(found, norm_softmax_loss(cosines, labels, 1 / 20), rtol=1e-5, atol=1e-5)


def test_softmax_on_the_embedding_is_norm_softmax() -> None:
    torch.manual_seed(0)
    embeddings, labels = F.normalize(torch.randn(6, 8), dim=1), torch.randint(0, 5, (6, 1))
    one, other = make_loss(task("softmax"), 8, 5), make_loss(task("norm_softmax"), 8, 5)
    other.load_state_dict(one.state_dict())
    found = float(one(embeddings, plain(labels)).detach())
    assert found == float(other(embeddings, plain(labels)).detach())
    proxies = F.normalize(one.state_dict()["classifier.weight"], dim=1).double().numpy()
    expected = cross_entropy_oracle(embeddings.double().numpy() @ proxies.T / 0.05, np.eye(5)[labels[:, 0]]).mean()
    assert found == pytest.approx(expected, rel=1e-5)


def multilabel_arcface_oracle(cosines: Doubles, labels: list[list[int]], scale: float, margin: float) -> list[Doubles]:
    """Both formulas, photo by photo and class by class: together, then apart."""
    together, apart = np.zeros(len(labels)), np.zeros(len(labels))
    for row, true in enumerate(labels):
        power = [
            math.exp(scale * (math.cos(math.acos(c) + margin) if number in true else c))
            for number, c in enumerate(cosines[row])
        ]
        others = sum(p for number, p in enumerate(power) if number not in true)
        together[row] = np.mean([-math.log(power[j] / sum(power)) for j in true])
        apart[row] = np.mean([-math.log(power[j] / (power[j] + others)) for j in true])
    return [together, apart]


@settings(max_examples=30, deadline=None)
@given(seed=seeds, margin=st.floats(0, 0.5), scale=st.floats(1, 64))
def test_multilabel_arcface_is_its_formula_together_and_apart(seed: int, margin: float, scale: float) -> None:
    rng = np.random.default_rng(seed)
    cosines = rng.uniform(-0.8, 0.99, (5, 7))  # angles that a margin does not carry beyond half a turn
    labels = [rng.choice(7, rng.integers(1, 8), replace=False).tolist() for _ in range(5)]
    together, apart = multilabel_arcface_oracle(cosines, labels, scale, margin)
    arguments = torch.tensor(cosines), padded(labels), scale, margin
    np.testing.assert_allclose(multilabel_arcface_together_loss(*arguments), together, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(multilabel_arcface_apart_loss(*arguments), apart, rtol=1e-6, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=seeds, margin=st.floats(0, 1.5))
def test_with_one_label_both_multilabel_arcfaces_are_arcface(seed: int, margin: float) -> None:
    rng = np.random.default_rng(seed)
    cosines, labels = torch.tensor(rng.uniform(-1, 1, (6, 5))), torch.tensor(rng.integers(0, 5, (6, 1)))
    filled = torch.cat([labels, torch.full_like(labels, -1), labels], dim=1)  # twice the same is once
    expected = arcface_loss(cosines, labels, 30.0, margin)
    torch.testing.assert_close(multilabel_arcface_together_loss(cosines, filled, 30.0, margin), expected)
    torch.testing.assert_close(multilabel_arcface_apart_loss(cosines, filled, 30.0, margin), expected)


def test_a_class_named_twice_counts_once() -> None:
    twice, once = torch.tensor([[2, 0, 2], [4, 4, 4], [1, -1, -1]]), torch.tensor([[2, 0], [4, -1], [1, -1]])
    assert without_repeats(twice).tolist() == [[2, 0, -1], [4, -1, -1], [1, -1, -1]]
    outputs = torch.rand(3, 5, dtype=torch.float64)
    for name in ("multilabel_softmax", "multilabel_arcface"):
        for positives in ("together", "apart"):
            loss = class_loss(make_loss(task(name, positives=positives), 8, 5))
            torch.testing.assert_close(loss.photo_losses(outputs, twice), loss.photo_losses(outputs, once))


def test_a_worse_angle_never_costs_arcface_less() -> None:
    cosines = torch.cos(torch.linspace(0, math.pi, 1001, dtype=torch.float64))
    for margin in (0.0, 0.2, 0.5, 1.2):
        assert (cosine_of_wider_angle(cosines, margin).diff() <= 1e-9).all()


def test_arcface_has_finite_gradients_where_acos_has_none() -> None:
    cosines = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], requires_grad=True)
    arcface_loss(cosines, torch.tensor([[0], [0]]), scale=64.0, margin=0.5).sum().backward()
    assert cosines.grad is not None
    assert cosines.grad.isfinite().all()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_gradients_are_those_of_finite_differences(smoothing: float) -> None:
    rng = np.random.default_rng(1)
    logits = torch.tensor(rng.normal(0, 2, (4, 6)), requires_grad=True)
    cosines = torch.tensor(rng.uniform(-0.9, 0.9, (4, 6)), requires_grad=True)
    one, many = torch.tensor(rng.integers(0, 6, (4, 1))), torch.tensor([[0, 2], [1, -1], [3, 5], [4, -1]])
    assert gradcheck(lambda x: softmax_loss(x, one, smoothing), [logits])
    assert gradcheck(lambda x: multilabel_softmax_loss(x, many, smoothing), [logits])
    assert gradcheck(lambda x: arcface_loss(x, one, 8.0, 0.3, smoothing), [cosines])
    assert gradcheck(lambda x: norm_softmax_loss(x, one, 0.1, smoothing), [cosines])
    assert gradcheck(lambda x: multilabel_arcface_together_loss(x, many, 8.0, 0.3, smoothing), [cosines])
    assert gradcheck(lambda x: multilabel_arcface_apart_loss(x, many, 8.0, 0.3), [cosines])


VARIANTS = [(name, {}) for name in sorted(OF_CLASSES)] + [("multilabel_arcface", {"positives": "apart"})]


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_cosines_at_their_ends_in_half_the_bits_give_finite_losses_and_gradients(
    name: str, options: dict[str, object]
) -> None:
    loss = class_loss(make_loss(task(name, scale=64.0, margin=0.5, **options), 8, 4))
    outputs = torch.tensor([[1.0, -1.0, 0.0, 1.0], [-1.0, 1.0, 1.0, -1.0]], dtype=torch.bfloat16, requires_grad=True)
    labels = torch.tensor([[0, 1], [0, 3]]) if takes_many_labels(task(name)) else torch.tensor([[0], [0]])
    with torch.autocast("cpu", torch.bfloat16):
        losses = loss.photo_losses(outputs, labels)
    assert losses.dtype == torch.float32
    losses.sum().backward()
    assert outputs.grad is not None
    assert losses.isfinite().all() and outputs.grad.isfinite().all()


@pytest.mark.parametrize("apart", [False, True])
def test_a_photo_of_every_class_has_a_finite_loss_and_gradient(apart: bool) -> None:
    cosines = torch.rand(1, 3, requires_grad=True)
    labels = torch.tensor([[0, 1, 2]])
    made = multilabel_arcface_apart_loss if apart else multilabel_arcface_together_loss
    loss = made(cosines, labels, 30.0, 0.2).sum()
    loss.backward()
    assert cosines.grad is not None and cosines.grad.isfinite().all()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-6) if apart else float(loss.detach()) > 0


@pytest.mark.parametrize("name", sorted(OF_CLASSES))
def test_photos_without_a_label_give_no_gradient(name: str) -> None:
    torch.manual_seed(0)
    loss = make_loss(task(name), 8, 5)
    inputs = F.normalize(torch.randn(4, 8), dim=1).requires_grad_()
    loss(inputs, plain(torch.tensor([[0], [-1], [3], [-1]]))).backward()
    assert inputs.grad is not None
    assert (inputs.grad[[1, 3]] == 0).all()
    assert (inputs.grad[[0, 2]] != 0).any(dim=1).all()


@pytest.mark.parametrize("name", sorted(OF_CLASSES))
def test_a_batch_without_any_label_has_no_loss_and_no_gradient(name: str) -> None:
    torch.manual_seed(0)
    loss = make_loss(task(name), 8, 5)
    inputs = F.normalize(torch.randn(4, 8), dim=1).requires_grad_()
    total = loss(inputs, plain(torch.full((4, 2 if takes_many_labels(task(name)) else 1), -1)))
    total.backward()
    assert float(total.detach()) == 0
    assert inputs.grad is not None and (inputs.grad == 0).all()
    # zeros, not nothing: processes that share gradients wait for them
    assert all(parameter.grad is not None and (parameter.grad == 0).all() for parameter in loss.parameters())


def test_a_mixture_costs_what_its_parts_cost_by_their_shares() -> None:
    torch.manual_seed(0)
    loss = class_loss(make_loss(task("softmax"), 8, 5))
    inputs = F.normalize(torch.randn(3, 8), dim=1)
    labels, others = torch.tensor([[0], [1], [-1]]), torch.tensor([[2], [-1], [4]])
    share = torch.tensor([0.7, 0.6, 0.9])
    assert loss.classifier is not None
    with torch.no_grad():
        found = float(loss(inputs, Targets(labels, others, share)))
        outputs = loss.classifier(inputs)
        parts = [
            (0.7, loss.photo_losses(outputs[:1], labels[:1])),
            (0.3, loss.photo_losses(outputs[:1], others[:1])),
            (0.6, loss.photo_losses(outputs[1:2], labels[1:2])),  # its other part has no label
            (0.1, loss.photo_losses(outputs[2:], others[2:])),
        ]
    expected = sum(weight * float(value) for weight, value in parts) / sum(weight for weight, _ in parts)
    assert found == pytest.approx(expected, rel=1e-5)


def test_proxies_from_a_bank_stand_in_for_a_classifier() -> None:
    torch.manual_seed(0)
    own = class_loss(make_loss(task("arcface"), 8, 5))
    banked = class_loss(make_loss(task("arcface", sampled_classes=3), 8, 5))
    assert not list(banked.parameters())
    inputs, labels = F.normalize(torch.randn(6, 8), dim=1), torch.randint(0, 5, (6, 1))
    proxies = own.state_dict()["classifier.weight"] * 3  # of any length
    targets = Targets(labels, labels, torch.ones(6), proxies)
    torch.testing.assert_close(banked(inputs, targets), own(inputs, plain(labels)))
