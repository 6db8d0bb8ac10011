"""`lookalike set`: a product's facets, changed live."""

import json
from collections.abc import Sequence
from dataclasses import asdict

import click

from engine.catalogue.schema import Facet, FacetType
from lookalike.assignments import parse
from lookalike.commands.import_ import FacetOption
from lookalike.console import say


@click.command()
@click.argument("product_id")
@click.argument("assignments", metavar="NAME=VALUE…", nargs=-1, required=True)
@click.option("--facet", "facets", multiple=True, type=FacetOption(), help="Declare a facet that is new, of this type.")
@click.option("--catalogue", "where", required=True, metavar="FILE|URL", help="The catalogue to write to.")
@click.option("--json", "as_json", is_flag=True, help="What was done, as JSON.")
def command(
    product_id: str,
    assignments: Sequence[str],
    facets: Sequence[tuple[str, FacetType]],
    where: str,
    as_json: bool,
) -> None:
    """Change facets of PRODUCT_ID: price=9.5, 'tags=new|sale', or colour= to take the value away.

    No photo is looked at, and every engine that follows the catalogue filters by the new values within a second.
    """
    from engine.catalogue.store import Catalogue
    from engine.updates import Updates

    declared = [Facet(name, type_) for name, type_ in facets]
    with Catalogue.open(where, upgrade=True) as catalogue:
        values, unset = parse(assignments, [*catalogue.facets(), *declared])
        done = Updates(catalogue).set_facets(product_id, values, unset, declare=declared)
    if as_json:
        say(json.dumps(asdict(done), indent=2))
    else:
        say(f"{product_id}: set; the catalogue is at change {done.change_number}.")
