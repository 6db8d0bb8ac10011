"""The catalogue's changes folded into a new generation, with the quantizer and codec of the last one.

Nothing is trained, and nothing is encoded that the last generation or the catalogue has a vector of. Recall is measured
again, since the catalogue may have become another one than the quantizer was trained for.
"""

from dataclasses import replace
from pathlib import Path

from engine.catalogue.store import Catalogue
from engine.errors import DamagedFile, WrongModel
from engine.storage.generation import QUANTIZER, generation_path, read_current
from engine.storage.manifest import Manifest
from engine.telemetry import SILENT, Progress
from engine.vision.encoder import Encoder
from engine.vision.model import Model
from engine.vision.photo_vectors import PRECISION
from indexer.build import DEFAULTS, BuildOptions, BuildReport, Job, build_generation
from indexer.publish import writing
from indexer.quantizer import lists_for

OUTGROWN = 2  # times as many lists as there are would suit the photos


def merge_index(
    catalogue: Catalogue,
    model: Model,
    out: Path,
    *,
    encoder: Encoder,
    options: BuildOptions = DEFAULTS,
    progress: Progress = SILENT,
) -> BuildReport | None:
    """Brings the index up to the catalogue's last change; None where it is there already.

    The answers are those of a generation built at once with the same quantizer; after the last deletion that is one
    without photos. Of `options`, `workers` and `recall` count. Raises IndexMissing where there is no generation yet,
    WrongModel where it was made by another model than `model`, DamagedFile where its quantizer or manifest is, and what
    `build_index` raises.
    """
    job = Job(catalogue, model, out, encoder, options, progress)
    job.check()
    with writing(out):
        name = read_current(out)
        manifest = Manifest.read(generation_path(out, name))
        if manifest.change_number == _change_number(catalogue) and manifest.catalogue_id == catalogue.catalogue_id:
            return None
        return merge_generation(job, name, manifest)


def merge_generation(job: Job, name: str, manifest: Manifest) -> BuildReport:
    """`merge_index` for who holds the index's lock, whether there are changes or not."""
    ours = job.model.spec.model_id
    if manifest.model_id != ours or manifest.precision != PRECISION:
        raise WrongModel(
            f"{job.out} was made by model {manifest.model_id[:12]}, not {ours[:12]}; merge with that one, or build "
            "anew without --merge."
        )
    if problem := manifest.files[QUANTIZER].problem(generation_path(job.out, name) / QUANTIZER):
        raise DamagedFile(problem)
    options = replace(
        job.options,
        shards=manifest.shards,
        bytes_per_photo=manifest.bytes_per_photo_asked,
        recall=job.options.recall or manifest.recall_target,
    )
    report = build_generation(replace(job, options=options), reuse=name)
    if lists_for(report.manifest.photos) > OUTGROWN * report.manifest.lists:
        job.progress.note(
            f"The index has outgrown its {report.manifest.lists:,} lists; build it anew without --merge when there is "
            "time, and it answers faster."
        )
    return report


def _change_number(catalogue: Catalogue) -> int:
    with catalogue.snapshot() as view:
        return view.change_number
