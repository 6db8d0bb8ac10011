"""`lookalike label`: labels that nobody typed: from behaviour (`clean`), from what is known already (`match`)."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lookalike.console import progress, remark, say, show_table

if TYPE_CHECKING:
    from engine.search.search_engine import SearchEngine
    from engine.vision.encoder import Encoder

SHOWN = 20  # queries in the table that is printed


@click.group("label")
def command() -> None:
    """Make labels to train on out of what there is."""


@command.command("clean")
@click.argument("table", type=click.Path(path_type=Path))
@click.option("--images", type=click.Path(path_type=Path), help="Folder or tar of the photos, if not in the table.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Table to write, of the same kind.")
@click.option("--query", "query_column", default="query", show_default=True, help="Column of what was asked for.")
@click.option("--count", "count_column", help="Column of how often; else every row counts once.")
@click.option("--where", multiple=True, metavar="TEXT", help="Rows to take: split=train …; several are and-ed.")
@click.option("--image-column", default="image", show_default=True, help="The column that names the photos.")
@click.option("--label-column", default="queries", show_default=True, help="Column to write the labels to, as a|b.")
@click.option(
    "--phrases",
    default=0,
    type=click.IntRange(0, 5),
    show_default=True,
    help="Take each run of up to so many words for a query: titles in place of a log. 0: queries as they are.",
)
@click.option("--min-count", default=1, type=click.IntRange(1), show_default=True, help="Times per photo and query.")
@click.option("--min-photos", default=300, type=click.IntRange(1), show_default=True, help="Photos per query.")
@click.option("--model", type=click.Path(path_type=Path), help="Model that tells whether a query's photos agree.")
@click.option(
    "--min-agreement",
    default=0.1,
    type=click.FloatRange(-1, 1),
    show_default=True,
    help="Of a query's photos: 0 is any two photos, 1 equal ones.",
)
@click.option(
    "--min-fit",
    default=0.0,
    type=click.FloatRange(-1, 1),
    show_default=True,
    help="Of one photo with its query's others, on the same scale.",
)
def clean(
    *,
    table: Path,
    images: Path | None,
    out: Path,
    query_column: str,
    count_column: str | None,
    where: Sequence[str],
    image_column: str,
    label_column: str,
    phrases: int,
    min_count: int,
    min_photos: int,
    model: Path | None,
    min_agreement: float,
    min_fit: float,
) -> None:
    """Turn TABLE, noisy (photo, query) rows, into photos with several labels each.

    Queries are normalised and counted, rare ones dropped, and with --model those whose photos do not look alike, and
    photos that do not look like the query's others. Beside --out lie a table of what was dropped and a summary.
    """
    from trainer.labels.clean import Rules
    from trainer.labels.jobs import clean_summary, clean_table, kept_queries
    from trainer.labels.tables import PhotoTable

    rules = Rules(phrases, min_count, min_photos, min_agreement, min_fit)
    with progress() as listener:
        found = clean_table(
            PhotoTable(table, images, tuple(where), image_column),
            out,
            rules,
            query_column=query_column,
            count_column=count_column,
            label_column=label_column,
            encoder=None if model is None else _encoder(model),
            progress=listener,
        )
    if model is None:
        remark("Without --model nothing was dropped for how photos look.")
    show_table(
        "Queries with the most photos",
        ("query", "photos", "agreement"),
        [(each["query"], each["photos"], _figure(each["agreement"])) for each in kept_queries(found, SHOWN)],
    )
    summary = clean_summary(found)
    rows = [(kind, reason, count) for kind, reasons in summary["dropped"].items() for reason, count in reasons.items()]
    show_table("Dropped", ("what", "because", "how many"), rows, text_columns=2)
    kept = summary["kept"]
    say(f"{out} holds {kept['photos']:,} photos with {kept['labels']:,} labels of {kept['queries']:,} queries.")


@command.command("match")
@click.argument("table", type=click.Path(path_type=Path))
@click.option("--images", type=click.Path(path_type=Path), help="Folder or tar of the photos, if not in the table.")
@click.option("--index", "index_dir", required=True, type=click.Path(path_type=Path), help="The known products.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Table to write, of the same kind.")
@click.option("--where", multiple=True, metavar="TEXT", help="Rows to take; several are and-ed.")
@click.option("--image-column", default="image", show_default=True, help="The column that names the photos.")
@click.option("--label-column", default="product_id", show_default=True, help="Column to write the product to.")
@click.option(
    "--distance",
    default=0.2,
    type=click.FloatRange(0, 4, min_open=True),
    show_default=True,
    help="Squared L2 distance of unit vectors below which a photo shows the product; .2 is a cosine of .9.",
)
@click.option(
    "--lead",
    default=0.0,
    type=click.FloatRange(0, 4),
    show_default=True,
    help="By how much the next product must be farther.",
)
@click.option("--per-product", type=click.IntRange(1), help="The nearest so many photos of each product.")
@click.option("--check", metavar="COLUMN", help="Column with the true product: say how many matches agree with it.")
def match(
    *,
    table: Path,
    images: Path | None,
    index_dir: Path,
    out: Path,
    where: Sequence[str],
    image_column: str,
    label_column: str,
    distance: float,
    lead: float,
    per_product: int | None,
    check: str | None,
) -> None:
    """Give the unlabelled photos of TABLE the product of the index they are nearest to, if it is near enough.

    What comes out is a table to train on: add it to a recipe as one more [[dataset]], and to the task that learns the
    known products, dataset = ["known", "matched"], so that its photos are more of those products.
    """
    from engine.search.search_engine import SearchEngine
    from trainer.labels.jobs import agreement_with, match_table
    from trainer.labels.match import MatchRules
    from trainer.labels.tables import PhotoTable

    source = PhotoTable(table, images, tuple(where), image_column)
    with SearchEngine.open(index_dir) as engine, progress() as listener:
        found = match_table(
            source,
            out,
            engine,
            _encoder_of(engine),
            MatchRules(distance, lead, per_product),
            label_column=label_column,
            progress=listener,
        )
    products = len({each.product_id for each in found.matches})
    show_table("Left out", ("because", "photos"), list(found.left_out.items()))
    say(f"{out} holds {len(found.matches):,} photos of {products:,} products.")
    if check is not None:
        right, known = agreement_with(source, found, check)
        say(f"Of {known:,} matches whose {check!r} is known, {right:,} agree ({right / max(known, 1):.1%}).")


def _encoder(model: Path) -> "Encoder":
    from engine.vision.encoder import OpenVinoEncoder
    from engine.vision.model import Model

    return OpenVinoEncoder(Model.open(model))


def _encoder_of(engine: "SearchEngine") -> "Encoder":
    from engine.vision.encoder import OpenVinoEncoder

    return OpenVinoEncoder(engine.model)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
