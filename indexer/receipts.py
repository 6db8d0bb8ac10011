"""Receipts: what went into files that a build finished, so that the next build can tell whether it would make the same.

A build that was killed is worth as much as what can be trusted of it: a file is used again where its receipt names the
same inputs and the file is, byte for byte, what was written.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from engine.storage.files import write_text
from engine.storage.manifest import FileEntry


def write_receipt(path: Path, inputs: str, files: Mapping[str, FileEntry]) -> None:
    """Notes at `path` that `files` were made of what has the sum `inputs`."""
    entries = {name: asdict(entry) for name, entry in files.items()}
    write_text(path, json.dumps({"inputs": inputs, "files": entries}))


def read_receipt(path: Path, inputs: str, directory: Path) -> dict[str, FileEntry] | None:
    """The files in `directory` that the receipt names, where they were made of the same inputs and are whole."""
    try:
        receipt = json.loads(path.read_text(encoding="utf-8"))
        if receipt["inputs"] != inputs:
            return None
        files = {name: FileEntry(**entry) for name, entry in receipt["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return None if any(entry.problem(directory / name) for name, entry in files.items()) else files
