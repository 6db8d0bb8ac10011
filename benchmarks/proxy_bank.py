"""A step of a proxy bank beside the dense layer's: seconds and memory by the number of classes.

    python benchmarks/proxy_bank.py --classes 100000 3000000 --dim 256 --json benchmarks/results/proxy_bank.json

A step is forward, backward and the update of the proxies, of a softmax over cosines of `--photos` embeddings. The bank
draws `--sampled` classes; the dense layer has them all, with SGD without momentum too, so that neither keeps a second
copy. Each runs in a process of its own; one that the memory does not suffice for is reported as such.
"""

import argparse
import json
import resource
import signal
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.measuring import machine, write_json
from trainer.losses.classifiers import Proxies
from trainer.losses.norm_softmax import norm_softmax_loss
from trainer.losses.task_loss import cosines
from trainer.proxy_bank import ProxyBank, renumbered

TEMPERATURE = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of a proxy bank's step.")
    parser.add_argument("--classes", type=int, nargs="+", default=[3_000_000])
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--photos", type=int, default=128)
    parser.add_argument("--sampled", type=int, default=8192)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", choices=["bank", "dense"], help="This one, in this process; prints JSON.")
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(measure(arguments)))
        return
    found = {}
    for classes in arguments.classes:
        for name in ("bank", "dense"):
            figures = found[f"{name} of {classes}"] = _in_process(arguments, classes, name)
            shown = f"{figures['seconds']:8.3f} s {figures['bytes'] / 1e9:8.2f} GB" if figures else "out of memory"
            print(f"{classes:>10,} classes, {name:5} {shown}", flush=True)
    if arguments.json:
        asked = {key: value for key, value in vars(arguments).items() if key not in ("json", "only")}
        write_json(arguments.json, {"machine": machine(), **asked, "found": found})


def _in_process(arguments: argparse.Namespace, classes: int, name: str) -> dict[str, Any] | None:
    asked = {"classes": classes, "dim": arguments.dim, "photos": arguments.photos, "sampled": arguments.sampled}
    options = [text for key, value in asked.items() for text in (f"--{key}", str(value))]
    command = [sys.executable, "-m", "benchmarks.proxy_bank", *options, "--steps", str(arguments.steps), "--only", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
    if done.returncode == -signal.SIGKILL or "can't allocate memory" in done.stderr:  # the kernel's word, or torch's
        return None
    if done.returncode:
        raise SystemExit(f"{name} of {classes} classes failed: {done.stderr.strip()}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """Median seconds of a step after the first, and the most bytes the process ever held."""
    (classes,) = arguments.classes
    torch.manual_seed(0)
    step = bank_step(arguments, classes) if arguments.only == "bank" else dense_step(arguments, classes)
    seconds = []
    for number in range(arguments.steps + 1):
        embeddings = F.normalize(torch.randn(arguments.photos, arguments.dim)).requires_grad_()
        labels = torch.randint(classes, (arguments.photos, 1))
        began = perf_counter()
        step(embeddings, labels, number)
        seconds.append(perf_counter() - began)
    return {
        "seconds": float(np.median(seconds[1:])),
        "bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def bank_step(arguments: argparse.Namespace, classes: int) -> Any:
    bank = ProxyBank.random(classes, arguments.dim, 0)

    def step(embeddings: torch.Tensor, labels: torch.Tensor, number: int) -> None:
        drawn = bank.draw(labels.numpy().ravel(), arguments.sampled, number)
        proxies = bank.rows(drawn, torch.device("cpu"))
        targets = torch.from_numpy(renumbered(labels.numpy(), drawn))
        norm_softmax_loss(cosines(embeddings, proxies), targets, TEMPERATURE).mean().backward()
        assert proxies.grad is not None
        bank.learn(drawn, proxies.grad, 0.1)

    return step


def dense_step(arguments: argparse.Namespace, classes: int) -> Any:
    layer = Proxies(arguments.dim, classes)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)

    def step(embeddings: torch.Tensor, labels: torch.Tensor, _: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        norm_softmax_loss(layer(embeddings), labels, TEMPERATURE).mean().backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    main()
