"""`lookalike search`: a photo or a product -> the same product, and products like it."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.errors import BadQuery
from lookalike.console import say, show_table
from lookalike.photo_file import read_photo_file

if TYPE_CHECKING:
    from engine.catalogue.schema import FacetValue
    from engine.search.modes import Mode
    from engine.search.query import Box, Hit, Query, SearchResult
    from engine.search.search_engine import SearchEngine

FACETS_SHOWN = 3
VALUE_WIDTH = 24


@click.command()
@click.argument("photo", required=False, type=click.Path(path_type=Path))
@click.option("--product", "product_id", metavar="ID", help="Search from a product of the index, not from a photo.")
@click.option("--index", "index_dir", required=True, type=click.Path(path_type=Path), help="The index directory.")
@click.option(
    "--catalogue", metavar="FILE|URL", help="Search what this catalogue holds now, not only what was indexed."
)
@click.option(
    "--mode",
    type=click.Choice(["exact", "similar", "both"]),
    default="both",
    show_default=True,
    help="Which part of the answer.",
)
@click.option(
    "--filter", "filters", multiple=True, metavar="TEXT", help="colour=Red, 'price<50' …; several are and-ed."
)
@click.option("-k", default=10, show_default=True, help="Products in each part, 1-1000.")
@click.option("--box", metavar="L,T,R,B", help="Search with this part of the photo: fractions of its width and height.")
@click.option("--threads", default=0, show_default=True, help="Threads that encode; 0 takes all cores.")
@click.option("--json", "as_json", is_flag=True, help="The whole answer as JSON.")
def command(
    *,
    photo: Path | None,
    product_id: str | None,
    index_dir: Path,
    catalogue: str | None,
    mode: "Mode",
    filters: Sequence[str],
    k: int,
    box: str | None,
    threads: int,
    as_json: bool,
) -> None:
    """Find the product in PHOTO (JPEG, PNG or WebP), and products like it."""
    from engine.search.filter_syntax import parse
    from engine.search.query import Query
    from engine.search.search_engine import SearchEngine

    query = Query(
        photo=None if photo is None else read_photo_file(photo),
        product_id=product_id,
        k=k,
        mode=mode,
        filter=parse(filters),
        box=None if box is None else parse_box(box),
        name=str(photo),
    )
    with SearchEngine.open(index_dir, catalogue=catalogue, threads=threads) as engine:
        answer = engine.search(query)
        if as_json:
            click.echo(json.dumps(answer_to_dict(answer, query, engine), indent=2, ensure_ascii=False))
        else:
            _show(answer)


def parse_box(text: str) -> "Box":
    """ "0.1,0.2,0.8,0.9" -> the box; raises BadQuery."""
    from engine.search.query import Box

    try:
        left, top, right, bottom = (float(part) for part in text.split(","))
    except ValueError:
        raise BadQuery(f"The box {text!r} is not four numbers; give left,top,right,bottom between 0 and 1.") from None
    return Box(left, top, right, bottom)


def _show(answer: "SearchResult") -> None:
    if answer.exact is not None:
        _show_hits("The same product", answer.exact.hits)
    if answer.similar is not None:
        _show_hits("Products like it", answer.similar)
    if answer.predictions:
        said = (f"{guess.head} {guess.label} ({guess.probability:.0%})" for guess in answer.predictions)
        say(f"Looks like: {', '.join(said)}")
    say(f"How: {answer.plan.sentence()}")


def _show_hits(title: str, hits: "Sequence[Hit]") -> None:
    if not hits:
        say(f"{title}: nothing.")
        return
    rows = [
        (place, hit.product_id, _shortened(hit.title or ""), _facets(hit), f"{hit.score:.3f}")
        for place, hit in enumerate(hits, start=1)
    ]
    show_table(title, ("", "product", "title", "facets", "score"), rows, text_columns=4)


def _facets(hit: "Hit") -> str:
    return ", ".join(_shortened(_plain(value)) for value in list(hit.facets.values())[:FACETS_SHOWN])


def _plain(value: "FacetValue") -> str:
    match value:
        case tuple():
            return " ".join(value)
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case datetime():
            return f"{value:%Y-%m-%d}"
        case _:
            return value


def _shortened(text: str) -> str:
    return text if len(text) <= VALUE_WIDTH else text[: VALUE_WIDTH - 1] + "…"


def answer_to_dict(answer: "SearchResult", query: "Query", engine: "SearchEngine") -> dict[str, Any]:
    """The answer as plain JSON values, named as in the API."""
    exact = answer.exact and {
        "products": [_hit_to_dict(hit) for hit in answer.exact.hits],
        "probability": answer.exact.probability,
        "verdict": answer.exact.verdict,
    }
    similar = None if answer.similar is None else {"products": [_hit_to_dict(hit) for hit in answer.similar]}
    return {
        "mode": query.mode,
        "k": query.k,
        "exact": exact,
        "similar": similar,
        "predictions": [asdict(guess) for guess in answer.predictions],
        "matching": answer.matching,
        "products": engine.products,
        "plan": answer.plan.to_dict(),
        "generation": engine.generation,
        "model_id": engine.manifest.model_id,
    }


def _hit_to_dict(hit: "Hit") -> dict[str, Any]:
    facets = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in hit.facets.items()}
    return {
        "product_id": hit.product_id,
        "title": hit.title,
        "facets": facets,
        "score": hit.score,
        "photo_id": hit.photo_id,
    }
