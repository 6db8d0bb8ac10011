"""The pairwise loss beside pytorch-metric-learning's contrastive loss: seconds and memory of forward and backward.

    python benchmarks/pairwise.py --photos 4416 --dim 400 --per-product 4 --json benchmarks/results/pairwise.json

Each contender runs in a process of its own, one pass to warm up and then `--passes`, on the same vectors and products.
Memory is the greatest resident set (of a GPU: the greatest allocation) less what the process had before the loss
began. The contrastive loss has two of our margins on the same squared distances, a power of 1 and no weight. `matrix`
is our own formula over whole matrices by torch's autograd: what blocks and the gradient in closed form save.
"""

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.measuring import machine, write_json
from trainer.losses.pairwise import Margins, pairwise_loss

CONTENDERS = ("lookalike", "matrix", "pytorch-metric-learning")
Loss = Callable[[Tensor, Tensor], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of the pairwise loss.")
    parser.add_argument("--photos", type=int, default=4416)
    parser.add_argument("--dim", type=int, default=400)
    parser.add_argument("--per-product", type=int, default=4)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", choices=CONTENDERS, help="This one, in this process; prints JSON.")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(measure(arguments)))
        return
    command = [sys.executable, "-m", "benchmarks.pairwise", *sys.argv[1:]]
    found = {name: _in_process([*command, "--only", name]) for name in CONTENDERS}
    for name, figures in found.items():
        print(f"{name:26} {figures['seconds']:8.3f} s  {figures['bytes'] / 1e6:10.1f} MB")
    peer, ours = found["pytorch-metric-learning"], found["lookalike"]
    times, share = peer["seconds"] / ours["seconds"], ours["bytes"] / peer["bytes"]
    print(f"lookalike is {times:.1f} times as fast and takes {share:.1%} of the memory of pytorch-metric-learning")
    if arguments.json:
        asked = {key: value for key, value in vars(arguments).items() if key not in ("json", "only")}
        write_json(arguments.json, {"machine": machine(), **asked, "found": found})


def _in_process(command: list[str]) -> dict[str, float]:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=Path(__file__).parents[1])
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """Median seconds of a pass, bytes at its peak, and the loss itself."""
    loss = make_loss(arguments.only)
    torch.manual_seed(0)
    products = torch.arange(arguments.photos, device=arguments.device) // arguments.per_product
    # photos of a product are near one another, as they are once training has begun
    centres = torch.randn(int(products[-1]) + 1, arguments.dim, device=arguments.device)
    own = torch.randn(arguments.photos, arguments.dim, device=arguments.device)
    vectors = F.normalize(centres[products] + 0.7 * own)
    before = peak_bytes(arguments.device)
    seconds = []
    value = 0.0
    for _ in range(arguments.passes + 1):
        embeddings = vectors.clone().requires_grad_()
        began = perf_counter()
        result = loss(embeddings, products)
        result.backward()
        value = float(result.detach())  # waits for a GPU
        seconds.append(perf_counter() - began)
    return {
        "seconds": float(np.median(seconds[1:])),
        "bytes": peak_bytes(arguments.device) - before,
        "loss": value,
    }


def make_loss(name: str) -> Loss:
    margins = Margins()
    if name == "lookalike":
        return lambda embeddings, products: pairwise_loss(embeddings, products, margins)
    if name == "matrix":
        return lambda embeddings, products: over_matrices(embeddings, products, margins)
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.losses import ContrastiveLoss

    contrastive: Loss = ContrastiveLoss(
        pos_margin=margins.positive[0], neg_margin=margins.negative[1], distance=LpDistance(power=2)
    )
    return contrastive


def over_matrices(embeddings: Tensor, products: Tensor, margins: Margins) -> Tensor:
    """The same loss, every step a matrix of all pairs that autograd keeps."""
    distance = (2 - 2 * embeddings @ embeddings.T).clamp(min=0)
    same = products[:, None] == products
    itself = torch.eye(len(products), dtype=torch.bool, device=products.device)
    positive = (distance.clamp(max=margins.positive[1]) - margins.positive[0]).clamp(min=0).pow(margins.power)
    negative = (margins.negative[1] - distance.clamp(min=margins.negative[0])).clamp(min=0).pow(margins.power)
    pulled = (positive * (same & ~itself)).sum() / (same & ~itself).sum()
    pushed = (negative * ~same).sum() / (~same).sum()
    return pulled + margins.negative_weight * pushed


def peak_bytes(device: str) -> int:
    """The most memory this process ever held."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # kilobytes on Linux


if __name__ == "__main__":
    main()
