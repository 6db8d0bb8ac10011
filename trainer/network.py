"""The network: any timm trunk, a pooling, a linear embedding of length 1, and the tasks' classifiers.

photos -> trunk -> feature map -> GeM -> LayerNorm without parameters -> features -> linear -> L2 -> embedding

Outside of training a `mirrored` network's features are the mean of the photo's and its mirror image's.

`features` are what the heads take, in training and in serving. The LayerNorm keeps their scale the same for every
trunk (arXiv:1811.12649 does so before its embedding layer).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.folding import find_pairs, fold
from trainer.losses.registry import make_loss
from trainer.recipe import Recipe
from trainer.trunk import freeze, freeze_unused, make_trunk, probe


def gem(values: Tensor, p: Tensor, eps: float = 1e-6) -> Tensor:
    """Generalised mean over the last dimension: (mean(max(x, eps) ** p)) ** (1 / p).

    p = 1 is the average, p -> infinity the maximum (Radenovic et al., arXiv:1711.02512, eq. 3).
    """
    return values.clamp(min=eps).pow(p).mean(dim=-1).pow(1 / p)


class GeM(nn.Module):
    """[n, channels, places] -> [n, channels], p learned and begun at 3."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(3.0))

    def forward(self, values: Tensor) -> Tensor:
        return gem(values, self.p)


class Average(nn.Module):
    """[n, channels, places] -> [n, channels]: the mean."""

    def forward(self, values: Tensor) -> Tensor:
        return values.mean(dim=-1)


@dataclass(frozen=True)
class Outputs:
    features: Tensor  # float32 [n, feature_dim]
    embedding: Tensor  # float32 [n, dim], L2 norm 1


class Network(nn.Module):
    """Trunk, pooling and embedding; `losses` holds a `TaskLoss`, its classifier inside, by the task's name."""

    def __init__(self, recipe: Recipe, classes: Mapping[str, int], *, pretrained: bool = False) -> None:
        """`classes`: how many each of `Task.heads` has; `pretrained` takes timm's own weights for the trunk."""
        super().__init__()
        self.trunk = make_trunk(recipe.trunk, pretrained=pretrained)
        map = probe(self.trunk, recipe.trunk)
        self.channels, self._layout = map.channels, map.layout
        self.pool = GeM() if recipe.embedding.pooling == "gem" else Average()
        self.norm = nn.LayerNorm(self.channels, elementwise_affine=False)
        self.project = nn.Linear(self.channels, recipe.embedding.dim)
        nn.init.orthogonal_(self.project.weight)
        nn.init.zeros_(self.project.bias)
        inputs = {"embedding": recipe.embedding.dim, "trunk": self.channels}
        self.losses = nn.ModuleDict(
            {
                task.name: make_loss(task, inputs[task.on], *(classes[name] for name, _ in task.heads))
                for task in recipe.task
            }
        )
        self._mirrored = recipe.embedding.mirrored
        self._frozen_norms = recipe.trunk.freeze_batch_norm
        if self._frozen_norms:
            fold(self.trunk, find_pairs(self.trunk, recipe.trunk.image_size))
        freeze(self.trunk, recipe.trunk.frozen_stages)  # after folding, which follows gradients
        freeze_unused(self.trunk, recipe.trunk.image_size)

    def forward(self, photos: Tensor) -> Outputs:
        """float32 [n, 3, size, size], normalised -> features and embedding, in float32 under autocast too."""
        both_ways = self._mirrored and not self.training
        if both_ways:
            photos = torch.cat([photos, photos.flip(3)])
        maps = self.trunk.forward_features(photos)  # type: ignore[operator]  # every timm model has it
        with torch.autocast(photos.device.type, enabled=False):
            features = self.norm(self.pool(self._places_last(maps.float())))
            if both_ways:
                features = features.unflatten(0, (2, -1)).mean(dim=0)
            return Outputs(features, F.normalize(self.project(features), dim=1))

    def train(self, mode: bool = True) -> "Network":
        super().train(mode)
        for module in self.trunk.modules():
            is_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
            if is_norm and (self._frozen_norms or not any(each.requires_grad for each in module.parameters())):
                module.eval()
        return self

    def _places_last(self, maps: Tensor) -> Tensor:
        """The trunk's feature map as [n, channels, places]; class and register tokens are no places."""
        if self._layout == "nchw":
            return maps.flatten(2)
        if self._layout == "nhwc":
            return maps.flatten(1, 2).transpose(1, 2)
        return maps[:, getattr(self.trunk, "num_prefix_tokens", 0) :].transpose(1, 2)
