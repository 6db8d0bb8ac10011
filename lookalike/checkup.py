"""What `lookalike doctor` looks at: the installed packages, files that should open, and whether there is room for them.

Each check is a sentence and whether it is good news. Nothing here raises for what it finds: that is the finding.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.errors import LookalikeError, Unavailable, WrongCatalogue
from engine.settings import settings
from lookalike.machine import CGROUP, PROC, disk_free, memory_of, size_text

if TYPE_CHECKING:
    from engine.storage.generation import Generation

_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")
_NAME = re.compile(r"[A-Za-z0-9._-]+")
LEAST_ROOM = 64 * 1024**2  # bytes free beside a catalogue's file, however small it is


@dataclass(frozen=True, slots=True)
class Package:
    """A package that Lookalike asks for: `extra` None for the base; `version` None where it is not installed."""

    name: str
    extra: str | None
    version: str | None


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at, whether it is well, and a sentence about it."""

    what: str
    healthy: bool
    text: str


def packages() -> tuple[Package, ...]:
    """Everything the base and the extras ask for, base first, with what is installed of it."""
    found = [_package(requirement) for requirement in requires("lookalike") or ()]
    return tuple(sorted(found, key=lambda package: (package.extra or "", package.name.lower())))


def missing_by_extra(found: tuple[Package, ...]) -> dict[str, list[str]]:
    """Extra -> the names of its packages that are not installed; an empty list means the extra is complete."""
    missing: dict[str, list[str]] = {}
    for package in found:
        if package.extra is not None:
            missing.setdefault(package.extra, []).extend([] if package.version else [package.name])
    return missing


def check_installation(found: tuple[Package, ...]) -> list[Check]:
    """Whether search can run at all: the base, exactly one FAISS, settings that can be."""
    lacking = [package.name for package in found if package.extra is None and not package.version]
    base = f"{', '.join(lacking)} missing; install lookalike again." if lacking else "The base packages are installed."
    return [Check("base", not lacking, base), _check_faiss(found), _checked("settings", _settings)]


def configured() -> tuple[Path | None, str | None]:
    """The index and the catalogue that `lookalike serve` is configured with; none where the configuration is wrong,
    which `check_installation` tells."""
    from lookalike.config import all_values

    try:
        values = {one.name: one.value for one in all_values()}
    except LookalikeError:
        return None, None
    return values["serve.index"], values["serve.catalogue"]


def check_model(directory: Path) -> Check:
    """Reads every file of a model in full and encodes a drawn ramp with it."""
    return _checked("model", lambda: _model(directory))


def check_index(directory: Path) -> list[Check]:
    """Opens an index, tries the model in it, and looks at the room they have; `lookalike verify` reads every byte."""
    opened: list[Generation] = []
    checks = [_checked("index", lambda: _index(directory, opened))]
    for generation in opened:
        memory, free = memory_of(PROC, CGROUP)
        checks += [check_disk(directory, generation_bytes(generation)), check_memory(generation, memory, free)]
        generation.close()
    return checks


def check_catalogue(where: str, index_dir: Path | None = None) -> list[Check]:
    """Opens a catalogue, counts what is in it, looks at its disk, and whether the index, if one is given, is of it."""
    checks = [_checked("catalogue", lambda: _catalogue(where))]
    if checks[0].healthy and "://" not in where:
        checks.append(_checked("catalogue's disk", lambda: _catalogue_disk(Path(where))))
    if checks[0].healthy and index_dir is not None:
        checks.append(_checked("index of the catalogue", lambda: _pair(where, index_dir)))
    return checks


def check_disk(directory: Path, needed: int, free: int | None = None) -> Check:
    """Whether another generation has room where the index lies; `needed` and `free` in bytes."""
    free = disk_free(directory) if free is None else free
    said = f"{size_text(free)} free where {directory} lies; a new generation takes about {size_text(needed)}"
    return Check("disk", free >= needed, f"{said}." if free >= needed else f"{said}: make room before the next build.")


def check_memory(generation: "Generation", memory: int | None, free: int | None) -> Check:
    """Whether a process that answers can hold what it must, of `memory` and what of it is `free`, in bytes.

    Codes and quantizer are read into memory; vectors and rows are mapped, and only faster where they fit as well.
    """
    held, mapped = held_bytes(generation), generation_bytes(generation)
    said = f"answering holds {size_text(held)} of codes and is fastest with all {size_text(mapped)} in memory"
    if free is None:
        return Check("memory", True, f"The system does not tell what is free; {said}.")
    said = f"{size_text(free)} of {size_text(memory)} can be had; {said}"
    if free < held:
        return Check("memory", False, f"{said}: give it more memory, or build with fewer --bytes-per-photo.")
    return Check("memory", True, f"{said}.")


def generation_bytes(generation: "Generation") -> int:
    """Bytes of all files of a generation."""
    return sum(entry.bytes for entry in generation.manifest.files.values())


def held_bytes(generation: "Generation") -> int:
    """Bytes of those files that are read into memory instead of mapped: FAISS's."""
    return sum(entry.bytes for name, entry in generation.manifest.files.items() if name.endswith(".faiss"))


def _checked(what: str, look: Callable[[], str]) -> Check:
    try:
        return Check(what, True, look())
    except (LookalikeError, ImportError) as error:
        return Check(what, False, str(error))


def _check_faiss(found: tuple[Package, ...]) -> Check:
    here = [package.name for package in found if package.name in {"faiss-cpu", "faiss-gpu"} and package.version]
    if not here:
        return Check("faiss", False, "FAISS is missing; install lookalike[cpu], or lookalike[gpu] for CUDA.")
    if len(here) > 1:
        return Check("faiss", False, "faiss-cpu and faiss-gpu ship the same module; uninstall one of them.")
    return Check("faiss", True, f"FAISS is installed ({here[0]}).")


def _settings() -> str:
    from lookalike.config import all_values

    settings()
    changed = [f"{one.name}={one.shown} ({one.origin.where})" for one in all_values() if one.origin.where]
    return f"Set: {', '.join(changed)}." if changed else "All settings have their defaults."


def _model(directory: Path) -> str:
    from engine.errors import DamagedFile
    from engine.vision.encoder import OpenVinoEncoder
    from engine.vision.heads import Heads
    from engine.vision.model import Model

    model = Model.open(directory)
    if problems := model.verify():
        raise DamagedFile(problems[0])
    heads = Heads.open(model)
    encoder = OpenVinoEncoder(model)
    side = encoder.preprocess.size
    ramp = np.linspace(-1, 1, 3 * side * side, dtype=np.float32).reshape(1, 3, side, side)
    encoded = encoder.encode(ramp)
    length = float(np.linalg.norm(encoded.embeddings[0]))
    if not abs(length - 1) < 1e-3:  # also where it is not a number
        raise DamagedFile(f"{directory} gives a vector of length {length:.3f} instead of 1; export the model again.")
    spec = model.spec
    return (
        f"{directory} encodes: {spec.name} ({spec.trunk}), {side} pixels -> {spec.dim} numbers, "
        f"{len(heads.heads)} heads, id {spec.model_id[:12]}."
    )


def _index(directory: Path, opened: "list[Generation]") -> str:
    """Leaves the generation in `opened` for those who look further."""
    from engine.storage.generation import open_index

    generation = open_index(directory)
    opened.append(generation)
    manifest = generation.manifest
    _model(generation.model_path)
    return (
        f"{directory} opens: generation {generation.name}, products {manifest.products:,}, photos {manifest.photos:,}, "
        f"model {manifest.model_id[:12]}."
    )


def _catalogue(where: str) -> str:
    from engine.catalogue.store import Catalogue

    with Catalogue.open(where) as catalogue, catalogue.snapshot() as view:
        return (
            f"{catalogue.name} opens: products {view.count_products():,}, photos {view.count_photos():,}, "
            f"change {view.change_number}."
        )


def _catalogue_disk(path: Path) -> str:
    """Writers need room and the right to write; SQLite's readers too, for its log."""
    folder, size, free = path.resolve().parent, path.stat().st_size, disk_free(path)
    if not (os.access(path, os.W_OK) and os.access(folder, os.W_OK)):
        raise Unavailable(f"{path} or its folder cannot be written by this user; give it the right to.")
    needed = max(size, LEAST_ROOM)
    if free < needed:
        raise Unavailable(f"{size_text(free)} free where {path} lies, less than {size_text(needed)}; make room.")
    return f"{size_text(free)} free where {path} lies; it has {size_text(size)}."


def _pair(where: str, index_dir: Path) -> str:
    from engine.catalogue.changes import check_reached
    from engine.catalogue.store import Catalogue
    from engine.storage.generation import generation_path, read_current
    from engine.storage.manifest import Manifest

    manifest = Manifest.read(generation_path(index_dir, read_current(index_dir)))
    with Catalogue.open(where) as catalogue:
        if manifest.catalogue_id != catalogue.catalogue_id:
            raise WrongCatalogue(f"{index_dir} belongs to another catalogue than {catalogue.name}; name that one.")
        number = catalogue.change_number()
        check_reached(manifest.change_number, number, catalogue.name)
        return f"{index_dir} knows {catalogue.name} up to change {manifest.change_number} of {number}."


def _package(requirement: str) -> Package:
    name = _NAME.match(requirement)
    assert name is not None, requirement
    extra = _EXTRA.search(requirement)
    try:
        installed = version(name[0])
    except PackageNotFoundError:
        installed = None
    return Package(name[0], extra[1] if extra else None, installed)
