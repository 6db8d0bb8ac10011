"""Files that are whole or absent: written beside their final name, synced, renamed; and sums that prove them whole.

A name that readers know never points at half a file, whatever is killed and whenever. A file that may be mapped is
never written to again: its name is given to a new file, and the old one lives on for those who still read it.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

DOOMED = ".removed-"  # begins the names of directories that are being removed


@contextmanager
def replacing(path: Path, *, own: bool = False) -> Iterator[Path]:
    """A name beside `path` to write to; when the `with` ends well, that file is synced and takes the name `path`.

    When the `with` ends with an error, what was written is removed and `path` stays what it was. With `own` nobody
    else writes to that name, so that several may write the same `path` at once.
    """
    partial = path.with_name(f"{path.name}.{uuid4().hex if own else 'partial'}")
    partial.unlink(missing_ok=True)  # left by a kill, and perhaps a second name of a file that is being read
    try:
        yield partial
        sync(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync(path.parent)


def write_text(path: Path, text: str) -> None:
    """Gives `path` the content `text` in UTF-8, at once or not at all."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def link(source: Path, path: Path) -> None:
    """Gives a file that never changes a second name; a copy where the file system has no links."""
    with replacing(path) as partial:
        try:
            partial.hardlink_to(source)
        except OSError:
            shutil.copyfile(source, partial)


def sync(path: Path) -> None:
    """Returns when the file, or the names in the directory, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_ahead(path: Path) -> None:
    """Has the system begin to read a whole file that will be wanted soon; does nothing where it cannot."""
    if not hasattr(os, "posix_fadvise"):  # macOS
        return
    with suppress(OSError):  # who reads the file says what is wrong with it
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(descriptor)


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_tree(path: Path) -> None:
    """Removes a directory with all in it; one that is not there is fine.

    It loses its name first, so that nobody ever finds half of it; `remove_leftovers` removes what a kill left.
    """
    if path.exists():
        doomed = path.with_name(f"{DOOMED}{path.name}")
        if doomed.exists():
            shutil.rmtree(doomed)
        path.rename(doomed)
        shutil.rmtree(doomed)


def remove_leftovers(parent: Path) -> None:
    """Finishes the `remove_tree` of directories in `parent` that a kill interrupted."""
    for path in parent.glob(f"{DOOMED}*"):
        shutil.rmtree(path)
