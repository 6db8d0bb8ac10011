"""Making a finished generation the one that answers, and keeping the index directory clean.

Everything is made in `index/building/`, where no reader looks. Publishing is two atomic steps: the finished directory
is renamed into `generations/`, then CURRENT is replaced. Killed at any point, the index answers as before; the next
build finds in `building/embedded/` what was embedded so far and throws the rest away.
"""

import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from engine.errors import BadCall, Busy, DamagedFile, IndexMissing
from engine.storage.files import remove_tree, sync, write_text
from engine.storage.generation import (
    CURRENT,
    generation_names,
    generation_path,
    model_path,
    move_current,
    read_current,
)
from engine.storage.manifest import NAME as MANIFEST
from engine.storage.manifest import Manifest
from engine.telemetry import SILENT, Progress

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


def building(index_dir: Path) -> Path:
    """Where the next generation is made."""
    return index_dir / BUILDING


def discard_leftovers(index_dir: Path) -> None:
    """Removes what a killed build left, but for its embedded photos: half a generation, or one never made current."""
    remove_tree(building(index_dir) / "generation")
    for path in (index_dir / "models").glob(".*"):
        remove_tree(path)
    current = _current(index_dir)
    for name in generation_names(index_dir):
        # without a CURRENT to go by, nobody knows which of them is still wanted
        if current is not None and name > current:
            remove_tree(generation_path(index_dir, name))


def next_name(index_dir: Path) -> str:
    """The name of the generation after the current one."""
    names = [*generation_names(index_dir), _current(index_dir) or "0"]
    return f"{max(map(int, names)) + 1:06d}"


def publish(index_dir: Path, finished: Path, name: str, progress: Progress = SILENT) -> None:
    """Makes the generation in the directory `finished`, its manifest written, the one that answers, under `name`."""
    assert (finished / MANIFEST).is_file()
    target = generation_path(index_dir, name)
    target.parent.mkdir(exist_ok=True)
    sync(finished)
    finished.rename(target)
    sync(target.parent)
    progress.advance()
    move_current(index_dir, name)
    progress.advance()
    remove_tree(building(index_dir))
    _prune(index_dir)
    progress.advance()


def _prune(index_dir: Path) -> None:
    """Removes generations older than the kept ones, and models that no kept one uses."""
    names = generation_names(index_dir)
    for name in names[:-KEPT]:
        remove_tree(generation_path(index_dir, name))
    used = {_model_of(generation_path(index_dir, name)) for name in names[-KEPT:]}
    for path in model_path(index_dir, "").iterdir():
        if MODEL_ID.fullmatch(path.name) and path.name not in used:
            remove_tree(path)


def _model_of(generation: Path) -> str | None:
    try:
        return Manifest.read(generation).model_id
    except DamagedFile:
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
    ours = (CURRENT, LOCK)
    if index_dir.is_dir() and any(index_dir.iterdir()) and not any((index_dir / name).exists() for name in ours):
        raise BadCall(f"{index_dir} is not empty and holds no index; name a new directory for the index.")
