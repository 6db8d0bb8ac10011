"""Truncated, zeroed, bit-flipped, missing: whatever happens to any byte of an index, `verify` names the file."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from indexer.verify import verify_index
from tests.indexer.shop import shop


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An index with two generations and two shards, in a copy that may be damaged."""
    folder = tmp_path_factory.mktemp("integrity")
    with shop(folder, products=6, photos=2) as opened:
        opened.build(shards=2)
        opened.stock(range(6, 8))
        opened.merge()
    assert verify_index(folder / "index") == []
    yield folder / "index"
    shutil.rmtree(folder)


def files(index: Path) -> list[Path]:
    """All that an index consists of; the lock holds nothing."""
    return sorted(path for path in index.rglob("*") if path.is_file() and path.name != "LOCK")


def damage(data: bytes, kind: str, position: int, rng: np.random.Generator) -> bytes:
    """What may become of a file: always something else than it was."""
    match kind:
        case "flipped":
            return data[:position] + bytes([data[position] ^ 1 << int(rng.integers(8))]) + data[position + 1 :]
        case "truncated":
            return data[:position]
        case "zeroed":
            end = position + int(rng.integers(1, 4097))
            return data[:position] + bytes(len(data[position:end])) + data[end:]
        case _:
            return data + data[:1]


KINDS = ("flipped", "truncated", "zeroed", "longer")


def check(index: Path, path: Path, damaged: bytes) -> None:
    data = path.read_bytes()
    if damaged == data:
        return
    # a file of its own: generations share what they linked
    path.unlink()
    path.write_bytes(damaged)
    named = [finding.path for finding in verify_index(index)]
    path.write_bytes(data)
    assert path in named, (path, len(data), len(damaged))


def check_everything(index: Path, positions: int, seed: int) -> int:
    """Damages every file at `positions` places in every way; how many damages were found."""
    rng = np.random.default_rng(seed)
    count = 0
    for path in files(index):
        data = path.read_bytes()
        ends = [0, len(data) - 1]
        for kind in KINDS:
            for position in [*ends, *rng.integers(len(data), size=positions).tolist()]:
                check(index, path, damage(data, kind, position, rng))
                count += 1
        path.unlink()
        assert path in [finding.path for finding in verify_index(index)]
        path.write_bytes(data)
    return count


def test_every_kind_of_damage_to_every_file_is_named(index: Path) -> None:
    assert check_everything(index, positions=1, seed=0) >= 17 * 4 * 3
    assert verify_index(index) == []


def test_every_position_of_the_small_files_is_watched(index: Path) -> None:
    rng = np.random.default_rng(1)
    (manifest, *_) = index.glob("generations/000002/manifest.json")
    for path in (index / "CURRENT", manifest):
        data = path.read_bytes()
        for position in range(0, len(data), 1 if len(data) < 100 else 97):
            for kind in ("flipped", "truncated", "zeroed"):
                check(index, path, damage(data, kind, position, rng))
