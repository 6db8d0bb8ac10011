"""What it costs to decode photos in child processes: milliseconds a photo here, in `DecodingPool`, in pebble.

python benchmarks/decoding.py [--times 300] [--json out.json]

Photos are drawn, JPEG files of three sizes; all three ways make the same input of 224 pixels of them, one photo after
the other, taking turns, so that what else the machine does hits all alike. pebble is left out where it is not
installed.
"""

import argparse
import json
import multiprocessing
import os
from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.vision.preprocess import Preprocess, load, load_pixels
from webui.decoding import DecodingPool

PREPROCESS = Preprocess(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SIDES = (256, 640, 1600)  # pixels of the photos
TIMEOUT_S = 60.0

Way = Callable[[bytes], NDArray[np.float32]]


def draw(side: int) -> bytes:
    """A JPEG of soft patches, about as large as a photo of that many pixels is."""
    patches = np.random.default_rng(side).integers(0, 255, (side // 8, side // 8, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(patches).resize((side, side), Image.Resampling.BICUBIC).save(file, "JPEG", quality=88)
    return file.getvalue()


def measure(ways: dict[str, Way], data: bytes, times: int) -> dict[str, dict[str, float]]:
    """Milliseconds of every way: the 10th, 50th and 99th percentile. All ways must give the same."""
    expected = load(data, "photo", PREPROCESS)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(times):
        for name, way in ways.items():
            start = perf_counter()
            found = way(data)
            seconds[name].append(perf_counter() - start)
            assert np.array_equal(found, expected), name
    return {
        name: {f"p{share}": round(float(np.percentile(taken, share)) * 1000, 3) for share in (10, 50, 99)}
        for name, taken in seconds.items()
    }


def _in_this_process(data: bytes) -> NDArray[np.float32]:
    return load(data, "photo", PREPROCESS)


def _pixels(data: bytes) -> NDArray[np.uint8]:
    return load_pixels(data, "photo", PREPROCESS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=300)
    parser.add_argument("--json", type=Path)
    wishes = parser.parse_args()
    with DecodingPool(timeout_s=TIMEOUT_S) as pool:
        ways: dict[str, Way] = {
            "in this process": _in_this_process,
            "DecodingPool": lambda data: pool(data, "photo", PREPROCESS),
        }
        if find_spec("pebble") is not None:
            from pebble import ProcessPool

            peer = ProcessPool(pool.processes, context=multiprocessing.get_context("forkserver"))
            ways["pebble"] = lambda data: PREPROCESS.normalised(
                peer.schedule(_pixels, args=(data,), timeout=TIMEOUT_S).result()
            )
        rows: list[dict[str, Any]] = []
        for side in SIDES:
            data = draw(side)
            found = measure(ways, data, wishes.times)
            rows.append({"pixels": f"{side} x {side}", "bytes": len(data), "milliseconds": found})
            print(f"{side} x {side}, {len(data):,} bytes")
            for name, figures in found.items():
                print(f"  {name:16} p10 {figures['p10']:8.2f}  p50 {figures['p50']:8.2f}  p99 {figures['p99']:8.2f} ms")
        if "pebble" in ways:
            peer.stop()
            peer.join()
    if wishes.json is not None:
        load_average = [round(one, 1) for one in os.getloadavg()]
        report = {"times": wishes.times, "cores": os.cpu_count(), "load_average": load_average, "photos": rows}
        wishes.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
