"""Proxy banks: what is drawn, what learns, and the dense layer that they stand in for."""

from collections import Counter

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from trainer.losses.norm_softmax import norm_softmax_loss
from trainer.losses.task_loss import cosines
from trainer.proxy_bank import ProxyBank, renumbered

CPU = torch.device("cpu")


@settings(max_examples=50, deadline=None)
@given(true=st.lists(st.integers(0, 39), max_size=30), count=st.integers(1, 60), seed=st.integers(0, 99))
def test_a_draw_has_every_true_class_and_others_up_to_its_count(true: list[int], count: int, seed: int) -> None:
    drawn = ProxyBank.random(40, 2, 0).draw(np.array(true, np.int64), count, seed)
    assert set(true) <= set(drawn.tolist())
    assert np.array_equal(drawn, np.unique(drawn)) and drawn.max(initial=0) < 40
    assert len(drawn) == max(len(set(true)), min(count, 40))


def test_a_draw_depends_on_its_seed_and_is_even() -> None:
    bank, true = ProxyBank.random(40, 2, 0), np.array([7, 7, 9])
    assert np.array_equal(bank.draw(true, 12, 5), bank.draw(true, 12, 5))
    seen = Counter(int(each) for seed in range(1000) for each in bank.draw(true, 12, seed))
    others = np.array([seen[each] for each in range(40) if each not in (7, 9)])
    assert seen[7] == seen[9] == 1000
    np.testing.assert_allclose(others, 10_000 / 38, rtol=0.25)  # 5 deviations


def test_labels_are_renumbered_by_their_place_in_the_draw() -> None:
    drawn = np.array([2, 5, 7, 30])
    labels = np.array([[5, -1], [30, 2], [-1, -1]])
    assert renumbered(labels, drawn).tolist() == [[1, -1], [3, 0], [-1, -1]]


def test_a_bank_begins_with_directions_by_its_seed() -> None:
    one, same, other = (ProxyBank.random(100_000, 4, seed).weight for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    torch.testing.assert_close(one.norm(dim=1), torch.ones(100_000))
    assert float(one.mean(dim=0).abs().max()) < 0.01


def test_with_all_classes_drawn_it_learns_what_the_dense_layer_learns() -> None:
    torch.manual_seed(0)
    bank = ProxyBank.random(20, 6, 0)
    dense = bank.weight.clone().requires_grad_()
    inputs, labels = F.normalize(torch.randn(8, 6), dim=1), torch.randint(0, 20, (8, 1))
    drawn = bank.draw(labels.numpy(), 20, 0)
    proxies = bank.rows(drawn, CPU)
    one = norm_softmax_loss(cosines(inputs, proxies), torch.from_numpy(renumbered(labels.numpy(), drawn)), 0.05).mean()
    other = norm_softmax_loss(cosines(inputs, dense), labels, 0.05).mean()
    one.backward()
    other.backward()
    assert float(one.detach()) == float(other.detach())
    assert proxies.grad is not None and dense.grad is not None
    bank.learn(drawn, proxies.grad, 0.1)
    torch.testing.assert_close(bank.weight, F.normalize(dense.detach() - 0.1 * dense.grad, dim=1))


def test_only_what_was_drawn_changes_and_stays_of_length_1() -> None:
    bank = ProxyBank.random(50, 6, 0)
    before, drawn = bank.weight.clone(), np.array([3, 10, 49])
    bank.learn(drawn, torch.randn(3, 6), 0.5)
    changed = (bank.weight != before).any(dim=1)
    assert changed.nonzero()[:, 0].tolist() == drawn.tolist()
    torch.testing.assert_close(bank.weight.norm(dim=1), torch.ones(50))
