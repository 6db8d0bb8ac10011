"""Reads every byte of an index and names each file that is not what was written."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.errors import Busy, DamagedFile, IndexMissing, LookalikeError
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

    A generation that a writer removes meanwhile is not counted as damaged. Raises IndexMissing where there is no index
    at all, Busy where all that was read is gone.
    """
    findings = list(_check_current(index_dir))
    names = generation_names(index_dir)
    models: dict[str, str] = {}
    for name in names:
        path = generation_path(index_dir, name)
        try:
            manifest = Manifest.read(path)
        except LookalikeError as damage:
            findings.append(Finding(path / manifests.NAME, str(damage)))
            continue
        models[name] = manifest.model_id
        findings += _check_generation(index_dir, name, manifest, progress)
    findings += check_models(index_dir, progress)
    progress.finish()
    gone = {name for name in names if _removed(index_dir, name)}
    if names and gone == set(names):
        raise Busy(f"{index_dir} was built anew while it was read; verify it again.")
    used = {model_id for name, model_id in models.items() if name not in gone}
    spare = [generation_path(index_dir, name) for name in gone]
    spare += [model_path(index_dir, model_id) for model_id in set(models.values()) - used]
    return [found for found in findings if not any(found.path.is_relative_to(path) for path in spare)]


def check_models(index_dir: Path, progress: Progress = SILENT) -> list[Finding]:
    """Checks the models of the generations that say which is theirs."""
    models: dict[str, dict[str, set[FileEntry]]] = {}
    for name in generation_names(index_dir):
        try:
            manifest = Manifest.read(generation_path(index_dir, name))
        except LookalikeError:
            continue
        files = models.setdefault(manifest.model_id, {})
        for file, entry in manifest.model_files.items():
            files.setdefault(file, set()).add(entry)
    findings = []
    for model_id, files in sorted(models.items()):
        progress.start(f"Reading model {model_id[:12]}")
        findings += _check_model(model_path(index_dir, model_id), files)
    return findings


def _removed(index_dir: Path, name: str) -> bool:
    """Whether a writer has removed a generation, which it does only with ones that do not answer."""
    if generation_path(index_dir, name).is_dir():
        return False
    try:
        return read_current(index_dir) != name
    except (DamagedFile, IndexMissing):
        return True


def _check_current(index_dir: Path) -> Iterator[Finding]:
    try:
        name = read_current(index_dir)
    except (DamagedFile, IndexMissing) as damage:
        if isinstance(damage, IndexMissing) and not generation_names(index_dir):
            raise
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
    except (LookalikeError, OSError) as damage:  # files as they were written, but not what they should be
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
    except (LookalikeError, OSError) as damage:
        return [Finding(path, str(damage))]
