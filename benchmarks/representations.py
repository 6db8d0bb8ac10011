"""Codes that stand for vectors: how much accuracy a byte buys, and what it costs to scan.

python -m benchmarks.representations [--rows 200000] [--only pq] [--seconds 1]

Every representation has as many inverted lists round it, of which the nearest 32 are scanned; `recall@10` is that of
the codes alone, `recall@10 of n` the share of the ten true neighbours among the n best codes, which is what re-ranking
n float16 rows reaches.
"""

import argparse
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmarks.measuring import machine, rate, recall_of, true_neighbours, write_json
from benchmarks.picture import Curve, draw
from benchmarks.vectors import Vectors, from_file, from_index, made
from engine.storage.ivf import Quantizer, ShardCodes
from engine.storage.shard import PhotoRows, Shard, write_shard
from indexer.quantizer import Representation, codec_for, lists_for, sample_size, train

HERE = Path(__file__).parent
K = 10
NPROBE = 32
LOOKS = (10, 20, 50, 100, 200)


def main() -> None:
    """Measures, prints a table, writes JSON and a picture."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=200_000)
    options.add_argument("--dim", type=int, default=256)
    options.add_argument("--queries", type=int, default=1000)
    options.add_argument("--seconds", type=float, default=1.0, help="for every representation")
    options.add_argument("--only", action="append", choices=get_args(Representation), default=[])
    options.add_argument("--vectors", type=Path, help="rows as .npy instead of made ones")
    options.add_argument("--index", type=Path, help="the rows of this index instead of made ones")
    options.add_argument("--work", type=Path, help="for files, removed at the end")
    options.add_argument("--json", type=Path)
    options.add_argument("--picture", type=Path)
    given = options.parse_args()
    if given.vectors or given.index:
        read = from_file if given.vectors else from_index
        vectors = read(given.vectors or given.index, given.queries)
    else:
        vectors = made(given.rows, given.queries, given.dim)
    figures: dict[str, Any] = {
        "what": vectors.what,
        "k": K,
        "nprobe": NPROBE,
        "machine": machine(),
        "load_average": os.getloadavg()[0],
        "codes": [],
    }
    true = true_neighbours(vectors.rows, vectors.queries, K)
    for codec in _codecs(vectors, given.only):
        with tempfile.TemporaryDirectory(dir=given.work) as work:
            figures["codes"].append(measure(codec, vectors, true, Path(work), given.seconds))
        print(figures["codes"][-1], flush=True)
    name = f"representations-{vectors.name}"
    write_json(given.json or HERE / "results" / f"{name}.json", figures)
    print(table(figures))
    _picture(figures, given.picture or HERE.parent / "docs" / f"{name}.png")


def _codecs(vectors: Vectors, only: list[Representation]) -> Iterator[str]:
    lists, dim = lists_for(len(vectors.rows)), vectors.rows.shape[1]
    for representation in only or get_args(Representation):
        sizes = [dim // 16, dim // 8, dim // 4, dim // 2] if representation == "pq" else [None]
        for size in sizes:
            yield codec_for(dim, lists, size, representation)


def measure(codec: str, vectors: Vectors, true: np.ndarray, work: Path, seconds: float) -> dict[str, Any]:
    """One representation: bytes, recall and speed, all queries in one call."""
    count, lists = len(vectors.rows), lists_for(len(vectors.rows))
    sample = np.sort(np.random.default_rng(0).choice(count, sample_size(count, lists), replace=False))
    quantizer = train(vectors.rows[sample].astype(np.float32), lists, codec)
    photos = PhotoRows(np.arange(count), np.zeros(count, np.int32), np.zeros((count, 32), np.uint8), [""] * count)
    write_shard(work, 0, quantizer, photos, vectors.rows)
    shard = Shard.open(work, 0, quantizer)
    depth = max(LOOKS)

    def scan() -> np.ndarray:
        return _scan(shard.codes, quantizer, vectors.queries, depth)

    found = shard.photo_ids[scan()]
    reached = {f"recall@{K} of {looks}": round(_within(found[:, :looks], true), 4) for looks in LOOKS}
    return {
        "codec": codec,
        "bytes": shard.codes.bytes_per_row,
        f"recall@{K}": round(recall_of(found, true), 4),
        **reached,
        "queries_per_second": round(rate(scan, len(vectors.queries), seconds), 1),
    }


def _scan(codes: ShardCodes, quantizer: Quantizer, queries: np.ndarray, depth: int) -> np.ndarray:
    similarities, lists = quantizer.nearest(queries, NPROBE)
    return codes.scan(queries, lists, similarities, depth)[1]


def _within(found: np.ndarray, true: np.ndarray) -> float:
    return float(np.mean([np.isin(wanted, mine).mean() for mine, wanted in zip(found, true, strict=True)]))


def table(figures: dict[str, Any]) -> str:
    """The figures as Markdown, by rising bytes."""
    names = ["bytes", f"recall@{K}", *(f"recall@{K} of {looks}" for looks in LOOKS[1:]), "queries_per_second"]
    lines = ["| codec | " + " | ".join(name.replace("_", " ") for name in names) + " |"]
    lines.append("| --- " * (len(names) + 1) + "|")
    lines += [
        f"| {code['codec'].split(',')[-1]} | " + " | ".join(f"{code[name]:,}" for name in names) + " |"
        for code in sorted(figures["codes"], key=lambda code: float(code["bytes"]))
    ]
    return "\n".join(lines)


def _picture(figures: dict[str, Any], path: Path) -> None:
    """Accuracy over bytes, with and without re-ranking."""
    codes = sorted(figures["codes"], key=lambda code: float(code["bytes"]))
    panels = {}
    for looks in (LOOKS[0], LOOKS[2]):
        heading = "codes alone" if looks == K else f"{looks} float16 rows re-ranked"
        panels[heading] = [
            Curve(
                "lookalike's PQ" if kind == "PQ" else kind,
                [(code["bytes"], code[f"recall@{K} of {looks}"]) for code in codes if kind in code["codec"]],
            )
            for kind in ("PQ", "RaBitQ", "SQ8", "SQfp16")
        ]
    draw(path, figures["what"], panels, x="bytes a photo", y=f"recall@{K}", log_x=True, linear=set(panels))


if __name__ == "__main__":
    main()
