"""What `lookalike doctor` looks at: the machine, the installed packages, and files that should open.

Each check is a sentence and whether it is good news. Nothing here raises for what it finds: that is the finding.
"""

import os
import platform
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import numpy as np

from engine.errors import LookalikeError
from engine.settings import cores, settings

_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")
_NAME = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where this runs. Sizes in bytes; None where the system does not tell."""

    python: str
    system: str
    cores: int
    memory: int | None
    memory_free: int | None
    disk_free: int


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


def machine() -> Machine:
    """This process's machine; the disk is that of the current directory."""
    return Machine(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cores=cores(),
        memory=_memory("SC_PHYS_PAGES"),
        memory_free=_memory("SC_AVPHYS_PAGES"),
        disk_free=shutil.disk_usage(Path.cwd()).free,
    )


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


def check_model(directory: Path) -> Check:
    """Reads every file of a model in full and encodes a drawn ramp with it."""
    return _checked("model", lambda: _model(directory))


def check_index(directory: Path) -> Check:
    """Opens an index and the model in it, and tries that; `lookalike verify` reads every byte."""
    return _checked("index", lambda: _index(directory))


def check_catalogue(where: str) -> Check:
    """Opens a catalogue and counts what is in it."""
    return _checked("catalogue", lambda: _catalogue(where))


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
    changed = settings().model_dump(exclude_defaults=True)
    if not changed:
        return "All settings have their defaults."
    return "Set: " + ", ".join(f"LOOKALIKE_{name.upper()}={value}" for name, value in changed.items()) + "."


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


def _index(directory: Path) -> str:
    from engine.storage.generation import open_index

    generation = open_index(directory)
    manifest, name = generation.manifest, generation.name
    _model(generation.model_path)
    generation.close()
    return (
        f"{directory} opens: generation {name}, products {manifest.products:,}, photos {manifest.photos:,}, "
        f"model {manifest.model_id[:12]}."
    )


def _catalogue(where: str) -> str:
    from engine.catalogue.store import Catalogue

    with Catalogue.open(where) as catalogue, catalogue.snapshot() as view:
        return f"{where} opens: products {view.count_products():,}, photos {view.count_photos():,}."


def _package(requirement: str) -> Package:
    name = _NAME.match(requirement)
    assert name is not None, requirement
    extra = _EXTRA.search(requirement)
    try:
        installed = version(name[0])
    except PackageNotFoundError:
        installed = None
    return Package(name[0], extra[1] if extra else None, installed)


def _memory(pages: str) -> int | None:
    try:
        return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not told outside Linux
        return None
