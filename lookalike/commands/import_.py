"""`lookalike import`: a table of photos -> the catalogue."""

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import click

from engine.catalogue.schema import FacetType, FacetValue
from lookalike.console import progress, remark, say, show_table

if TYPE_CHECKING:
    from indexer.import_report import FacetReport, ImportReport

SHOWN = 5  # clashes and rejected rows told on the screen; `--json` has all clashes, rejected.csv all rows


class FacetOption(click.ParamType[tuple[str, FacetType]]):
    """`name:type`, as in price:number; the name may have colons of its own."""

    name = "name:type"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, FacetType]:
        facet, colon, kind = str(value).rpartition(":")
        if not colon or not facet or kind not in set(FacetType):
            self.fail(
                f"{value!r} is not name:type; the types are {', '.join(FacetType)}, as in price:number.", param, ctx
            )
        return facet, FacetType(kind)


@click.command("import", short_help="A table of photos -> the catalogue.")
@click.argument("table", type=click.Path(path_type=Path))
@click.option(
    "--images", type=click.Path(path_type=Path), help="Folder or tar of the photos  [default: TABLE's folder]"
)
@click.option("--catalogue", required=True, metavar="FILE|URL", help="SQLite file, made if need be, or postgresql://…")
@click.option(
    "--where", multiple=True, metavar="FILTER", help="Only such rows: 'split=catalogue|train'; several are and-ed."
)
@click.option("--facet", "facets", multiple=True, type=FacetOption(), help="Make a column a facet of this type.")
@click.option("--photo-column", "photo_columns", multiple=True, metavar="NAME", help="Make a column no facet.")
@click.option("--product-column", default="product_id", show_default=True, help="The column of product ids.")
@click.option("--image-column", default="image", show_default=True, help="The column of photos.")
@click.option(
    "--rejected", type=click.Path(path_type=Path), help="List of rejected rows  [default: rejected.csv by FILE]"
)
@click.option("--replace", is_flag=True, help="Delete from the catalogue what the table lacks.")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
def command(
    *,
    table: Path,
    images: Path | None,
    catalogue: str,
    where: tuple[str, ...],
    facets: tuple[tuple[str, FacetType], ...],
    photo_columns: tuple[str, ...],
    product_column: str,
    image_column: str,
    rejected: Path | None,
    replace: bool,
    as_json: bool,
) -> None:
    """Bring TABLE (CSV, JSON Lines or Parquet; one row per photo) into the catalogue.

    Columns that do not vary within products become facets, their types told from the values; the others belong to the
    photos. Photos stay where they are. The same import again changes nothing.
    """
    # databases and tables load only when there is work, so that --help answers at once
    from engine.catalogue.store import Catalogue
    from engine.search.filter_syntax import parse
    from indexer.importer import check_columns, import_table

    filter = parse(where)
    types = dict(facets)
    # before the catalogue is opened: a wrong table should not leave an empty one behind
    check_columns(table, product_column, image_column, filter, {*types, *photo_columns})
    began = perf_counter()
    with Catalogue.open(catalogue, create=True) as opened:
        with progress() as listener:
            report = import_table(
                opened,
                table,
                images,
                where=filter,
                facet_types=types,
                photo_columns=photo_columns,
                replace=replace,
                product_column=product_column,
                image_column=image_column,
                rejected=rejected,
                progress=listener,
            )
        name = opened.name
    if as_json:
        say(json.dumps(asdict(report), ensure_ascii=False, indent=2, default=_plain))
        return
    say(f"{table.name} → {name}: {report.rows:,} rows in {perf_counter() - began:.1f} s.")
    _show(report)


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _show(report: "ImportReport") -> None:
    counts = [
        ("products", report.products_new, report.products_changed, report.products_unchanged, report.products_deleted),
        ("photos", report.photos_new, report.photos_changed, report.photos_unchanged, report.photos_deleted),
    ]
    rows = [(what, *(f"{number:,}" for number in numbers)) for what, *numbers in counts]
    show_table("Catalogue", ("", "new", "changed", "unchanged", "deleted"), rows)
    if report.facets:
        headings = ("facet", "type", "most frequent", "products", "values")
        show_table("Facets", headings, [_facet_row(facet) for facet in report.facets], text_columns=3)
    if report.photo_columns:
        say(f"Of the photos, not of the products: {', '.join(report.photo_columns)}.")
    for column, reason in report.left_out.items():
        say(f"Left out: {column} ({reason}).")
    if report.photos_repeated:
        say(f"Repeated: {report.photos_repeated:,} rows bring a photo that their product has from an earlier row.")
    _show_clashes(report)
    if report.rejected_path is not None:
        remark(f"Rejected: {report.rows_rejected:,} of {report.rows:,} rows; {report.rejected_path} says why.")


def _facet_row(report: "FacetReport") -> tuple[str, ...]:
    told_by = " (--facet)" if report.origin == "declared" else ""
    examples = ", ".join(_shown(value) for value in report.examples)
    return report.facet.name, report.facet.type + told_by, examples, f"{report.products:,}", f"{report.distinct:,}"


def _shown(value: FacetValue) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.10g}"
        case datetime():
            return value.isoformat().removesuffix("T00:00:00+00:00")
    text = ", ".join(value) if isinstance(value, tuple) else value
    return text if len(text) <= 24 else f"{text[:23]}…"


def _show_clashes(report: "ImportReport") -> None:
    if not report.clashes:
        return
    remark(f"Clashes: {len(report.clashes):,} times the rows of a product disagree, and the first one wins:")
    for clash in report.clashes[:SHOWN]:
        kept, refused = _shown(clash.kept), _shown(clash.refused)
        remark(f"  row {clash.row}: {clash.product_id} has {clash.column} {kept}, not {refused}")
    if len(report.clashes) > SHOWN:
        remark(f"  … and {len(report.clashes) - SHOWN:,} more")
