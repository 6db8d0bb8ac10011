"""The machine that this runs on: its memory, as far as this process may have it, and its disks."""

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from engine.settings import cores

PROC = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")  # version 2, as containers have it


@dataclass(frozen=True, slots=True)
class Machine:
    """Where this runs. Sizes in bytes; None where the system does not tell."""

    python: str
    system: str
    cores: int
    memory: int | None
    memory_free: int | None
    disk_free: int


def machine() -> Machine:
    """This process's machine; the disk is that of the current directory."""
    memory, free = memory_of(PROC, CGROUP)
    return Machine(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cores=cores(),
        memory=memory,
        memory_free=free,
        disk_free=disk_free(Path.cwd()),
    )


def memory_of(meminfo: Path, cgroup: Path) -> tuple[int | None, int | None]:
    """(all memory, what of it can be had) in bytes, as Linux tells; a container's limit counts where it is less.

    What only keeps files in memory can be had. None outside Linux for what is not told.
    """
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        memory, free = (int(lines[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    except (OSError, KeyError, ValueError):
        return _physical(), None
    limit, used = _number(cgroup / "memory.max"), _number(cgroup / "memory.current")
    if limit is None or limit >= memory:
        return memory, free
    return limit, min(free, max(limit - (used or 0), 0))


def disk_free(path: Path) -> int:
    """Bytes that may still be written to the disk on which `path` lies, or will lie."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def size_text(size: int | None) -> str:
    """A size as people read it: 3.2 GiB, 14 MiB."""
    if size is None:
        return "unknown"
    return f"{size / 1024**3:.1f} GiB" if size >= 1024**3 else f"{size / 1024**2:.0f} MiB"


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such file, or "max"
        return None


def _physical() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
