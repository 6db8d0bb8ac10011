"""The pairwise loss beside pytorch-metric-learning's contrastive loss: seconds and memory of forward and backward.

    python benchmarks/pairwise.py --photos 4416 --dim 400 --per-product 4 --json benchmarks/results/pairwise.json

Each contender runs in a process of its own, one pass to warm up and then `--passes`, on the same vectors and products.
Memory is the greatest resident set (of a GPU: the greatest allocation) less what the process held before the loss
began. The contrastive loss has two of our margins on the same squared distances, a power of 1 and no weight; it is
measured with Euclidean distances squared and with cosines, which on vectors of length 1 are the same but for a factor,
and the better of its figures counts. `matrix` is our own formula over whole matrices by torch's autograd: what blocks
and the gradient in closed form save.

Photos are `apart`, as they are once training has begun, when few pairs are within a margin, or `near`, as they are
before it, when all are.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from benchmarks.measuring import machine, write_json
from trainer.losses.pairwise import Margins, pairwise_loss

PEERS = ("pytorch-metric-learning, distances", "pytorch-metric-learning, cosines")
CONTENDERS = ("lookalike", "matrix", *PEERS)
OWN = {"apart": 0.7, "near": 0.05}  # how much of a photo is its own, beside its product's centre or the common one
Loss = Callable[[Tensor, Tensor], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of the pairwise loss.")
    parser.add_argument("--photos", type=int, default=4416)
    parser.add_argument("--dim", type=int, default=400)
    parser.add_argument("--per-product", type=int, default=4)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", choices=CONTENDERS, help="This one, in this process; prints JSON.")
    parser.add_argument("--where", choices=[*OWN], default="apart", help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(measure(arguments)))
        return
    command = [sys.executable, "-m", "benchmarks.pairwise", *sys.argv[1:]]
    found = {
        photos: {name: _in_process([*command, "--only", name, "--where", photos]) for name in CONTENDERS}
        for photos in OWN
    }
    for photos, by_name in found.items():
        for name, figures in by_name.items():
            print(f"{photos:6} {name:36} {figures['seconds']:8.3f} s  {figures['bytes'] / 1e6:10.1f} MB")
        ours = by_name["lookalike"]
        times = min(by_name[peer]["seconds"] for peer in PEERS) / ours["seconds"]
        share = ours["bytes"] / min(by_name[peer]["bytes"] for peer in PEERS)
        print(f"{photos}: lookalike is {times:.1f} times as fast as its peer and takes {share:.1%} of the memory")
    if arguments.json:
        asked = {key: value for key, value in vars(arguments).items() if key not in ("json", "only", "where")}
        versions = {name: version(name) for name in ("torch", "pytorch-metric-learning")}
        write_json(arguments.json, {"machine": machine(), "versions": versions, **asked, "found": found})


def _in_process(command: list[str]) -> dict[str, float]:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=Path(__file__).parents[1])
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """Median seconds of a pass, bytes at its peak, and the loss itself."""
    loss = make_loss(arguments.only)
    torch.manual_seed(0)
    products = torch.arange(arguments.photos, device=arguments.device) // arguments.per_product
    vectors = torch.randn(arguments.photos, arguments.dim, device=arguments.device).mul_(OWN[arguments.where])
    centres = torch.randn(int(products[-1]) + 1, arguments.dim, device=arguments.device)
    for photo, product in enumerate(products.tolist()):  # one at a time: what is freed before it starts hides a loss
        vectors[photo] += centres[product if arguments.where == "apart" else 0]
        vectors[photo] /= vectors[photo].norm()
    before = held_bytes(arguments.device)
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
    from pytorch_metric_learning.distances import CosineSimilarity, LpDistance
    from pytorch_metric_learning.losses import ContrastiveLoss

    positive, negative = margins.positive[0], margins.negative[1]
    contrastive: Loss
    if name == PEERS[0]:
        contrastive = ContrastiveLoss(pos_margin=positive, neg_margin=negative, distance=LpDistance(power=2))
    else:  # D = 2 - 2 cos
        contrastive = ContrastiveLoss(
            pos_margin=1 - positive / 2, neg_margin=1 - negative / 2, distance=CosineSimilarity()
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


def held_bytes(device: str) -> int:
    """What this process holds now; from here on its peak is counted."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")  # the kernel's peak begins anew
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def peak_bytes(device: str) -> int:
    """The most memory this process held since `held_bytes`."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated()
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
