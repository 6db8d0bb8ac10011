"""Frozen batch norm inside its convolution: the same numbers, the same gradients, the same names."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainer.folding import FoldedConv2d, Pair, bake, find_pairs, fold
from trainer.torchvision_shim import timm


def lived_in(model: nn.Module) -> nn.Module:
    """The model with batch norms that have seen something: no statistic is at its start."""
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1, 0.3)
            nn.init.normal_(module.bias, 0, 0.3)
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.3, 3)
    return model.double().eval()


def features(model: nn.Module, photos: Tensor) -> Tensor:
    """What a trunk of timm makes of photos before it pools."""
    trunk: Any = model  # timm's method, which torch's own type does not have
    found: Tensor = trunk.forward_features(photos)
    return found


def run(model: nn.Module, photos: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Outputs, and gradients by parameter name of something that depends on all of them."""
    model.zero_grad()
    outputs = features(model, photos)
    (outputs * torch.linspace(-1, 1, outputs.numel(), dtype=outputs.dtype).view_as(outputs)).sum().backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    return outputs.detach(), gradients


def photos(size: int) -> Tensor:
    return torch.randn(3, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["mobilenetv2_035", "test_resnet", "test_efficientnet", "test_byobnet"])
def test_folding_changes_neither_outputs_nor_gradients_nor_names(name: str) -> None:
    plain = lived_in(timm.create_model(name, num_classes=0))
    folded = deepcopy(plain)
    pairs = find_pairs(timm.create_model(name, num_classes=0), 64)
    fold(folded, pairs)
    assert any(isinstance(module, FoldedConv2d) for module in folded.modules())
    expected, expected_gradients = run(plain, photos(64))
    found, gradients = run(folded, photos(64))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert gradients.keys() == expected_gradients.keys()
    for parameter in gradients:
        torch.testing.assert_close(gradients[parameter], expected_gradients[parameter], rtol=1e-7, atol=1e-8)
    assert list(folded.state_dict()) == list(plain.state_dict())


def test_every_batch_norm_of_the_grocery_trunk_is_folded() -> None:
    trunk = timm.create_model("mobilenetv2_100", num_classes=0)
    norms = [name for name, module in trunk.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert sorted(pair.norm for pair in find_pairs(trunk, 64)) == sorted(norms)


def test_baking_leaves_plain_convolutions_that_do_the_same() -> None:
    plain = lived_in(timm.create_model("test_resnet", num_classes=0))
    baked = deepcopy(plain)
    fold(baked, find_pairs(timm.create_model("test_resnet", num_classes=0), 64))
    bake(baked)
    with torch.no_grad():
        expected, found = (features(model, photos(64)) for model in (plain, baked))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert not any(isinstance(module, nn.BatchNorm2d | FoldedConv2d) for module in baked.modules())


def test_a_copy_uses_its_own_batch_norm() -> None:
    trunk = timm.create_model("test_resnet", num_classes=0).eval()
    fold(trunk, find_pairs(trunk, 64))
    copy = deepcopy(trunk)
    before = trunk.forward_features(photos(64).float())
    for module in copy.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.zeros_(module.weight)
    torch.testing.assert_close(trunk.forward_features(photos(64).float()), before)
    assert not torch.equal(copy.forward_features(photos(64).float()), before)


class Branching(nn.Module):
    """A convolution whose output is normalised and also added, beside one that is only normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.norm_of_shared = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.own, self.norm_of_own = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.twice, self.norm_of_twice = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward_features(self, photos: Tensor) -> Tensor:
        shared = self.shared(photos)
        own: Tensor = self.norm_of_own(self.own(self.norm_of_shared(shared) + shared))
        for _ in range(2):
            own = self.norm_of_twice(self.twice(own))
        return own


def test_a_convolution_used_otherwise_or_twice_is_left_alone() -> None:
    assert find_pairs(Branching(), 16) == [Pair("own", "norm_of_own")]
