"""TOML < environment < flags, and which of them spoke."""

import json
import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from engine.errors import BadSetting, LookalikeError
from engine.settings import settings
from lookalike.commands.config import command
from lookalike.commands.serve import command as serve
from lookalike.config import Configured, key_of


@pytest.fixture(autouse=True)
def nothing_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder without a file, and an environment that is put back with what the commands change in it."""
    for name in [name for name in os.environ if name.startswith("LOOKALIKE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LOOKALIKE_CONFIG", "")  # so that it is put back
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    yield
    settings.cache_clear()


def config(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def values(*arguments: str) -> dict[str, dict[str, Any]]:
    done = config("--json", *arguments)
    assert done.exit_code == 0, done.output
    return {one.pop("name"): one for one in json.loads(done.stdout)["values"]}


def file(text: str, name: str = "lookalike.toml") -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


def test_without_anything_all_is_default() -> None:
    found = values()
    assert {one["from"] for one in found.values()} == {"default"}
    assert found["serve.port"] == {"value": 8000, "from": "default", "where": None}
    assert found["serve.index"]["value"] is None
    assert found["max_photo_pixels"]["value"] == 64_000_000


@pytest.mark.parametrize(("in_file", "in_environment", "as_flag"), [*product([False, True], repeat=3)])
def test_a_flag_is_above_the_environment_above_the_file(
    in_file: bool, in_environment: bool, as_flag: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected: dict[str, Any] = {"value": 8000, "from": "default", "where": None}
    if in_file:
        file("[serve]\nport = 8100")
        expected = {"value": 8100, "from": "file", "where": "lookalike.toml"}
    if in_environment:
        monkeypatch.setenv("LOOKALIKE_SERVE_PORT", "8200")
        expected = {"value": 8200, "from": "environment", "where": "LOOKALIKE_SERVE_PORT"}
    if as_flag:
        expected = {"value": 8300, "from": "flag", "where": "--port"}
    assert values(*(["serve", "--port", "8300"] if as_flag else []))["serve.port"] == expected


@pytest.mark.parametrize(("in_file", "in_environment"), [*product([False, True], repeat=2)])
def test_settings_too(in_file: bool, in_environment: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    expected: dict[str, Any] = {"value": 0, "from": "default", "where": None}
    if in_file:
        file("threads = 2")
        expected = {"value": 2, "from": "file", "where": "lookalike.toml"}
    if in_environment:
        monkeypatch.setenv("LOOKALIKE_THREADS", "3")
        expected = {"value": 3, "from": "environment", "where": "LOOKALIKE_THREADS"}
    assert values()["threads"] == expected
    assert settings().threads == expected["value"]


def test_a_file_that_is_named_is_read_instead_of_the_one_here() -> None:
    file("threads = 2\n[serve]\nport = 8100")
    named = file("threads = 4\n[serve]\nno_page = true", "other.toml")
    found = values("--config", str(named))
    assert found["threads"] == {"value": 4, "from": "file", "where": str(named.absolute())}
    assert found["serve.port"]["from"] == "default"
    assert found["serve.no_page"]["value"] is True


def test_passwords_of_urls_are_not_shown() -> None:
    file('[serve]\ncatalogue = "postgresql://anna:s3:cr@et@db/shop?sslpassword=hush&x=1"')
    for shown in (config().output, config("--json").output):
        assert "cr@et" not in shown
        assert "hush" not in shown
    assert values()["serve.catalogue"]["value"] == "postgresql://anna:***@db/shop?sslpassword=***&x=1"


def test_a_person_sees_name_value_and_origin() -> None:
    file("[serve]\nport = 8100\nno_page = true")
    shown = config("serve", "--threads", "3").output
    rows = {
        row[0]: row[1:]
        for row in ([cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines())
        if row
    }
    assert rows["serve.port"] == ["8100", "lookalike.toml"]
    assert rows["serve.no_page"] == ["true", "lookalike.toml"]
    assert rows["serve.threads"] == ["3", "--threads"]
    assert rows["serve.index"] == ["-", "default"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[serve]\nprot = 1", "no 'prot' in [serve]; did you mean port?"),
        ("[serve]\nport = 'many'", "port in [serve]: 'many' is not"),
        ("[serve]\nport = 8000.5", "port in [serve]: '8000.5' is not"),
        ("[serve]\nport = true", "port in [serve]: 'true' is not"),
        ("[serve]\nport = 70000", "port in [serve]: 70000 is not in the range"),
        ("[serve]\nindex = ['a', 'b']", "index in [serve] is a list"),
        ("[sevre]", "no table [sevre]; did you mean serve?"),
        ("thraeds = 1", "no setting 'thraeds'; did you mean threads?"),
        ("threads = -1", "threads is '-1': input should be greater than or equal to 0"),
        ("threads = true", "threads is 'true'"),
    ],
)
def test_what_cannot_be_in_the_file_is_told_with_its_name(text: str, said: str) -> None:
    file(text)
    error = config().exception
    assert isinstance(error, BadSetting)
    assert str(error).startswith("lookalike.toml: ")
    assert said in str(error)


def test_what_cannot_be_in_the_environment_is_told_by_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_SERVE_PORT", "many")
    error = CliRunner().invoke(serve, ["--index", "x"]).exception
    assert isinstance(error, BadSetting)
    assert str(error).startswith("LOOKALIKE_SERVE_PORT: 'many' is not")


def test_what_was_typed_wrong_is_told_as_ever() -> None:
    assert config("serve", "--prot", "1").exit_code == 2
    done = CliRunner().invoke(serve, ["--index", "x", "--port", "many"])
    assert done.exit_code == 2
    assert "--port" in done.output
    assert config("upsert").exit_code == 2


def test_serve_takes_its_index_from_the_file() -> None:
    file('[serve]\nindex = "nowhere/at-all"\nno_page = true')
    error = CliRunner().invoke(serve, []).exception
    assert isinstance(error, LookalikeError)  # and not a missing option
    assert "nowhere/at-all" in str(error)


def test_every_option_of_serve_has_a_key_of_its_own() -> None:
    keys = [key_of(option) for option in serve.options()]
    assert len(keys) == len(set(keys))
    assert "index" in keys


def test_an_option_that_takes_several_takes_one_too() -> None:
    asked: list[tuple[str, ...]] = []

    @click.command(cls=Configured, table="serve")
    @click.option("--index", multiple=True, help="Some.")
    def several(index: tuple[str, ...]) -> None:
        asked.append(index)

    file("[serve]\nindex = 'ab'")
    assert CliRunner().invoke(several, []).exit_code == 0
    assert asked == [("ab",)]


def test_children_read_the_file_that_was_named() -> None:
    named = file("threads = 5", "other.toml")
    CliRunner().invoke(serve, ["--config", str(named), "--index", "nowhere", "--no-page"])
    assert os.environ["LOOKALIKE_CONFIG"] == str(named.absolute())
    assert settings().threads == 5
