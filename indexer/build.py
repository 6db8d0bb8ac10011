"""The catalogue -> a new generation of the index, from the first photo to the moved CURRENT."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from engine.catalogue.store import Catalogue
from engine.errors import WrongModel
from engine.storage import products as products_file
from engine.storage.generation import QUANTIZER, generation_path, model_path
from engine.storage.ivf import Quantizer
from engine.storage.manifest import FileEntry, Manifest
from engine.storage.products import write_products
from engine.storage.shard import Shard, shard_files, write_shard
from engine.telemetry import SILENT, Progress, Stopwatch
from engine.vision.encoder import Encoder
from engine.vision.model import Model, copy_serving_part
from indexer.contents import Contents, Layout, read_contents
from indexer.embed import Unreadable, embed
from indexer.gallery import Gallery
from indexer.previous import PRECISION, known_vectors
from indexer.publish import building, discard_leftovers, next_name, publish, writing
from indexer.quantizer import lists_for, sample_size, train
from indexer.tune import Tuning, draw_held_out, tune

SEED = 0  # of the sample and the queries: the same catalogue gives the same index


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build did. `manifest` is that of the new generation.

    `encoded` photos went through the network; `copied` ones had a known vector, or the content of another photo.
    `without_photos` counts products that the index leaves out because none of their photos can be read or they have
    none. `seconds` are by stage.
    """

    generation: str
    path: Path
    manifest: Manifest
    encoded: int
    copied: int
    unreadable: tuple[Unreadable, ...]
    without_photos: int
    seconds: Mapping[str, float]


def build_index(
    catalogue: Catalogue,
    model: Model,
    out: Path,
    *,
    encoder: Encoder,
    shards: int | None = None,
    progress: Progress = SILENT,
) -> BuildReport:
    """Builds a generation for all the catalogue holds and makes it the one that answers; readers are never disturbed.

    Without `shards`, one for every million photos. Raises EmptyCatalogue where there is nothing to index,
    WrongCatalogue where `out` belongs to another catalogue or a later state of this one, WrongModel where `encoder` is
    not that of `model`, Busy where another process writes to `out`.
    """
    if encoder.model_id != model.spec.model_id:
        raise WrongModel(
            f"The encoder is that of model {encoder.model_id[:12]}, {model.path} is {model.spec.model_id[:12]}; "
            "open the encoder from the same directory."
        )
    watch = Stopwatch()
    with writing(out):
        discard_leftovers(out)
        with watch.stage("read"):
            contents = read_contents(catalogue, progress)
            known = known_vectors(out, contents, encoder, progress)
        with watch.stage("embed"):
            embedded = embed(contents.photos, encoder, known, building(out), progress)
        finished = building(out) / "generation"
        finished.mkdir()
        layout = Layout.of(contents, embedded, shards)
        with watch.stage("train"):
            progress.start("Training the quantizer")
            rng = np.random.default_rng(SEED)
            held_out = draw_held_out(len(layout.products), rng)
            lists = lists_for(len(layout.rows))
            sample = layout.sample(sample_size(len(layout.rows), lists), held_out, rng)
            quantizer = train(sample, lists)
        with watch.stage("write"):
            files = _write(finished, layout, contents, quantizer, progress)
        with watch.stage("tune"):
            progress.start("Measuring recall")
            opened = [Shard.open(finished, number, quantizer) for number in range(layout.shards)]
            tuning = tune(Gallery(quantizer, opened, len(layout.products)), held_out, rng)
        with watch.stage("publish"):
            progress.start("Publishing", 5)
            copy_serving_part(model, model_path(out, encoder.model_id))
            progress.advance()
            manifest = _manifest(
                contents=contents, layout=layout, quantizer=quantizer, encoder=encoder, tuning=tuning, files=files
            )
            manifest.write(finished)
            progress.advance()
            name = next_name(out)
            publish(out, finished, name, progress)
    progress.finish()
    return BuildReport(
        generation=name,
        path=generation_path(out, name),
        manifest=manifest,
        encoded=embedded.encoded,
        copied=len(layout.rows) - embedded.encoded,
        unreadable=embedded.unreadable,
        without_photos=len(contents.products) - len(layout.products),
        seconds={stage: milliseconds / 1000 for stage, milliseconds in watch.milliseconds.items()},
    )


def _write(
    directory: Path, layout: Layout, contents: Contents, quantizer: Quantizer, progress: Progress
) -> dict[str, FileEntry]:
    """Writes all files of the generation but its manifest; describes them."""
    progress.start("Writing shards", layout.shards)
    quantizer.save(directory / QUANTIZER)
    write_products(directory / products_file.NAME, layout.products, contents.facets)
    rows = {QUANTIZER: quantizer.lists, products_file.NAME: len(layout.products)}
    for number in range(layout.shards):
        mine = layout.rows_of_shard(number)
        write_shard(directory, number, quantizer, layout.rows.take(mine), layout.vectors[mine])
        rows |= dict.fromkeys(shard_files(number), len(mine))
        progress.advance()
    return {name: FileEntry.of(directory / name, count) for name, count in rows.items()}


def _manifest(
    *,
    contents: Contents,
    layout: Layout,
    quantizer: Quantizer,
    encoder: Encoder,
    tuning: Tuning,
    files: Mapping[str, FileEntry],
) -> Manifest:
    return Manifest(
        model_id=encoder.model_id,
        dim=encoder.dim,
        precision=PRECISION,
        catalogue_id=contents.catalogue_id,
        change_number=contents.change_number,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        codec=quantizer.codec,
        metric="inner_product",
        lists=quantizer.lists,
        nprobe=tuning.nprobe,
        depth=tuning.depth,
        filter_budget=tuning.filter_budget,
        recall=tuning.recall,
        filtered_recall=tuning.filtered_recall,
        products=len(layout.products),
        photos=len(layout.rows),
        shards=layout.shards,
        facets=contents.facets,
        files=files,
    )
