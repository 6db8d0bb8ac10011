"""A catalogue, or vectors alone -> a new generation of the index, from the first photo to the moved CURRENT.

Nothing grows with the catalogue but a few numbers a photo: products, photos and vectors stream through files in
`index/building/`, where a build that was killed finds again what it had done.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.schema import Facet, Product
from engine.catalogue.store import Catalogue
from engine.errors import EmptyCatalogue, WrongModel
from engine.search.plan import TARGET
from engine.settings import thread_count
from engine.storage import products as products_file
from engine.storage.files import link
from engine.storage.generation import QUANTIZER, generation_path
from engine.storage.ivf import Quantizer
from engine.storage.manifest import FileEntry, Manifest
from engine.storage.products import write_products_of
from engine.storage.shard import Shard
from engine.telemetry import SILENT, Progress, Stopwatch
from engine.vision.encoder import Encoder
from engine.vision.model import Model
from engine.vision.photo_vectors import PRECISION
from indexer.embed import Embedded, Unreadable, embed, find_all
from indexer.fill import FilledShard, ShardTask, fill_shard
from indexer.gallery import Gallery
from indexer.given import check_given
from indexer.known import Ints, Known, ScatteredVectors
from indexer.layout import Layout, draw_sample, lay_out
from indexer.previous import given_vectors, known_vectors, last_manifest
from indexer.publish import Work, next_name, publish, put_model, reclaim, writing
from indexer.quantizer import Representation, codec_for, lists_for, sample_size, train
from indexer.receipts import read_receipt, write_receipt
from indexer.roster import SPOOL, Roster, write_roster
from indexer.stock import CatalogueStock, GivenPhotos, Stock
from indexer.tune import draw_held_out, tune
from indexer.workers import run, wait_for_workers

SEED = 0  # of the sample and the queries: the same catalogue gives the same index
PHOTOS_PER_SHARD = 1_000_000  # Lookalike default
PARALLEL_FROM = 100_000  # photos; below, starting processes takes longer than they save


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What may be asked of a build; None chooses.

    `shards` to split products over: one a million photos. `workers`, processes that fill them: one a core, and this
    process alone where there are few photos. `bytes_per_photo` of memory for its code, `representation` of the code,
    and `recall` to tune for.
    """

    shards: int | None = None
    workers: int | None = None
    bytes_per_photo: int | None = None
    recall: float | None = None
    representation: Representation = "pq"


DEFAULTS = BuildOptions()


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build did. `manifest` is that of the new generation.

    `encoded` photos went through the network; `copied` ones had a known vector, or the content of another photo.
    `unreadable_photos` were left out, of which `unreadable` has the first. `without_photos` counts products that the
    index leaves out because none of their photos can be read or they have none. `shards_kept` were filled by a build
    that was killed. `seconds` are by stage.
    """

    generation: str
    path: Path
    manifest: Manifest
    encoded: int
    copied: int
    unreadable: tuple[Unreadable, ...]
    unreadable_photos: int
    without_photos: int
    shards_kept: int
    seconds: Mapping[str, float]


def build_index(
    catalogue: Catalogue,
    model: Model,
    out: Path,
    *,
    encoder: Encoder,
    options: BuildOptions = DEFAULTS,
    progress: Progress = SILENT,
) -> BuildReport:
    """Builds a generation for all the catalogue holds and makes it the one that answers; readers are never disturbed.

    Raises EmptyCatalogue where there is no photo to train on, WrongCatalogue where `out` belongs to another catalogue
    or a later state of this one, WrongModel where `encoder` is not that of `model`, Busy where another process writes
    to `out`.
    """
    job = Job(catalogue, model, out, encoder, options, progress)
    job.check()
    with writing(out):
        return build_generation(job)


def build_from_vectors(
    vectors: NDArray[np.float16] | Path,
    owners: NDArray[np.integer],
    model: Model,
    out: Path,
    *,
    products: Sequence[Product] = (),
    facets: Sequence[Facet] = (),
    options: BuildOptions = DEFAULTS,
    progress: Progress = SILENT,
) -> BuildReport:
    """Builds a generation of vectors that exist already, without catalogue or photos.

    `vectors` float16 [n, dim], L2 norm 1, or a `.npy` file of them, which is mapped; `owners` int [n], which never
    falls, is the number of each one's product, a position in `products` or, without those, its name. Queries are
    vectors of the same kind; `model` says their length, and encodes photos that are asked with. Raises BadCall where
    the vectors, their owners or the products cannot be, MissingFile, and what `build_index` raises.
    """
    check_given(vectors, owners, model.spec.dim, products)
    with writing(out):
        site = Site.open(out, model, options, progress)
        with site.watch.stage("read"):
            stock = GivenPhotos(str(out), owners, tuple(products), tuple(facets))
            last_manifest(out, stock, progress)
            inputs = read(site, stock)
            known = Known((given_vectors(vectors, model.spec.dim, site.work.root),))
        with site.watch.stage("embed"):
            embedded = find_all(inputs.roster, known, site.work.root)
        return finish(site, inputs, embedded, None)


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A catalogue, and the index to make of it."""

    catalogue: Catalogue
    model: Model
    out: Path
    encoder: Encoder
    options: BuildOptions
    progress: Progress

    def check(self) -> None:
        """Raises WrongModel unless the encoder is that of the model."""
        encoder, model = self.encoder, self.model
        if encoder.model_id != model.spec.model_id:
            raise WrongModel(
                f"The encoder is that of model {encoder.model_id[:12]}, {model.path} is {model.spec.model_id[:12]}; "
                "open the encoder from the same directory."
            )


def build_generation(job: Job, reuse: str | None = None) -> BuildReport:
    """`build_index` for who holds the index's lock; with the quantizer of the last generation if `reuse` names it: then
    nothing is trained, and a catalogue without photos becomes a generation without any."""
    out, spec = job.out, job.model.spec
    site = Site.open(out, job.model, job.options, job.progress)
    with site.watch.stage("read"), job.catalogue.snapshot() as view:
        stock = CatalogueStock(job.catalogue.name, view)
        last = last_manifest(out, stock, job.progress)
        inputs = read(site, stock)
        if not len(inputs.roster):
            _check_may_be_empty(job, reuse, last)
        earlier = known_vectors(out, last, stock, (spec.model_id, spec.dim), site.work.root, progress=job.progress)
    with site.watch.stage("embed"):
        embedded = embed(inputs.roster, job.encoder, earlier.known, site.work.root, job.progress)
    reused = None
    if reuse is not None:
        assert last is not None and last[0] == reuse, (last, reuse)
        reused = Reused(generation_path(out, reuse), last[1], earlier.whole)
    return finish(site, inputs, embedded, reused)


def _check_may_be_empty(job: Job, reuse: str | None, last: tuple[str, Manifest] | None) -> None:
    """Raises EmptyCatalogue where a catalogue without photos cannot become a generation: where there is none to take
    the quantizer of."""
    name = job.catalogue.name
    if reuse is not None:
        job.progress.note(f"The catalogue {name} has no photos any more: the new generation is empty.")
        return
    remedy = "import some with `lookalike import`"
    if last is not None:
        remedy += ", or take what was deleted out of the index with `lookalike index --merge`"
    raise EmptyCatalogue(f"The catalogue {name} has no photos to train on; {remedy}.")


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """Where a generation is being made, and what was asked of it. The index's lock is held."""

    out: Path
    work: Work
    model: Model
    options: BuildOptions
    progress: Progress
    watch: Stopwatch

    @classmethod
    def open(cls, out: Path, model: Model, options: BuildOptions, progress: Progress) -> "Site":
        """Makes the work directory ready to be written to."""
        work = Work.of(out)
        wait_for_workers(work.root)
        reclaim(out)
        return cls(out, work, model, options, progress, Stopwatch())


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """What was read of a stock: its roster, and what the manifest says about it."""

    roster: Roster
    name: str
    catalogue_id: str
    change_number: int
    facets: tuple[Facet, ...]
    shards: int


@dataclass(frozen=True, slots=True)
class Reused:
    """A generation whose quantizer the new one takes over; `whole` shards of it may be linked."""

    path: Path
    manifest: Manifest
    whole: frozenset[int]


def read(site: Site, stock: Stock) -> Inputs:
    """Reads a stock into the work directory."""
    shards = site.options.shards or max(1, -(-stock.count_photos() // PHOTOS_PER_SHARD))
    roster = write_roster(site.work.roster, stock, shards, site.progress)
    return Inputs(roster, stock.name, stock.catalogue_id, stock.change_number, tuple(stock.facets), shards)


def finish(site: Site, inputs: Inputs, embedded: Embedded, reused: Reused | None) -> BuildReport:
    """From vectors to a generation that answers; with the quantizer of a generation that is `reused`, if any."""
    work, model, options, progress, watch = site.work, site.model, site.options, site.progress, site.watch
    roster = inputs.roster
    layout = lay_out(roster, embedded, inputs.name, work.ordinals)
    rng = np.random.default_rng(SEED)
    held_out = draw_held_out(layout.products, rng)
    with watch.stage("train"):
        if reused is None:
            quantizer = _train(site, layout, embedded, held_out, rng)
        else:
            link(reused.path / QUANTIZER, work.generation / QUANTIZER)
            quantizer = Quantizer.open(work.generation / QUANTIZER, reused.manifest.codec)
    with watch.stage("write"):
        write_products_of(work.roster / SPOOL, work.generation / products_file.NAME, inputs.facets, layout.shown)
        shards = _fill(site, inputs, layout, embedded, quantizer=quantizer, reused=reused)
        files = _described(work.generation, quantizer, layout, shards)
    with watch.stage("tune"):
        progress.start("Measuring recall")
        opened = [Shard.open(work.generation, number, quantizer) for number in range(inputs.shards)]
        tuning = tune(Gallery(quantizer, opened, layout.products), held_out, rng, options.recall or TARGET)
        del opened
    with watch.stage("publish"):
        progress.start("Publishing", 5)
        model_files = put_model(site.out, model)
        progress.advance()
        manifest = Manifest(
            model_id=model.spec.model_id,
            dim=model.spec.dim,
            precision=PRECISION,
            catalogue_id=inputs.catalogue_id,
            change_number=inputs.change_number,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            codec=quantizer.codec,
            metric="inner_product",
            lists=quantizer.lists,
            nprobe=tuning.nprobe,
            depth=tuning.depth,
            filter_budget=tuning.filter_budget,
            recall=tuning.recall,
            filtered_recall=tuning.filtered_recall,
            filter_calibration=tuning.filter_calibration,
            products=layout.products,
            photos=layout.photos,
            shards=inputs.shards,
            facets=inputs.facets,
            files=files,
            model_files=model_files,
            bytes_per_photo_asked=options.bytes_per_photo,
            recall_target=options.recall,
        )
        name = next_name(site.out)
        publish(site.out, work, manifest, name, progress)
    progress.finish()
    return BuildReport(
        generation=name,
        path=generation_path(site.out, name),
        manifest=manifest,
        encoded=embedded.encoded,
        copied=layout.photos - embedded.encoded,
        unreadable=embedded.unreadable,
        unreadable_photos=embedded.unreadable_photos,
        without_photos=len(roster.product_ids) - layout.products,
        shards_kept=sum(shard.kept for shard in shards),
        seconds={stage: milliseconds / 1000 for stage, milliseconds in watch.milliseconds.items()},
    )


def _train(site: Site, layout: Layout, embedded: Embedded, held_out: Ints, rng: np.random.Generator) -> Quantizer:
    """Trains on a sample, or takes what a killed build trained on the same one."""
    work, options = site.work, site.options
    site.progress.start("Training the quantizer")
    lists = lists_for(layout.photos)
    places = draw_sample(layout, embedded.places, sample_size(layout.photos, lists), held_out, rng)
    sample = ScatteredVectors(embedded.files, places).floats()
    codec = codec_for(sample.shape[1], lists, options.bytes_per_photo, options.representation)
    inputs = sha256(codec.encode())
    inputs.update(sample.data)
    path = work.generation / QUANTIZER
    if read_receipt(work.receipts / QUANTIZER, inputs.hexdigest(), work.generation) is not None:
        return Quantizer.open(path, codec)
    quantizer = train(sample, lists, codec)
    quantizer.save(path)
    write_receipt(work.receipts / QUANTIZER, inputs.hexdigest(), {QUANTIZER: FileEntry.of(path, lists)})
    return quantizer


def _fill(
    site: Site,
    inputs: Inputs,
    layout: Layout,
    embedded: Embedded,
    *,
    quantizer: Quantizer,
    reused: Reused | None,
) -> list[FilledShard]:
    work, progress = site.work, site.progress
    progress.start("Writing shards", inputs.shards)
    threads = thread_count()
    workers = site.options.workers or (threads if layout.photos >= PARALLEL_FROM else 1)
    donors = reused.whole if reused is not None and reused.manifest.shards == inputs.shards else frozenset()
    tasks = [
        ShardTask(
            number=number,
            generation=work.generation,
            receipts=work.receipts,
            roster=work.roster,
            places=embedded.places_path,
            ordinals=layout.ordinals_path,
            files=embedded.files,
            quantizer=work.generation / QUANTIZER,
            codec=quantizer.codec,
            donor=reused.path if reused is not None and number in donors else None,
        )
        for number in range(inputs.shards)
    ]
    shards = []
    for shard in run(fill_shard, tasks, workers=workers, threads=threads, work=work.root):
        shards.append(shard)
        progress.advance()
    return sorted(shards, key=lambda shard: shard.number)


def _described(
    generation: Path, quantizer: Quantizer, layout: Layout, shards: Sequence[FilledShard]
) -> dict[str, FileEntry]:
    """Every file of the generation but its manifest."""
    rows = {QUANTIZER: quantizer.lists, products_file.NAME: layout.products}
    files = {name: FileEntry.of(generation / name, count) for name, count in rows.items()}
    for shard in shards:
        files |= shard.files
    return files
