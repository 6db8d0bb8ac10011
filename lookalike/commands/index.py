"""`lookalike index`: the catalogue's photos -> a searchable index."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lookalike.console import progress, remark, say, show_table

if TYPE_CHECKING:
    from engine.storage.manifest import Recall
    from indexer.build import BuildReport

SHOWN_UNREADABLE = 5


@click.command()
@click.option("--catalogue", "where", required=True, help="The catalogue: a SQLite file or postgresql://…")
@click.option("--model", "model_dir", type=click.Path(path_type=Path), required=True, help="The model directory.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The index directory; made if missing.")
@click.option(
    "--shards", type=click.IntRange(1, 4096), help="Shards to split products over; by default one a million photos."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(where: str, model_dir: Path, out: Path, shards: int | None, as_json: bool) -> None:
    """Build a new generation of an index; the old one answers until the new one is whole.

    Photos that the last generation has are copied, the rest embedded. A build that was stopped goes on where it was.
    """
    from engine.catalogue.store import Catalogue
    from engine.vision.encoder import OpenVinoEncoder
    from engine.vision.model import Model
    from indexer.build import build_index

    model = Model.open(model_dir)
    with Catalogue.open(where) as catalogue, progress() as listener:
        report = build_index(catalogue, model, out, encoder=OpenVinoEncoder(model), shards=shards, progress=listener)
    if as_json:
        say(json.dumps(_as_json(report), indent=2))
    else:
        _show(report)


def _show(report: "BuildReport") -> None:
    manifest = report.manifest
    seconds = ", ".join(f"{stage} {value:.1f}" for stage, value in report.seconds.items())
    show_table(
        f"{report.path}",
        ("", ""),
        [
            ("photos", f"{manifest.photos:,} ({report.encoded:,} embedded, {report.copied:,} copied)"),
            ("products", f"{manifest.products:,}"),
            ("shards, lists", f"{manifest.shards:,}, {manifest.lists:,}"),
            ("codec", manifest.codec),
            ("nprobe, depth, filter budget", f"{manifest.nprobe:,}, {manifest.depth:,}, {manifest.filter_budget:,}"),
            (f"recall@{manifest.recall.at} of products", _recall(manifest.recall)),
            ("the same under filters", _recall(manifest.filtered_recall)),
            ("bytes per photo", f"{manifest.bytes_per_photo:,.0f}"),
            ("seconds", seconds),
        ],
    )
    for photo in report.unreadable[:SHOWN_UNREADABLE]:
        remark(f"Left out photo {photo.photo_id} of {photo.product_id}: {photo.reason}")
    if len(report.unreadable) > SHOWN_UNREADABLE:
        remark(f"Left out {len(report.unreadable) - SHOWN_UNREADABLE:,} more photos; --json lists them.")
    if report.without_photos:
        remark(f"{report.without_photos:,} products have no photo that can be read and cannot be found by one.")


def _recall(recall: "Recall") -> str:
    if not recall.queries:
        return "every photo is compared"
    low, high = recall.interval_95
    return f"{recall.value:.3f} ({low:.3f} to {high:.3f}, {recall.queries} queries)"


def _as_json(report: "BuildReport") -> dict[str, Any]:
    return {
        "generation": report.generation,
        "path": str(report.path),
        "encoded": report.encoded,
        "copied": report.copied,
        "without_photos": report.without_photos,
        "unreadable": [asdict(photo) for photo in report.unreadable],
        "seconds": report.seconds,
        "bytes_per_photo": report.manifest.bytes_per_photo,
        "manifest": json.loads(report.manifest.to_json()),
    }
