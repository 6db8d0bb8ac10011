"""Reads every byte of an index and names each file that is not what was written."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.errors import DamagedFile, LookalikeError
from engine.storage import manifest as manifests
from engine.storage.files import sha256_of
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
    models = set()
    for name in generation_names(index_dir):
        path = generation_path(index_dir, name)
        try:
            manifest = Manifest.read(path)
        except LookalikeError as damage:
            findings.append(Finding(path / manifests.NAME, str(damage)))
            continue
        models.add(manifest.model_id)
        findings += _check_generation(index_dir, name, manifest, progress)
    for model_id in sorted(models):
        progress.start(f"Reading model {model_id[:12]}")
        findings += _check_model(model_path(index_dir, model_id))
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
        yield Finding(path, f"{path} is missing, though {CURRENT} names it; rebuild the index with `lookalike index`.")


def _check_generation(index_dir: Path, name: str, manifest: Manifest, progress: Progress) -> list[Finding]:
    path = generation_path(index_dir, name)
    progress.start(f"Reading generation {name}", len(manifest.files))
    findings = []
    for file, entry in manifest.files.items():
        if problem := _problem(path / file, entry):
            findings.append(
                Finding(path / file, f"{path / file} {problem}; restore it, or rebuild with `lookalike index`.")
            )
        progress.advance()
    if findings:
        return findings
    try:
        Generation(index_dir, name).close()
    except LookalikeError as damage:  # files as they were written, but not what they should be
        findings.append(Finding(path, str(damage)))
    return findings


def _problem(path: Path, entry: FileEntry) -> str | None:
    try:
        size = path.stat().st_size
        if size != entry.bytes:
            return f"has {size:,} bytes and should have {entry.bytes:,}"
        return None if sha256_of(path) == entry.sha256 else "is not the file that was written (sha256)"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _check_model(path: Path) -> list[Finding]:
    try:
        return [Finding(path, problem) for problem in Model.open(path).verify()]
    except LookalikeError as damage:
        return [Finding(path, str(damage))]
