"""Frozen batch norm folded into the convolution before it.

With fixed statistics, batch norm is a scale and a shift per channel, and convolving with rescaled weights gives the
same numbers: `norm(conv(x)) = conv'(x)` with `weight' = weight * k`, `bias' = (bias - mean) * k + shift`,
`k = scale / sqrt(variance + eps)`. Done on the fly at each step, gradients still reach weight, scale and shift,
and one pass over the activations, the slow part on a CPU, is saved in each direction. Parameters keep their names.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.torchvision_shim import timm


def _shape(conv: nn.Conv2d) -> dict[str, Any]:
    """The arguments that make a convolution like `conv`, its parameters without memory: they are given afterwards."""
    names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
    return {name: getattr(conv, name) for name in names} | {"device": "meta"}


class FoldedConv2d(nn.Conv2d):
    """A convolution that also does the work of the frozen batch norm after it, on that batch norm's own parameters."""

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        super().__init__(**_shape(conv))
        self.weight, self.bias = conv.weight, conv.bias
        self._norm = (norm,)  # in a tuple, so that its parameters stay under the batch norm's own name only

    def folded(self) -> tuple[Tensor, Tensor]:
        """The rescaled weight and bias."""
        norm = self._norm[0]
        assert norm.running_mean is not None and norm.running_var is not None
        factor = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        bias = -norm.running_mean if self.bias is None else self.bias - norm.running_mean
        return self.weight * factor[:, None, None, None], bias * factor + norm.bias

    def forward(self, input: Tensor) -> Tensor:
        weight, bias = self.folded()
        return F.conv2d(input, weight, bias, self.stride, self.padding, self.dilation, self.groups)


class FoldedBatchNorm2d(nn.BatchNorm2d):
    """What is left of a batch norm once it is folded: its parameters, and timm's drop and activation."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__(norm.num_features, eps=norm.eps, device="meta")
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.drop = getattr(norm, "drop", nn.Identity())
        self.act = getattr(norm, "act", nn.Identity())
        if hasattr(self.act, "inplace"):
            self.act.inplace = True  # nobody else needs the convolution's output, and memory traffic is the cost

    def forward(self, input: Tensor) -> Tensor:
        result: Tensor = self.act(self.drop(input))
        return result


@dataclass(frozen=True)
class Pair:
    """The names of a convolution and of the batch norm that alone takes its output."""

    conv: str
    norm: str


def find_pairs(trunk: nn.Module, size: int) -> list[Pair]:
    """The pairs of `trunk` that can be folded, found by running it once on a photo of `size` pixels.

    Hooks see which batch norm takes the very tensor that a convolution gave. What hooks cannot see, a use of that
    tensor by plain code (an addition, say), the autograd graph does: only an output used once qualifies.
    """
    given: dict[int, tuple[str, Tensor]] = {}  # by id of the output tensor, which is kept alive here
    pairs: list[tuple[Pair, Any]] = []
    runs: dict[str, int] = {}

    def after_conv(name: str, output: Tensor) -> None:
        runs[name] = runs.get(name, 0) + 1
        given[id(output)] = (name, output)

    def before_norm(name: str, input: Tensor) -> None:
        runs[name] = runs.get(name, 0) + 1
        if id(input) in given:
            conv, output = given[id(input)]
            pairs.append((Pair(conv, name), output.grad_fn))

    handles = []
    for name, module in trunk.named_modules():
        if type(module) is nn.Conv2d and module.padding_mode == "zeros":
            handles.append(module.register_forward_hook(lambda _, __, y, name=name: after_conv(name, y)))
        elif type(module) in (nn.BatchNorm2d, timm.layers.BatchNormAct2d) and _has_statistics(module):
            handles.append(module.register_forward_pre_hook(lambda _, x, name=name: before_norm(name, x[0])))
    was_training = trunk.training
    trunk.eval()
    with torch.enable_grad():
        output = trunk.forward_features(torch.zeros(1, 3, size, size))  # type: ignore[operator]
    uses = _uses(output.grad_fn)
    trunk.train(was_training)
    for handle in handles:
        handle.remove()
    return [pair for pair, node in pairs if uses.get(node) == 1 and runs[pair.conv] == runs[pair.norm] == 1]


def _has_statistics(module: nn.Module) -> bool:
    return isinstance(module, nn.BatchNorm2d) and module.affine and module.running_mean is not None


def _uses(root: Any) -> dict[Any, int]:
    """How often each node's result is used in the autograd graph below `root`."""
    uses: dict[Any, int] = {}
    waiting = [root]
    while waiting:
        for node, _ in waiting.pop().next_functions:
            if node is None:
                continue
            if node not in uses:
                waiting.append(node)
            uses[node] = uses.get(node, 0) + 1
    return uses


def fold(trunk: nn.Module, pairs: list[Pair]) -> None:
    """Folds `pairs` in place. Only right while the batch norms' statistics are meant to stay as they are."""
    for pair in pairs:
        conv, norm = trunk.get_submodule(pair.conv), trunk.get_submodule(pair.norm)
        assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        trunk.set_submodule(pair.norm, FoldedBatchNorm2d(norm))
        folded_norm = trunk.get_submodule(pair.norm)
        assert isinstance(folded_norm, FoldedBatchNorm2d)
        trunk.set_submodule(pair.conv, FoldedConv2d(conv, folded_norm))


def bake(trunk: nn.Module) -> None:
    """Makes every folded convolution a plain one with the rescaled weights, in place: for export, not for training."""
    for name, module in list(trunk.named_modules()):
        if isinstance(module, FoldedConv2d):
            weight, bias = module.folded()
            plain = nn.Conv2d(**_shape(module))
            plain.weight, plain.bias = nn.Parameter(weight.detach()), nn.Parameter(bias.detach())
            trunk.set_submodule(name, plain)
    for name, module in list(trunk.named_modules()):
        if isinstance(module, FoldedBatchNorm2d):
            trunk.set_submodule(name, nn.Sequential(module.drop, module.act))
