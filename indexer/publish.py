"""Making a finished generation the one that answers, and keeping the index directory clean.

Everything is made in `index/building/`, where no reader looks. Publishing is two atomic steps: the finished directory
is renamed into `generations/`, then CURRENT is replaced. Killed at any point, the index answers as before; the next
build finds in `building/` the vectors that were computed, the quantizer and the shards that were finished.
"""

import os
import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from engine.errors import BadCall, Busy, DamagedFile, IndexMissing, UnsupportedFormat
from engine.storage.files import remove_leftovers, remove_tree, sync, write_text
from engine.storage.generation import (
    CURRENT,
    generation_names,
    generation_path,
    model_path,
    move_current,
    read_current,
)
from engine.storage.manifest import FileEntry, Manifest
from engine.telemetry import SILENT, Progress
from engine.vision.model import SERVING_FILES, SPEC_FILE, Model, copy_serving_part, write_model

LOCK = "LOCK"
WRITER = "WRITER"  # who holds the lock, for people
BUILDING = "building"
KEPT = 2  # generations on the disk: the one that answers and the one before it, which readers may still use
MODEL_ID = re.compile(r"[0-9a-f]{64}")


@contextmanager
def writing(index_dir: Path) -> Iterator[None]:
    """Holds the index's lock for the time of the `with`, making the directory where there is none.

    Raises Busy where another process holds it, BadCall where the directory holds something else than an index.
    """
    _check_ours(index_dir)
    index_dir.mkdir(parents=True, exist_ok=True)
    lock = FileLock(index_dir / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise Busy(f"{index_dir} is being written by {_writer(index_dir)}; wait until it is done.") from None
    try:
        since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        write_text(index_dir / WRITER, f"process {os.getpid()} on {platform.node()} since {since}\n")
        yield
        (index_dir / WRITER).unlink()
    finally:
        lock.release()


@dataclass(frozen=True, slots=True)
class Work:
    """Where the next generation is made: `index/building/` and what is in it."""

    root: Path
    generation: Path
    receipts: Path
    roster: Path
    ordinals: Path

    @classmethod
    def of(cls, index_dir: Path) -> "Work":
        root = index_dir / BUILDING
        return cls(root, root / "generation", root / "receipts", root / "roster", root / "ordinals.npy")


def reclaim(index_dir: Path) -> None:
    """Makes the work directory ready, with what a killed build left in it that may be used again.

    A generation that was renamed but never made current goes back to where it was made.
    """
    work = Work.of(index_dir)
    for parent in (index_dir, index_dir / "generations", index_dir / "models", work.root):
        remove_leftovers(parent)
    for path in (index_dir / "models").glob(".*"):
        remove_tree(path)
    current = _current(index_dir)
    for name in generation_names(index_dir):
        # without a CURRENT to go by, nobody knows which of them is still wanted
        if current is None or name <= current:
            continue
        path = generation_path(index_dir, name)
        if work.receipts.exists() and not work.generation.exists():
            path.rename(work.generation)
        remove_tree(path)
    for directory in (work.generation, work.receipts):
        directory.mkdir(parents=True, exist_ok=True)


def next_name(index_dir: Path) -> str:
    """The name of the generation after the current one."""
    names = [*generation_names(index_dir), _current(index_dir) or "0"]
    return f"{max(map(int, names)) + 1:06d}"


def publish(index_dir: Path, work: Work, manifest: Manifest, name: str, progress: Progress = SILENT) -> None:
    """Makes the finished files in the work directory the generation that answers, under `name`."""
    for path in work.generation.iterdir():
        if path.name not in manifest.files:
            path.unlink()
    manifest.write(work.generation)
    progress.advance()
    target = generation_path(index_dir, name)
    target.parent.mkdir(exist_ok=True)
    sync(work.generation)
    work.generation.rename(target)
    sync(target.parent)
    progress.advance()
    move_current(index_dir, name)
    progress.advance()
    remove_tree(work.root)
    remove_spares(index_dir)
    progress.advance()


def answering(index_dir: Path) -> list[str]:
    """The generations that answer or answered, oldest first; one that was never made current is none of them."""
    current = _current(index_dir)
    return [name for name in generation_names(index_dir) if current is None or name <= current]


def kept_generations(index_dir: Path) -> list[str]:
    """The generation that answers and the one before it."""
    return answering(index_dir)[-KEPT:]


def remove_spares(index_dir: Path) -> None:
    """Removes generations older than the kept ones, and models that no generation uses any more.

    While one does not say which model it uses, any may be its, and all stay.
    """
    for name in set(answering(index_dir)) - set(kept_generations(index_dir)):
        remove_tree(generation_path(index_dir, name))
    used = {_model_of(generation_path(index_dir, name)) for name in generation_names(index_dir)}
    if None in used:
        return
    for path in model_path(index_dir, "").glob("*"):
        if MODEL_ID.fullmatch(path.name) and path.name not in used:
            remove_tree(path)


def put_model(index_dir: Path, model: Model) -> dict[str, FileEntry]:
    """Sees to it that the index has the serving part of `model`, and describes its files.

    A copy that is there is left alone where it is what the current manifest says.
    """
    directory = model_path(index_dir, model.spec.model_id)
    copy_serving_part(model, directory)
    names = (SPEC_FILE, *SERVING_FILES)
    for name, entry in _model_files(index_dir, model.spec.model_id).items():
        if entry.problem(directory / name):
            write_model(directory, model.spec, {name: model.path / name for name in SERVING_FILES})
            break
    return {name: FileEntry.of(directory / name, 1) for name in names}


def _model_files(index_dir: Path, model_id: str) -> Mapping[str, FileEntry]:
    """What the current generation says about the files of its model."""
    current = _current(index_dir)
    try:
        manifest = None if current is None else Manifest.read(generation_path(index_dir, current))
    except (DamagedFile, UnsupportedFormat):
        return {}
    return manifest.model_files if manifest is not None and manifest.model_id == model_id else {}


def _model_of(generation: Path) -> str | None:
    try:
        return Manifest.read(generation).model_id
    except (DamagedFile, UnsupportedFormat):
        return None


def _current(index_dir: Path) -> str | None:
    try:
        return read_current(index_dir)
    except (IndexMissing, DamagedFile):
        return None


def _writer(index_dir: Path) -> str:
    try:
        return (index_dir / WRITER).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return "another process"


def _check_ours(index_dir: Path) -> None:
    """An index cleans up after itself, so it never moves in with somebody else's files."""
    if index_dir.exists() and not index_dir.is_dir():
        raise BadCall(f"{index_dir} is a file; name a directory for the index.")
    ours = any((index_dir / name).exists() for name in (CURRENT, LOCK)) or generation_names(index_dir)
    if index_dir.is_dir() and any(index_dir.iterdir()) and not ours:
        raise BadCall(f"{index_dir} is not empty and holds no index; name a new directory for the index.")
