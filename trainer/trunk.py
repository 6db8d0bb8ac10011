"""The trunk: any timm model without its classifier, its weights, and the shape of what comes out of it."""

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from engine.errors import MissingFile, WrongModel
from trainer.recipe import Trunk
from trainer.recipe_faults import Fault
from trainer.torchvision_shim import timm


@dataclass(frozen=True)
class FeatureMap:
    """What `forward_features` gives: `layout` is nchw, nhwc or nlc (tokens)."""

    channels: int
    layout: str


def make_trunk(trunk: Trunk, *, pretrained: bool = False) -> nn.Module:
    """timm's model of that name without its classifier; Fault or MissingFile where there is none to be had."""
    known = timm.list_models()
    if trunk.name.partition(".")[0] not in known:  # after a dot: which of timm's weights
        near = get_close_matches(trunk.name, known, n=3)
        hint = f"did you mean {', '.join(near)}?" if near else "timm.list_models() says which there are."
        raise Fault(f"timm has no model {trunk.name!r}; {hint}", ("trunk", "name"))
    options = trunk.options | ({"drop_path_rate": trunk.drop_path} if trunk.drop_path else {})
    try:
        model: nn.Module = timm.create_model(trunk.name, pretrained=pretrained, num_classes=0, **options)
    except Exception as error:  # timm raises whatever its hub client or the model's constructor does
        if not pretrained:
            key = "options" if trunk.options else "name"
            sentence = f"timm cannot make the trunk {trunk.name!r} ({error}); correct [trunk]"
            raise Fault(sentence, ("trunk", key)) from error
        sentence = f"The weights of {trunk.name!r} cannot be had from timm's hub ({error})"
        raise MissingFile(f'{sentence}; give a file with --weights, or write weights = "none".') from error
    return model


def load_trunk_weights(trunk: nn.Module, file: Path) -> None:
    """Loads a safetensors file: by timm's names, or the trunk out of a model directory's `weights.safetensors`.

    A classifier in it is passed over; all else must fit, or it is WrongModel.
    """
    if not file.is_file():
        raise MissingFile(f"There are no weights {file}; correct --weights or the recipe's [trunk] weights.")
    try:
        tensors = load_file(file)
    except SafetensorError as error:
        raise WrongModel(f"{file} is no safetensors file ({error}); give one with the trunk's weights.") from None
    if any(name.startswith("trunk.") for name in tensors):
        tensors = {name.removeprefix("trunk."): each for name, each in tensors.items() if name.startswith("trunk.")}
    classifier = getattr(trunk, "pretrained_cfg", {}).get("classifier") or ()
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    tensors = {name: tensor for name, tensor in tensors.items() if name.rpartition(".")[0] not in heads}
    own = trunk.state_dict()
    problems = [
        _some("lacks", [name for name in own if name not in tensors and not name.endswith("num_batches_tracked")]),
        _some("has besides", [name for name in tensors if name not in own]),
        _some(
            "has in another shape", [name for name in own if name in tensors and tensors[name].shape != own[name].shape]
        ),
    ]
    if any(problems):
        found = " and ".join(filter(None, problems))
        raise WrongModel(f"{file} does not fit the trunk: it {found}; give the weights of this very trunk.")
    trunk.load_state_dict(tensors, strict=False)


def freeze(trunk: nn.Module, stages: int) -> None:
    """Takes the first `stages` of timm's coarse groups of layers, the stem first, out of learning.

    What lies before the first layer that learns needs no gradients, so that a step is faster and takes less memory.
    Fault where the trunk has no more stages than that.
    """
    if not stages:
        return
    groups = timm.models.group_parameters(trunk, trunk.group_matcher(coarse=True))  # type: ignore[operator]
    if stages >= len(groups):
        sentence = f"the trunk has {len(groups)} stages and frozen_stages is {stages}; leave one that learns"
        raise Fault(sentence, ("trunk", "frozen_stages"))
    for name in (name for stage in range(stages) for name in groups[stage]):
        trunk.get_parameter(name).requires_grad_(False)


def freeze_unused(trunk: nn.Module, size: int) -> None:
    """Takes what `forward_features` has no use for, parts of a head that timm leaves in a trunk, out of learning.

    No gradient ever comes for it, and processes that share gradients would wait for one. Names stay as they are, so
    that files of weights fit.
    """
    learning = [each for each in trunk.parameters() if each.requires_grad]
    was_training = trunk.training
    trunk.eval()
    with torch.enable_grad():
        maps = trunk.forward_features(torch.zeros(1, 3, size, size))  # type: ignore[operator]  # all of timm's have it
    for parameter, gradient in zip(learning, torch.autograd.grad(maps.sum(), learning, allow_unused=True), strict=True):
        parameter.requires_grad_(gradient is not None)
    trunk.train(was_training)


def _some(what: str, names: list[str]) -> str:
    return f"{what} {', '.join(names[:3])}{' …' if len(names) > 3 else ''}" if names else ""


def probe(trunk: nn.Module, recipe: Trunk) -> FeatureMap:
    """What the trunk makes of a black photo, in each size it will see; Fault where it takes no such photo."""
    was_training = trunk.training
    trunk.eval()
    for size in (recipe.image_size, recipe.served_size):
        try:
            with torch.no_grad():
                maps = trunk.forward_features(torch.zeros(1, 3, size, size))  # type: ignore[operator]  # all of timm's have it
        except (AssertionError, RuntimeError, ValueError) as error:
            key = "image_size" if size == recipe.image_size else "eval_size"
            sentence = f"the trunk {recipe.name!r} takes no photos of {size} px ({error}); change the size"
            raise Fault(sentence, ("trunk", key)) from error
    trunk.train(was_training)
    if maps.ndim == 3:
        return FeatureMap(maps.shape[2], "nlc")
    channels_last = maps.shape[3] == trunk.num_features and maps.shape[1] != trunk.num_features
    return FeatureMap(maps.shape[3], "nhwc") if channels_last else FeatureMap(maps.shape[1], "nchw")
