"""The network: pooling, shapes, frozen statistics, weights that fit or are refused."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from engine.errors import BadRecipe, MissingFile, WrongModel
from tests.trainer.shapes import shapes_recipe
from trainer.network import Network, gem
from trainer.trunk import load_trunk_weights, make_trunk

CLASSES = {"product": 6, "shape": 2, "tags": 7}


def network(*changes: tuple[str, str]) -> Network:
    torch.manual_seed(0)
    return Network(shapes_recipe(*changes), CLASSES)


def test_gem_is_the_average_at_1_and_nears_the_maximum() -> None:
    values = torch.rand(4, 5, 9, dtype=torch.float64) + 0.1
    torch.testing.assert_close(gem(values, torch.tensor(1.0)), values.mean(dim=-1))
    torch.testing.assert_close(gem(values, torch.tensor(3.0)), values.pow(3).mean(dim=-1).pow(1 / 3))
    torch.testing.assert_close(gem(values, torch.tensor(400.0)), values.amax(dim=-1), rtol=0.01, atol=0)


def test_gem_learns_its_power_and_stands_zeros() -> None:
    values, p = torch.zeros(2, 3, 4, requires_grad=True), torch.tensor(3.0, requires_grad=True)
    gem(values, p).sum().backward()
    assert values.grad is not None and values.grad.isfinite().all()
    assert p.grad is not None and p.grad.isfinite()


@pytest.mark.parametrize(
    ("trunk", "size"), [("test_resnet", 32), ("test_mambaout", 32), ("test_convnext", 32), ("test_vit", 160)]
)
def test_feature_maps_of_every_layout_become_an_embedding_of_length_1(trunk: str, size: int) -> None:
    made = network(("test_resnet", trunk), ("image_size = 32", f"image_size = {size}")).eval()
    outputs = made(torch.randn(3, 3, size, size))
    assert outputs.features.shape == (3, made.channels)
    assert outputs.embedding.shape == (3, 8)
    torch.testing.assert_close(outputs.embedding.norm(dim=1), torch.ones(3))


def test_a_mirrored_network_means_a_photo_and_its_mirror_image_when_it_does_not_train() -> None:
    plain, mirrored = network(), network(("dim = 8", "dim = 8\nmirrored = true"))
    mirrored.load_state_dict(plain.state_dict())
    photos = torch.randn(3, 3, 32, 32)
    plain.eval(), mirrored.eval()
    features = (plain(photos).features + plain(photos.flip(3)).features) / 2
    outputs = mirrored(photos)
    torch.testing.assert_close(outputs.features, features)
    torch.testing.assert_close(outputs.embedding, nn.functional.normalize(plain.project(features), dim=1))
    plain.train(), mirrored.train()
    torch.testing.assert_close(mirrored(photos).features, plain(photos).features)


def test_frozen_statistics_stay_and_scale_and_shift_learn() -> None:
    made = network(("image_size = 32", "image_size = 32\nfreeze_batch_norm = true")).train()
    norm = next(module for module in made.trunk.modules() if isinstance(module, nn.BatchNorm2d))
    assert norm.running_mean is not None
    before = norm.running_mean.clone()
    made(torch.randn(4, 3, 32, 32)).embedding.sum().backward()
    assert torch.equal(norm.running_mean, before)
    assert norm.weight.grad is not None and norm.bias.grad is not None


def test_unfrozen_statistics_learn() -> None:
    made = network().train()
    norm = next(module for module in made.trunk.modules() if isinstance(module, nn.BatchNorm2d))
    assert norm.running_mean is not None
    before = norm.running_mean.clone()
    made(torch.randn(4, 3, 32, 32))
    assert not torch.equal(norm.running_mean, before)


@pytest.mark.parametrize("folded", ["false", "true"])
def test_frozen_stages_stay_as_they_are_and_the_rest_learns(folded: str) -> None:
    made = network(("image_size = 32", f"image_size = 32\nfrozen_stages = 2\nfreeze_batch_norm = {folded}")).train()
    before = {name: tensor.clone() for name, tensor in made.trunk.state_dict().items()}
    optimizer = torch.optim.SGD([each for each in made.parameters() if each.requires_grad], lr=0.1)
    made(torch.randn(4, 3, 32, 32)).embedding.square().mul(torch.arange(8)).sum().backward()
    optimizer.step()
    after = made.trunk.state_dict()
    changed = {name.rpartition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert {"layer2", "layer3", "layer4"} <= {name.partition(".")[0] for name in changed}
    assert not [name for name in changed if name.startswith(("conv1", "bn1", "layer1."))]


@pytest.mark.parametrize("trunk", ["test_mambaout", "test_convnext", "test_resnet"])
def test_all_that_learns_gets_a_gradient_even_if_a_trunk_keeps_parts_of_a_head(trunk: str) -> None:
    made = network(("test_resnet", trunk)).train()
    made(torch.randn(4, 3, 32, 32)).embedding.square().mul(torch.arange(8)).sum().backward()
    without = {name for name, each in made.named_parameters() if each.requires_grad and each.grad is None}
    assert {name for name in without if not name.startswith("losses.")} == set()
    assert made.trunk.state_dict().keys() == make_trunk(shapes_recipe(("test_resnet", trunk)).trunk).state_dict().keys()
    assert all(each.requires_grad for name, each in made.trunk.named_parameters() if not name.startswith("head."))


def test_at_least_one_stage_learns() -> None:
    with pytest.raises(BadRecipe, match="the trunk has 5 stages and frozen_stages is 5"):
        network(("image_size = 32", "image_size = 32\nfrozen_stages = 5"))


def test_an_unknown_trunk_is_refused_with_near_names() -> None:
    with pytest.raises(BadRecipe, match="mobilenetv2_100"):
        make_trunk(shapes_recipe(("test_resnet", "mobilnetv2_100")).trunk)


def test_a_size_that_the_trunk_does_not_take_is_refused() -> None:
    with pytest.raises(BadRecipe, match="takes no photos of 50 px"):
        network(("test_resnet", "test_vit"), ("image_size = 32", "image_size = 50"))


def test_weights_come_from_timms_names_or_from_a_model_of_ours(tmp_path: Path) -> None:
    trained = network()
    of_timm = {**trained.trunk.state_dict(), "fc.weight": torch.zeros(3, 96), "fc.bias": torch.zeros(3)}
    save_file(of_timm, tmp_path / "timm.safetensors")
    save_file(trained.state_dict(), tmp_path / "ours.safetensors")
    for name in ("timm", "ours"):
        trunk = make_trunk(shapes_recipe().trunk)
        load_trunk_weights(trunk, tmp_path / f"{name}.safetensors")
        for key, tensor in trained.trunk.state_dict().items():
            assert torch.equal(trunk.state_dict()[key], tensor)


def test_weights_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    trunk = make_trunk(shapes_recipe().trunk)
    tensors = {name: tensor.clone() for name, tensor in trunk.state_dict().items()}
    del tensors["conv1.0.weight"]
    tensors["layer9.weight"] = torch.zeros(1)
    tensors["bn1.bias"] = torch.zeros(2)
    save_file(tensors, tmp_path / "other.safetensors")
    with pytest.raises(WrongModel) as refused:
        load_trunk_weights(trunk, tmp_path / "other.safetensors")
    for part in ("lacks conv1.0.weight", "has besides layer9.weight", "has in another shape bn1.bias"):
        assert part in str(refused.value)


def test_weights_that_are_not_there_or_no_safetensors_are_refused(tmp_path: Path) -> None:
    trunk = make_trunk(shapes_recipe().trunk)
    with pytest.raises(MissingFile, match="There are no weights"):
        load_trunk_weights(trunk, tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors at all")
    with pytest.raises(WrongModel, match="no safetensors file"):
        load_trunk_weights(trunk, tmp_path / "text.safetensors")
