"""What is damaged or missing in an index, made again: from its healthy parts, the catalogue and the encoder.

A generation never changes, so what is repaired is a new one: healthy shards are linked into it, damaged ones filled
again, and the damaged generation goes. Readers that answered in part meanwhile find the new one in CURRENT.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.store import Catalogue
from engine.errors import DamagedFile, IndexMissing, UnsupportedFormat
from engine.storage.files import remove_tree
from engine.storage.generation import (
    QUANTIZER,
    generation_names,
    generation_path,
    model_path,
    move_current,
    read_current,
)
from engine.storage.manifest import Manifest
from engine.storage.products import read_table
from engine.storage.shard import shard_files
from engine.telemetry import SILENT, Progress
from engine.vision.encoder import Encoder
from engine.vision.model import Model
from indexer.build import DEFAULTS, BuildOptions, BuildReport, Job, build_generation
from indexer.merge import merge_generation
from indexer.publish import put_model, remove_spares, writing
from indexer.quantizer import representation_of
from indexer.verify import Finding, check_models, verify_index


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What was found, and the generation that was built because of it; None where the one that answers was whole.

    `dropped` are generations that could not be made whole and are gone. `lost_photos` were in the damaged generation,
    or may have been, and are not in the new one, since neither their vectors nor their files can be read. `left` is
    what is still damaged.
    """

    findings: tuple[Finding, ...]
    built: BuildReport | None
    dropped: tuple[str, ...] = ()
    lost_photos: int = 0
    left: tuple[Finding, ...] = ()


def repair_index(
    catalogue: Catalogue,
    model: Model,
    out: Path,
    *,
    encoder: Encoder,
    options: BuildOptions = DEFAULTS,
    progress: Progress = SILENT,
) -> RepairReport:
    """Makes the index whole again, and brings it up to the catalogue's last change where it has to be built.

    Shards that are whole are linked, vectors that are whole copied. Without its quantizer, its manifest or its list of
    products, a generation is built anew with them, for what a manifest that can be read says was asked of it; only
    where there is none do more of the `options` count than `workers`. A damaged copy of another model than `model`
    cannot be restored: an older generation goes with it, the one that answers stays as it is. Raises DamagedFile where
    `model` is damaged itself, and what `build_index` and `merge_index` raise.
    """
    job = Job(catalogue, model, out, encoder, options, progress)
    job.check()
    with writing(out):
        findings = tuple(verify_index(out, progress))
        if not findings:
            return RepairReport((), None)
        if problems := model.verify():  # a copy of it would have sums of its own and look whole
            raise DamagedFile(problems[0])
        name = _current(out, findings)
        ours = model_path(out, model.spec.model_id)
        rebuild = name is None or _damaged(findings, generation_path(out, name))
        if not rebuild and _damaged(findings, ours):
            put_model(out, model)
            # another export of the same network is as good, but only a new manifest can say so
            rebuild = _model_of(out, name) == model.spec.model_id and _damaged(check_models(out), ours)
        built, lost = _rebuild(job, name) if rebuild else (None, 0)
        answers = name if built is None else built.generation
        dropped = _drop_damaged(out, answers, findings)
        return RepairReport(findings, built, dropped, lost, tuple(verify_index(out, progress)))


def _current(out: Path, findings: Iterable[Finding]) -> str | None:
    """The generation that answers, or if CURRENT does not say, the newest whole one; None where there is none."""
    try:
        name = read_current(out)
        if generation_path(out, name).is_dir():
            return name
    except (DamagedFile, IndexMissing):
        pass
    for name in reversed(generation_names(out)):
        if not _damaged(findings, generation_path(out, name)):
            move_current(out, name)
            return name
    return None


def _rebuild(job: Job, name: str | None) -> tuple[BuildReport, int]:
    """The generation `name` made again, and how many of its photos that cost."""
    job = replace(job, options=_as_asked(job, name))
    had = None if name is None else _photo_ids(generation_path(job.out, name))
    built = _build(job, name)
    if had is None:
        return built, built.unreadable_photos
    # only the first are told one by one; of the rest none is promised to be there
    told = np.array([photo.photo_id for photo in built.unreadable], np.int64)
    return built, int(np.isin(told, had).sum()) + built.unreadable_photos - len(told)


def _build(job: Job, name: str | None) -> BuildReport:
    if name is None:
        return build_generation(job)
    path = generation_path(job.out, name)
    if (manifest := _mergeable(path, job.model.spec.model_id)) is not None:
        return merge_generation(job, name, manifest)
    return build_generation(replace(job, options=replace(job.options, shards=job.options.shards or _shards(path))))


def _as_asked(job: Job, name: str | None) -> BuildOptions:
    """What was asked of the generation `name`, or of the newest one that can be read; `job`'s own where none can."""
    names = [*generation_names(job.out), *([] if name is None else [name])]
    for each in reversed(names):
        if (manifest := _manifest(job.out, each)) is not None:
            representation = representation_of(manifest.codec)
            return replace(
                job.options,
                shards=manifest.shards,
                bytes_per_photo=manifest.bytes_per_photo_asked if representation == "pq" else None,
                recall=manifest.recall_target,
                representation=representation,
            )
    job.progress.note(
        f"No manifest of {job.out} can be read, so what it was built for is not known; build it anew without --repair "
        "if that was something special."
    )
    return job.options


def _shards(generation: Path) -> int | None:
    """How many shards a generation had, by the names of its files, since its manifest may be gone."""
    numbers = [int(path.name[6:10]) for path in generation.glob("shard-[0-9][0-9][0-9][0-9].*")]
    return max(numbers, default=-1) + 1 or None


def _mergeable(generation: Path, model_id: str) -> Manifest | None:
    """The manifest of a generation whose quantizer can be taken over, None where it cannot."""
    manifest = _manifest(generation.parents[1], generation.name)
    if manifest is None or manifest.model_id != model_id:
        return None
    return manifest if manifest.files[QUANTIZER].problem(generation / QUANTIZER) is None else None


def _photo_ids(generation: Path) -> NDArray[np.int64] | None:
    """The photos that a generation holds; None where that cannot be known."""
    manifest = _manifest(generation.parents[1], generation.name)
    if manifest is None:
        return None
    paths = [generation / shard_files(number)[2] for number in range(manifest.shards)]
    if any(manifest.files[path.name].problem(path) for path in paths):
        return None
    return np.concatenate([read_table(path).column("photo_id").to_numpy() for path in paths])


def _drop_damaged(out: Path, answers: str | None, findings: Iterable[Finding]) -> tuple[str, ...]:
    """Removes the generations besides the one that `answers` which are not whole, or whose model is not; their names.

    Their models go with them. One that shares the model of the one that answers stays: whoever restores it for that one
    restores both.
    """
    models = check_models(out)
    dropped = []
    for name in generation_names(out):
        model_id = _model_of(out, name)
        hopeless = model_id is not None and _damaged(models, model_path(out, model_id))
        hopeless = hopeless and model_id != _model_of(out, answers)
        if name != answers and (hopeless or _damaged(findings, generation_path(out, name))):
            remove_tree(generation_path(out, name))
            dropped.append(name)
    remove_spares(out)
    return tuple(dropped)


def _manifest(out: Path, name: str) -> Manifest | None:
    try:
        return Manifest.read(generation_path(out, name))
    except (DamagedFile, UnsupportedFormat):
        return None


def _model_of(out: Path, name: str | None) -> str | None:
    manifest = None if name is None else _manifest(out, name)
    return None if manifest is None else manifest.model_id


def _damaged(findings: Iterable[Finding], directory: Path) -> bool:
    return any(finding.path.is_relative_to(directory) for finding in findings)
