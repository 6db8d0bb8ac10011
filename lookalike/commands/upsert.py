"""`lookalike upsert`: a product with its photos and facets -> the catalogue, live."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.catalogue.schema import Facet, FacetType
from engine.errors import BadCall
from lookalike.assignments import parse
from lookalike.commands.import_ import FacetOption
from lookalike.console import say
from lookalike.photo_file import read_photo_file

if TYPE_CHECKING:
    from engine.updates import Done
    from engine.vision.encoder import Encoder


@click.command()
@click.argument("product_id")
@click.option("--catalogue", "where", required=True, metavar="FILE|URL", help="The catalogue to write to.")
@click.option("--photo", "files", multiple=True, type=click.Path(path_type=Path), help="A photo of it; repeatable.")
@click.option("--title", help="What it is called.")
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="A facet's value; repeatable.")
@click.option("--facet", "facets", multiple=True, type=FacetOption(), help="Declare a facet that is new, of this type.")
@click.option("--index", "index_dir", type=click.Path(path_type=Path), help="The index whose model sees the photos …")
@click.option("--model", "model_dir", type=click.Path(path_type=Path), help="… or the model itself.")
@click.option("--photos", type=click.Path(path_type=Path), help="Folder to keep photos in  [default: photos by FILE]")
@click.option("--json", "as_json", is_flag=True, help="What was done, as JSON.")
def command(
    *,
    product_id: str,
    where: str,
    files: Sequence[Path],
    title: str | None,
    assignments: Sequence[str],
    facets: Sequence[tuple[str, FacetType]],
    index_dir: Path | None,
    model_dir: Path | None,
    photos: Path | None,
    as_json: bool,
) -> None:
    """Bring the product PRODUCT_ID into the catalogue, or change it: what is not given stays as it is.

    Photos are copied and seen by the model once. Every engine that follows the catalogue finds them within a second.
    """
    from engine.catalogue.store import Catalogue
    from engine.updates import Updates, Upsert

    declared = [Facet(name, type_) for name, type_ in facets]
    data = [read_photo_file(file) for file in files]
    encoder = _encoder(index_dir, model_dir) if files else None
    with Catalogue.open(where, upgrade=True) as catalogue:
        values, unset = parse(assignments, [*catalogue.facets(), *declared])
        if unset:
            raise BadCall(f"upsert sets values and takes none away; use `lookalike set {product_id} {unset[0]}=`.")
        updates = Updates(catalogue, encoder, photos)
        done = updates.upsert(Upsert(product_id, title, values, data), declare=declared)
    _show(done, as_json=as_json)


def _encoder(index_dir: Path | None, model_dir: Path | None) -> "Encoder":
    from engine.storage.generation import generation_path, model_path, read_current
    from engine.storage.manifest import Manifest
    from engine.vision.encoder import OpenVinoEncoder
    from engine.vision.model import Model

    if index_dir is not None and model_dir is None:
        manifest = Manifest.read(generation_path(index_dir, read_current(index_dir)))
        return OpenVinoEncoder(Model.open(model_path(index_dir, manifest.model_id)))
    if model_dir is None or index_dir is not None:
        raise BadCall("Photos are seen by one model; name the index they are for (--index), or the model (--model).")
    return OpenVinoEncoder(Model.open(model_dir))


def _show(done: "Done", *, as_json: bool) -> None:
    if as_json:
        say(json.dumps(asdict(done), ensure_ascii=False, indent=2))
        return
    (written,) = done.written
    photos = "no photo given"
    if written.photo_ids:
        ids = ", ".join(map(str, written.photo_ids))
        photos = f"{written.photos_new} of {len(written.photo_ids)} photos new ({ids})"
    say(f"{written.product_id}: {written.effect}, {photos}; the catalogue is at change {done.change_number}.")
