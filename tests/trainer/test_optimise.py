"""Rates by layer and step, and number formats by hardware."""

import numpy as np
import pytest
import torch

from engine.errors import BadRecipe
from tests.trainer.shapes import shapes_recipe
from trainer.network import Network
from trainer.optimise import Rates, choose_precision, clip_gradients, make_optimizer
from trainer.recipe import Schedule

CLASSES = {"product": 6, "shape": 2, "tags": 7}


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    return Network(shapes_recipe(), CLASSES)


def rates(network: Network, schedule: Schedule, steps_per_epoch: int) -> list[list[float]]:
    """[step][group] learning rates."""
    optimizer = make_optimizer(network, schedule)
    made = Rates(optimizer, schedule, steps_per_epoch)
    found = []
    for step in range(schedule.epochs * steps_per_epoch):
        made.set(step)
        found.append([group["lr"] for group in optimizer.param_groups])
    return found


def test_every_parameter_learns_once_and_narrow_ones_do_not_decay(network: Network) -> None:
    optimizer = make_optimizer(network, Schedule(epochs=1))
    seen = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(seen) == sorted(id(parameter) for parameter in network.parameters())
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            assert group["weight_decay"] == (0.05 if parameter.ndim > 1 else 0)


def test_layers_learn_slower_the_deeper_they_are(network: Network) -> None:
    schedule = Schedule(epochs=2, learning_rate=1e-3, head_learning_rate=5e-3, layer_decay=0.5, warmup_epochs=0)
    optimizer = make_optimizer(network, schedule)
    Rates(optimizer, schedule, 1000).set(0)
    rate = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    stem, last = (next(network.trunk.get_submodule(name).parameters()) for name in ("conv1", "layer4"))
    assert rate[id(network.project.weight)] == pytest.approx(5e-3, rel=1e-4)
    assert rate[id(stem)] < rate[id(last)] <= 1e-3
    assert rate[id(last)] / rate[id(stem)] == pytest.approx(2 ** round(np.log2(rate[id(last)] / rate[id(stem)])))


def test_rates_rise_evenly_then_fall_as_a_cosine(network: Network) -> None:
    schedule = Schedule(epochs=5, learning_rate=1.0, head_learning_rate=3.0, warmup_epochs=1)
    found = np.array(rates(network, schedule, 10))
    middles = np.arange(50) + 0.5
    shape = np.where(middles < 10, middles / 10, (1 + np.cos(np.pi * (middles - 10) / 40)) / 2)
    np.testing.assert_allclose(found[:, 0], shape, rtol=1e-9)
    np.testing.assert_allclose(found[:, -1], 3 * shape, rtol=1e-9)
    assert (found > 0).all()


def test_a_schedule_shorter_than_its_warm_up_still_ends(network: Network) -> None:
    assert np.isfinite(rates(network, Schedule(epochs=1, warmup_epochs=5), 3)).all()


def test_constant_rates_stay(network: Network) -> None:
    schedule = Schedule(epochs=2, scheduler="constant", warmup_epochs=0.5, learning_rate=0.25)
    found = np.array(rates(network, schedule, 10))[:, 0]
    np.testing.assert_allclose(found[5:], 0.25)
    assert (np.diff(found[:5]) > 0).all()


def test_an_unknown_optimizer_is_refused(network: Network) -> None:
    with pytest.raises(BadRecipe, match="no optimizer 'adamv'"):
        make_optimizer(network, Schedule(epochs=1, optimizer="adamv"))


def test_clipping_scales_the_whole_gradient(network: Network) -> None:
    for limit, expected in ((1.0, 1.0), (0.0, None)):
        network.zero_grad()
        for parameter in network.parameters():
            parameter.grad = torch.full_like(parameter, 0.1)
        before = clip_gradients(network, limit)
        after = torch.stack([p.grad.norm() for p in network.parameters() if p.grad is not None]).norm()
        assert float(after) == pytest.approx(expected if expected is not None else before, rel=1e-4)


def test_the_recipe_may_choose_the_number_format() -> None:
    cpu = torch.device("cpu")
    assert choose_precision("float32", cpu) == torch.float32
    assert choose_precision("bfloat16", cpu) == torch.bfloat16


def test_bfloat16_is_chosen_only_where_the_processor_multiplies_it() -> None:
    able = torch.cpu.get_capabilities()
    expected = torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") else torch.float32
    assert choose_precision("auto", torch.device("cpu")) == expected


def test_the_trunk_waits_for_the_new_layers_and_then_learns_as_planned(network: Network) -> None:
    schedule = Schedule(epochs=4, warmup_epochs=1, new_layers_epochs=1.5)
    waited, planned = (
        np.array(rates(network, each, 10)) for each in (schedule, schedule.model_copy(update={"new_layers_epochs": 0}))
    )
    np.testing.assert_array_equal(waited[15:], planned[15:])
    np.testing.assert_array_equal(waited[:15, -2:], planned[:15, -2:])
    assert (waited[:15, :-2] == 0).all()


def test_the_trunk_waits_after_a_resume_too(network: Network) -> None:
    schedule = Schedule(epochs=4, new_layers_epochs=1)
    optimizer = make_optimizer(network, schedule)
    made = Rates(optimizer, schedule, 10)
    optimizer.load_state_dict(optimizer.state_dict())  # which makes new groups
    made.set(3)
    assert optimizer.param_groups[0]["lr"] == 0 < optimizer.param_groups[-1]["lr"]
