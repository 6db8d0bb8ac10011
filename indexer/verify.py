"""Reads every byte of an index and names each file that is not what was written."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.errors import DamagedFile, LookalikeError
from engine.storage import manifest as manifests
from engine.storage.generation import (
    CURRENT,
    Generation,
    generation_names,
    generation_path,
    model_path,
    read_current,
)
from engine.storage.manifest import FileEntry, Manifest
from engine.telemetry import SILENT, Progress
from engine.vision.model import Model


@dataclass(frozen=True, slots=True)
class Finding:
    """A file that is missing or damaged, and a sentence that says so."""

    path: Path
    problem: str


def verify_index(index_dir: Path, progress: Progress = SILENT) -> list[Finding]:
    """Checks CURRENT, the generations on the disk with every file and their models; nothing found is an empty list.

    Raises IndexMissing where there is no index at all.
    """
    findings = list(_check_current(index_dir))
    models: dict[str, dict[str, set[FileEntry]]] = {}
    for name in generation_names(index_dir):
        path = generation_path(index_dir, name)
        try:
            manifest = Manifest.read(path)
        except LookalikeError as damage:
            findings.append(Finding(path / manifests.NAME, str(damage)))
            continue
        files = models.setdefault(manifest.model_id, {})
        for file, entry in manifest.model_files.items():
            files.setdefault(file, set()).add(entry)
        findings += _check_generation(index_dir, name, manifest, progress)
    for model_id, files in sorted(models.items()):
        progress.start(f"Reading model {model_id[:12]}")
        findings += _check_model(model_path(index_dir, model_id), files)
    progress.finish()
    return findings


def _check_current(index_dir: Path) -> Iterator[Finding]:
    try:
        name = read_current(index_dir)
    except DamagedFile as damage:
        yield Finding(index_dir / CURRENT, str(damage))
        return
    if not generation_path(index_dir, name).is_dir():
        path = generation_path(index_dir, name)
        yield Finding(path, f"{path} is missing, though {CURRENT} names it; {manifests.REMEDY}.")


def _check_generation(index_dir: Path, name: str, manifest: Manifest, progress: Progress) -> list[Finding]:
    path = generation_path(index_dir, name)
    progress.start(f"Reading generation {name}", len(manifest.files))
    findings = []
    for file, entry in manifest.files.items():
        if problem := entry.problem(path / file):
            findings.append(Finding(path / file, problem))
        progress.advance()
    if findings:
        return findings
    try:
        Generation(index_dir, name).close()
    except LookalikeError as damage:  # files as they were written, but not what they should be
        findings.append(Finding(path, str(damage)))
    return findings


def _check_model(path: Path, files: Mapping[str, Collection[FileEntry]]) -> list[Finding]:
    """The model's files against what the manifests say; those of format 1 say nothing, and the model speaks for itself.

    A re-export of the same network may have replaced the words in `model.json`, so either entry will do.
    """
    findings = []
    for name, entries in files.items():
        problems = [entry.problem(path / name) for entry in entries]
        if all(problems):
            findings.append(Finding(path / name, str(problems[0])))
    if findings:
        return findings
    try:
        return [Finding(path, problem) for problem in Model.open(path).verify()]
    except LookalikeError as damage:
        return [Finding(path, str(damage))]
