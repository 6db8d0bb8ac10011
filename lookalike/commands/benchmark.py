"""`lookalike benchmark`: labelled photos -> precision@1, recall@k and mAP, latency, bytes per photo."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.errors import BadCall, BadTable
from lookalike.console import progress, remark, say, show_table

if TYPE_CHECKING:
    from engine.evaluate import LabelledQuery, LabelResult, QuerySet, Report
    from engine.search.filters import Filter
    from engine.search.modes import Mode
    from engine.search.search_engine import SearchEngine
    from engine.sources.photos import PhotoSource
    from engine.sources.tables import Row

    NumberedRow = tuple[int, Row]

FORMAT = 1


@click.command()
@click.option("--index", "index_dir", required=True, type=click.Path(path_type=Path), help="The index directory.")
@click.option("--queries", required=True, type=click.Path(path_type=Path), help="CSV, JSON Lines or Parquet of photos.")
@click.option("--images", type=click.Path(path_type=Path), help="Folder or tar of the photos, if not in the table.")
@click.option("--where", multiple=True, metavar="TEXT", help="Rows to ask with: split=val …; several are and-ed.")
@click.option("--label", "labels", multiple=True, required=True, help="product_id, title or a facet; repeatable.")
@click.option(
    "--mode",
    "modes",
    multiple=True,
    type=click.Choice(["exact", "similar", "both"]),
    default=("exact",),
    show_default=True,
    help="Which part of the answer to judge; repeatable.",
)
@click.option(
    "--filter", "filters", multiple=True, metavar="TEXT", help="Search under this filter; several are and-ed."
)
@click.option("--limit", type=click.IntRange(1), help="Ask with so many photos at most, spread evenly over the table.")
@click.option("--image-column", default="image", show_default=True, help="The column that names the photos.")
@click.option("--threads", default=0, show_default=True, help="Threads that encode; 0 takes all cores.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write the figures to this file.")
def command(
    *,
    index_dir: Path,
    queries: Path,
    images: Path | None,
    where: Sequence[str],
    labels: Sequence[str],
    modes: "Sequence[Mode]",
    filters: Sequence[str],
    limit: int | None,
    image_column: str,
    threads: int,
    out: Path | None,
) -> None:
    """Ask an index with labelled photos and measure its answers.

    Relevant is the query's own product (label product_id), or every product whose facet has the query's value. Photos
    that are in the index themselves are left out.
    """
    from engine.evaluate import check_labels, encode_queries, evaluate
    from engine.search.filter_syntax import parse
    from engine.search.search_engine import SearchEngine
    from engine.sources.photos import open_photos

    rows = _spread(_rows(queries, parse(where), (image_column, *labels)), limit)
    filter = parse(filters)
    with SearchEngine.open(index_dir, threads=threads) as engine, progress() as listener:
        check_labels(engine, labels)
        listener.start("encode queries", len(rows))
        photos = open_photos(queries, images)
        seen = encode_queries(engine, _labelled(rows, photos, labels, image_column), listener)
        _check(seen, queries)
        reports = []
        for mode in modes:
            listener.start(f"search, {mode}", len(seen.queries))
            reports.append(evaluate(engine, seen, labels, mode=mode, filter=filter, progress=listener))
        listener.finish()
        figures = _figures(engine, seen, reports)
    _show(figures, [result for report in reports for result in report.results])
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        remark(f"Written to {out}.")


def _rows(table: Path, where: "Filter | None", needed: Sequence[str]) -> "list[NumberedRow]":
    """The rows to ask with; `needed` columns must be there."""
    from engine.search.filters import matches, require_names
    from engine.sources.tables import PROBLEM, columns, read_rows

    names = columns(table)
    for name in needed:
        if name not in names:
            raise BadTable(f"{table} has no column {name!r}; it has {', '.join(names)}.")
    if where is not None:
        require_names(where, names, f"column of {table.name}")
    rows = [
        (number, row)
        for number, row in read_rows(table)
        if PROBLEM not in row and (where is None or matches(where, row))
    ]
    if not rows:
        raise BadCall(f"No row of {table} is left to ask with; widen --where.")
    return rows


def _spread(rows: "list[NumberedRow]", limit: int | None) -> "list[NumberedRow]":
    if limit is None or limit >= len(rows):
        return rows
    return [rows[place * len(rows) // limit] for place in range(limit)]


def _labelled(
    rows: "Sequence[NumberedRow]", photos: "PhotoSource", labels: Sequence[str], image_column: str
) -> "Iterator[LabelledQuery]":
    from engine.evaluate import LabelledQuery
    from engine.sources.photos import read_photo

    for number, row in rows:
        uri = photos.locate(row, number, image_column)
        known = {label: row[label] for label in labels if row.get(label) is not None}
        yield LabelledQuery(f"row {number}", read_photo(uri), known)


def _check(seen: "QuerySet", table: Path) -> None:
    if seen.in_gallery:
        remark(f"Queries also in the gallery: {len(seen.in_gallery)}, left out because they would find themselves.")
    if seen.unreadable:
        more = ", …" if len(seen.unreadable) > 5 else ""
        remark(
            f"Photos that cannot be read: {len(seen.unreadable)} ({', '.join(seen.unreadable[:5])}{more}), left out."
        )
    if not seen.queries:
        raise BadCall(
            f"No photo of {table} is left to ask with: {len(seen.in_gallery)} are in the index themselves, "
            f"{len(seen.unreadable)} cannot be read; choose others with --where."
        )


def _figures(engine: "SearchEngine", seen: "QuerySet", reports: "Sequence[Report]") -> dict[str, Any]:
    from engine.evaluate import latency

    manifest = engine.manifest
    return {
        "format": FORMAT,
        "queries": len(seen.queries),
        "queries_in_gallery": len(seen.in_gallery),
        "queries_unreadable": len(seen.unreadable),
        "results": [result.to_dict() for report in reports for result in report.results],
        "latency_ms": latency(seen, reports),
        "bytes_per_photo": manifest.bytes_per_photo,
        "index": {
            "generation": engine.generation,
            "model_id": manifest.model_id,
            "products": engine.products,
            "photos": engine.photos,
            "dim": manifest.dim,
            "codec": manifest.codec,
            "lists": manifest.lists,
            "nprobe": manifest.nprobe,
            "depth": manifest.depth,
            "filter_budget": manifest.filter_budget,
        },
    }


def _show(figures: dict[str, Any], results: "Sequence[LabelResult]") -> None:
    metrics = [name for name in results[0].metrics if name != "recall@1"]  # it is precision@1, and the table is wide
    rows = [(result.label, result.mode, *(_share(result, name) for name in metrics)) for result in results]
    title = f"Answers to {figures['queries']} photos (± half of the 95 % interval)"
    show_table(title, ("label", "mode", *metrics), rows, text_columns=2)
    for result in results:
        if result.queries < figures["queries"]:
            remark(
                f"{result.label}, {result.mode}: judged by {result.queries}; {result.without_label} have no value, for "
                f"{result.without_relevant} nothing that may be shown is relevant."
            )
    shares = ("p50", "p95", "p99")
    stages = [(stage, *(f"{spent[share]:.1f}" for share in shares)) for stage, spent in figures["latency_ms"].items()]
    show_table("Milliseconds a query", ("", *shares), stages)
    say(f"{figures['index']['photos']:,} photos, {figures['bytes_per_photo']:.0f} bytes each on the disk.")


def _share(result: "LabelResult", name: str) -> str:
    low, high = result.interval_95[name]
    return f"{result.metrics[name]:.3f} ±{(high - low) / 2:.3f}"
