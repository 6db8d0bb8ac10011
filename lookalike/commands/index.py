"""`lookalike index`: the catalogue's photos -> a searchable index, kept up to date and whole."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.errors import BadCall
from lookalike.console import progress, remark, say, show_table

if TYPE_CHECKING:
    from engine.storage.manifest import Recall
    from indexer.build import BuildReport
    from indexer.prune import PruneReport
    from indexer.quantizer import Representation
    from indexer.repair import RepairReport
    from indexer.verify import Finding

SHOWN_UNREADABLE = 5


@click.command()
@click.option("--catalogue", "where", required=True, help="The catalogue: a SQLite file or postgresql://…")
@click.option("--model", "model_dir", type=click.Path(path_type=Path), help="The model directory; a prune needs none.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The index directory; made if missing.")
@click.option("--merge", is_flag=True, help="Fold the catalogue's changes into a new generation; trains nothing.")
@click.option("--prune", is_flag=True, help="Let go of what the kept generations make superfluous.")
@click.option("--repair", is_flag=True, help="Rebuild what is damaged or missing, from the catalogue.")
@click.option(
    "--shards", type=click.IntRange(1, 4096), help="Shards to split products over; by default one a million photos."
)
@click.option("--workers", type=click.IntRange(1, 1024), help="Processes that fill shards; by default one a core.")
@click.option(
    "--bytes-per-photo",
    type=click.IntRange(1, 4096),
    help="Memory for each photo's code; chosen by itself if not given.",
)
@click.option(
    "--representation",
    type=click.Choice(["pq", "rabitq", "int8", "float16"]),
    help="What a photo's code is: 4-bit PQ (if not given), one bit a dimension, scaled int8, float16.",
)
@click.option(
    "--recall", type=click.FloatRange(0.5, 1, max_open=True), help="Recall@10 to tune for; 0.98 if not given."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(
    *,
    where: str,
    model_dir: Path | None,
    out: Path,
    merge: bool,
    prune: bool,
    repair: bool,
    shards: int | None,
    workers: int | None,
    bytes_per_photo: int | None,
    representation: "Representation | None",
    recall: float | None,
    as_json: bool,
) -> None:
    """Build a new generation of an index; the old one answers until the new one is whole.

    Photos that the last generation or the catalogue has vectors of are copied, the rest embedded. A build that was
    stopped goes on where it was.
    """
    from engine.catalogue.store import Catalogue
    from engine.vision.encoder import OpenVinoEncoder
    from engine.vision.model import Model
    from indexer.build import BuildOptions, build_index
    from indexer.merge import merge_index
    from indexer.prune import prune_index
    from indexer.repair import repair_index

    if merge + prune + repair > 1:
        raise BadCall("Only one of --merge, --prune and --repair can be done at a time; run them one after the other.")
    kept = {"--shards": shards, "--bytes-per-photo": bytes_per_photo, "--representation": representation}
    _refuse(merge, "A merge keeps codec and shards as they are", kept)
    _refuse(repair, "A repair makes again what the build was asked for", kept | {"--recall": recall})
    _refuse(prune, "A prune builds nothing", kept | {"--recall": recall, "--workers": workers})
    one_size = representation not in (None, "pq")
    _refuse(one_size, f"Codes of {representation} have one size", {"--bytes-per-photo": bytes_per_photo})
    if prune:
        with Catalogue.open(where) as catalogue:
            _show_pruned(out, prune_index(catalogue, out), as_json)
        return
    if model_dir is None:
        raise BadCall("Which model encodes the photos is not said; add --model.")
    model = Model.open(model_dir)
    options = BuildOptions(shards, workers, bytes_per_photo, recall, representation or "pq")
    encoder = OpenVinoEncoder(model)
    with Catalogue.open(where) as catalogue, progress() as listener:
        if repair:
            repaired = repair_index(catalogue, model, out, encoder=encoder, options=options, progress=listener)
        else:
            make = merge_index if merge else build_index
            report = make(catalogue, model, out, encoder=encoder, options=options, progress=listener)
    if repair:
        _show_repaired(out, repaired, as_json)
        if repaired.left or repaired.lost_photos:
            raise click.exceptions.Exit(1)
    elif report is None:
        say("null" if as_json else f"{out} is up to date; nothing was done.")
    elif as_json:
        say(json.dumps(_as_json(report), indent=2))
    else:
        _show(report)


def _refuse(where: bool, why: str, options: Mapping[str, object]) -> None:
    """Raises BadCall if any of the options is given where it would mean nothing."""
    given = [name for name, value in options.items() if value is not None]
    if where and given:
        raise BadCall(f"{why}; leave {' and '.join(given)} out.")


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
    if report.unreadable_photos > SHOWN_UNREADABLE:
        remark(f"Left out {report.unreadable_photos - SHOWN_UNREADABLE:,} more photos; --json lists them.")
    if report.without_photos:
        remark(f"{report.without_photos:,} products have no photo that can be read and cannot be found by one.")


def _show_repaired(out: Path, report: "RepairReport", as_json: bool) -> None:
    if as_json:
        shown = {
            "findings": _found(report.findings),
            "built": None if report.built is None else _as_json(report.built),
            "dropped": report.dropped,
            "lost_photos": report.lost_photos,
            "left": _found(report.left),
        }
        say(json.dumps(shown, indent=2))
        return
    for finding in report.findings:
        say(f"Found: {finding.problem}")
    if report.built is not None:
        _show(report.built)
    for name in report.dropped:
        say(f"Generation {name} could not be made whole and is gone.")
    for finding in report.left:
        say(f"Left: {finding.problem}")
    if report.left:
        say(f"{out} is not whole; {_remedy(out, report.left)}.")
    elif report.lost_photos:
        say(
            f"{out} is whole again, but up to {report.lost_photos:,} of its photos are lost, since neither their "
            "vectors nor their files can be read; put the files back and build it anew without --repair."
        )
    else:
        say(f"{out} is whole{' again' if report.findings else '; nothing was done'}.")


def _remedy(out: Path, left: Sequence["Finding"]) -> str:
    """What to do about what a repair could not: mostly it was given another model than that of the damaged copy."""
    places = [finding.path.relative_to(out).parts for finding in left]
    models = sorted({parts[1][:12] for parts in places if parts[0] == "models"})
    return f"repair it with --model naming {' and '.join(models)}" if models else "check the disk and repair it again"


def _found(findings: Sequence["Finding"]) -> list[dict[str, str]]:
    return [{"path": str(finding.path), "problem": finding.problem} for finding in findings]


def _show_pruned(out: Path, report: "PruneReport", as_json: bool) -> None:
    if as_json:
        say(json.dumps(asdict(report), indent=2))
    else:
        say(
            f"{out} keeps generation {' and '.join(report.generations)}; the catalogue's log begins after change "
            f"{report.log_trimmed_to:,}, and {report.vectors_dropped:,} of its vectors went."
        )


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
        "unreadable_photos": report.unreadable_photos,
        "shards_kept": report.shards_kept,
        "seconds": report.seconds,
        "bytes_per_photo": report.manifest.bytes_per_photo,
        "manifest": json.loads(report.manifest.to_json()),
    }
