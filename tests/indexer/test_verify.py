"""Every file that is missing or not what was written is named."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.errors import Busy, IndexMissing
from engine.storage.generation import generation_names, generation_path
from engine.telemetry import Silent
from indexer.verify import verify_index
from lookalike.commands.verify import command
from tests.fakes import tiny_model
from tests.indexer.shop import Shop, shop


@pytest.fixture
def built(tmp_path: Path) -> Iterator[Shop]:
    with shop(tmp_path, products=4, photos=1) as opened:
        opened.build()
        yield opened


def files(shop: Shop) -> list[Path]:
    """All that an index consists of."""
    directories = (shop.index / "generations", shop.index / "models")
    return sorted(path for directory in directories for path in directory.rglob("*") if path.is_file())


def test_a_whole_index_has_no_findings(built: Shop) -> None:
    assert len(files(built)) == 9
    assert verify_index(built.index) == []


def test_each_damaged_file_is_named(built: Shop) -> None:
    for path in files(built):
        data = path.read_bytes()
        middle = len(data) // 2
        flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        for damaged in (flipped, data[:middle], b""):
            path.write_bytes(damaged)
            assert any(path.name in finding.problem for finding in verify_index(built.index)), path
        path.write_bytes(data)
    assert verify_index(built.index) == []


def test_each_missing_file_is_named(built: Shop) -> None:
    for path in files(built):
        data = path.read_bytes()
        path.unlink()
        assert any(path.name in finding.problem for finding in verify_index(built.index)), path
        path.write_bytes(data)


def test_all_damage_is_found_at_once(built: Shop) -> None:
    built.build()
    damaged = [path for path in files(built) if path.name.startswith("shard-")]
    for path in damaged:
        path.write_bytes(b"")
    assert sorted(finding.path for finding in verify_index(built.index)) == damaged
    assert len(damaged) == 6


@pytest.mark.parametrize("text", ["", "nonsense", "000001", "000009", "000009\n", "000001 00000000\n"])
def test_a_current_that_names_nothing_is_found(built: Shop, text: str) -> None:
    (built.index / "CURRENT").write_text(text)
    (finding,) = verify_index(built.index)
    assert "CURRENT" in finding.problem


def test_a_missing_current_is_found(built: Shop) -> None:
    (built.index / "CURRENT").unlink()
    (finding,) = verify_index(built.index)
    assert finding.path == built.index / "CURRENT"
    assert "is missing" in finding.problem


class Meanwhile(Silent):
    """Somebody who does something as soon as `verify` reads the first generation."""

    def __init__(self, what: Callable[[], object]) -> None:
        self._what: Callable[[], object] | None = what

    def start(self, title: str, total: int | None = None) -> None:
        what, self._what = self._what, None
        if what is not None:
            what()


def test_a_generation_that_a_build_removes_meanwhile_is_not_damaged(built: Shop, tmp_path: Path) -> None:
    other = tiny_model(tmp_path / "other", size=64)
    built.build(other)  # whose model stays, while that of the first goes
    assert verify_index(built.index, Meanwhile(lambda: built.build(other))) == []
    assert generation_names(built.index) == ["000002", "000003"]


def test_a_generation_that_is_gone_though_it_answers_is_found(built: Shop) -> None:
    built.build()
    findings = verify_index(built.index, Meanwhile(lambda: shutil.rmtree(generation_path(built.index, "000002"))))
    assert {finding.path.parent.name for finding in findings} == {"000002"}


def test_an_index_that_is_all_replaced_meanwhile_was_not_checked(built: Shop) -> None:
    with pytest.raises(Busy, match="again"):
        verify_index(built.index, Meanwhile(lambda: (built.build(), built.build())))


def test_no_index_is_not_a_whole_one(tmp_path: Path) -> None:
    with pytest.raises(IndexMissing):
        verify_index(tmp_path)


def test_the_command_ends_with_what_it_found(built: Shop) -> None:
    whole = CliRunner().invoke(command, ["--index", str(built.index)])
    assert (whole.exit_code, "is whole" in whole.output) == (0, True)
    path = files(built)[0]
    path.unlink()
    damaged = CliRunner().invoke(command, ["--index", str(built.index)])
    assert damaged.exit_code == 1
    assert path.name in damaged.output
    assert '"problem"' in CliRunner().invoke(command, ["--index", str(built.index), "--json"]).output
