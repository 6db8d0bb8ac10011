"""The one door to timm: it makes torchvision importable beside a CPU build of torch, then imports timm.

The ordinary Linux wheel of torchvision registers its C++ operators against CUDA's libtorch. Beside CPU torch that
library does not load, and `import torchvision` (hence `import timm`) stops at `operator torchvision::nms does not
exist`. Nothing here uses those operators, so declaring the two names is enough. It must happen before timm's first
import in every process, worker processes too: hence `from trainer.torchvision_shim import timm`, never `import timm`.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

import torch

_KEPT: list[torch.library.Library] = []  # a Library undoes its definitions when it is collected


def _import_torchvision() -> None:
    try:
        import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error) or torch.version.cuda is not None:
            raise
        make: Any = torch.library.Library  # torch leaves it untyped
        library = make("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT.append(library)
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]  # half-imported modules of the failed attempt
        import_module("torchvision")


def _import_timm() -> ModuleType:
    """timm with the parts the trainer uses loaded, so that `timm.optim` and the like resolve."""
    _import_torchvision()
    for part in ("timm.data", "timm.layers", "timm.models", "timm.optim", "timm.scheduler", "timm.utils"):
        import_module(part)
    return sys.modules["timm"]


timm = _import_timm()
