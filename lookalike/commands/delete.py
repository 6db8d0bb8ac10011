"""`lookalike delete`: products or photos out of the catalogue, live."""

import json
from collections.abc import Sequence
from dataclasses import asdict

import click

from engine.errors import BadCall
from lookalike.console import say


@click.command()
@click.argument("product_ids", metavar="[PRODUCT_ID]…", nargs=-1)
@click.option("--photo", "photo_ids", multiple=True, type=int, metavar="ID", help="A single photo; repeatable.")
@click.option("--catalogue", "where", required=True, metavar="FILE|URL", help="The catalogue to delete from.")
@click.option("--json", "as_json", is_flag=True, help="What was done, as JSON.")
def command(product_ids: Sequence[str], photo_ids: Sequence[int], where: str, as_json: bool) -> None:
    """Delete products with all their photos, or single photos: all that are named, or none if one is unknown.

    No engine that follows the catalogue finds them a second later.
    """
    from engine.catalogue.store import Catalogue
    from engine.updates import Updates

    if not product_ids and not photo_ids:
        raise BadCall("Nothing is named to be deleted; name products, or photos with --photo.")
    with Catalogue.open(where, upgrade=True) as catalogue:
        done = Updates(catalogue).delete(product_ids, photo_ids=photo_ids)
    if as_json:
        say(json.dumps(asdict(done), indent=2))
    else:
        counts = f"{len(set(product_ids))} products and {len(set(photo_ids))} single photos"
        say(f"Deleted {counts}; the catalogue is at change {done.change_number}.")
