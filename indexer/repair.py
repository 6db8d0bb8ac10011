"""What is damaged or missing in an index, made again: from its healthy parts, the catalogue and the encoder.

A generation never changes, so what is repaired is a new one: healthy shards are linked into it, damaged ones filled
again, and the damaged generation goes. Readers that answered in part meanwhile find the new one in CURRENT.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from engine.catalogue.store import Catalogue
from engine.errors import DamagedFile, UnsupportedFormat
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
from engine.telemetry import SILENT, Progress
from engine.vision.encoder import Encoder
from engine.vision.model import Model
from indexer.build import DEFAULTS, BuildOptions, BuildReport, Job, build_generation
from indexer.merge import merge_generation
from indexer.publish import put_model, writing
from indexer.verify import Finding, verify_index


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What was found, and the generation that was built because of it; None where the one that answers was whole."""

    findings: tuple[Finding, ...]
    built: BuildReport | None


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
    products, a generation is built anew with them. Raises what `build_index` and `merge_index` raise.
    """
    job = Job(catalogue, model, out, encoder, options, progress)
    job.check()
    with writing(out):
        findings = tuple(verify_index(out, progress))
        if not findings:
            return RepairReport((), None)
        name = _current(out, findings)
        built = None
        if name is None or _damaged(findings, generation_path(out, name)):
            built = _rebuild(job, name)
            name = built.generation
        elif _damaged(findings, model_path(out, model.spec.model_id)):
            put_model(out, model)
        for other in generation_names(out):
            if other != name and _damaged(findings, generation_path(out, other)):
                remove_tree(generation_path(out, other))
        return RepairReport(findings, built)


def _current(out: Path, findings: Iterable[Finding]) -> str | None:
    """The generation that answers, or if CURRENT does not say, the newest whole one; None where there is none."""
    try:
        name = read_current(out)
        if generation_path(out, name).is_dir():
            return name
    except DamagedFile:
        pass
    for name in reversed(generation_names(out)):
        if not _damaged(findings, generation_path(out, name)):
            move_current(out, name)
            return name
    return None


def _rebuild(job: Job, name: str | None) -> BuildReport:
    if name is None:
        return build_generation(job)
    path = generation_path(job.out, name)
    if (manifest := _mergeable(path, job.model.spec.model_id)) is not None:
        return merge_generation(job, name, manifest)
    return build_generation(replace(job, options=replace(job.options, shards=job.options.shards or _shards(path))))


def _shards(generation: Path) -> int | None:
    """How many shards a generation had, by the names of its files, since its manifest may be gone."""
    numbers = [int(path.name[6:10]) for path in generation.glob("shard-[0-9][0-9][0-9][0-9].*")]
    return max(numbers, default=-1) + 1 or None


def _mergeable(generation: Path, model_id: str) -> Manifest | None:
    """The manifest of a generation whose quantizer can be taken over, None where it cannot."""
    try:
        manifest = Manifest.read(generation)
    except (DamagedFile, UnsupportedFormat):
        return None
    whole = manifest.model_id == model_id and manifest.files[QUANTIZER].problem(generation / QUANTIZER) is None
    return manifest if whole else None


def _damaged(findings: Iterable[Finding], directory: Path) -> bool:
    return any(finding.path.is_relative_to(directory) for finding in findings)
