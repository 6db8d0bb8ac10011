"""How long the command line takes to answer `--help`, as a whole process: the median of several runs, in seconds.

python benchmarks/startup.py [--runs 11] [--json out.json]
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from time import perf_counter

from lookalike.main import COMMANDS


def seconds(arguments: list[str]) -> float:
    """Wall time of one run of `lookalike` with these arguments."""
    start = perf_counter()
    subprocess.run([Path(sys.executable).parent / "lookalike", *arguments], check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - start


def main() -> None:
    """Measures every command and prints a line for each."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=11)
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    calls = [["--help"], *([name, "--help"] for name in COMMANDS)]
    figures = {}
    for call in calls:
        seconds(call)  # warms the file cache
        runs = sorted(seconds(call) for _ in range(given.runs))
        figures[" ".join(call)] = {"median": statistics.median(runs), "min": runs[0], "max": runs[-1]}
        print(f"lookalike {' '.join(call):20} {statistics.median(runs):.3f} s  ({runs[0]:.3f}-{runs[-1]:.3f})")
    if given.json:
        given.json.write_text(json.dumps({"runs": given.runs, "seconds": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
