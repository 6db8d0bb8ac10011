"""`lookalike keys` as people type it, and `lookalike serve` beyond loopback."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from lookalike.commands.keys import command
from lookalike.main import main
from webui.ports import Feedback
from webui.state.keys import Scope
from webui.state.state import State

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs a command line: exit code, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(arguments)
        shown = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return left.value.code, shown.out, shown.err

    return run


def read(call: Call, *arguments: str) -> Any:
    code, out, err = call(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def test_a_key_is_printed_once_alone_on_its_line_and_works(call: Call, where: str) -> None:
    code, out, err = call("keys", "create", "shop", "--state", where)

    assert code == 0
    key = out.strip()
    assert re.fullmatch(r"lk_[0-9a-f]{12}_[0-9a-f]{64}", key)
    assert "Shown this once" in err
    assert key not in err
    with State.open(where) as state:
        caller = state.admit(key, Scope.READ)
    assert caller is not None
    assert caller.name == "shop"
    for arguments in (["list"], ["list", "--json"], ["revoke", key], ["revoke", key, "--json"], ["list"]):
        code, out, err = call("keys", *arguments, "--state", where)
        assert code == 0
        assert key.split("_")[2] not in out + err


def test_listings_show_what_is_known_of_keys(call: Call, where: str) -> None:
    first = read(call, "keys", "create", "Shop ☂", "--state", where)
    second = read(call, "keys", "create", "feed", "--scope", "write", "--rate", "30", "--state", where)
    assert read(call, "keys", "revoke", first["id"], "--state", where)["revoked"] is not None

    listed = read(call, "keys", "list", "--state", where)

    assert [(one["id"], one["name"], one["scope"], one["rate"]) for one in listed] == [
        (first["id"], "Shop ☂", "read", None),
        (second["id"], "feed", "write", 30),
    ]
    assert [one["revoked"] is None for one in listed] == [False, True]
    code, table, _ = call("keys", "list", "--state", where)
    assert code == 0
    assert second["id"] in table


def test_the_state_is_found_beside_the_index_or_where_the_servers_variables_say(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read(call, "keys", "create", "shop", "--index", str(tmp_path / "index"))
    assert (tmp_path / "index.state.db").exists()

    monkeypatch.setenv("LOOKALIKE_SERVE_STATE", str(tmp_path / "index.state.db"))
    assert len(read(call, "keys", "list")) == 1


def test_feedback_is_read_out_as_lines_of_json(call: Call, where: str) -> None:
    with State.open(where, create=True) as state:
        state.record(Feedback("click", "r-1", "Stühle ☂", 3, "shop"))
        state.record(Feedback("not_found", "r-2"))

    code, out, _ = call("keys", "feedback", "--state", where, "--json")

    assert code == 0
    first, second = map(json.loads, out.splitlines())
    assert first["time"].endswith("+00:00")
    assert {name: first[name] for name in ("kind", "request_id", "product_id", "position", "key")} == {
        "kind": "click",
        "request_id": "r-1",
        "product_id": "Stühle ☂",
        "position": 3,
        "key": "shop",
    }
    assert second["product_id"] is None
    code, out, _ = call("keys", "feedback", "--state", where, "--json", "--after", str(first["number"]))
    assert [json.loads(line)["kind"] for line in out.splitlines()] == ["not_found"]
    code, table, _ = call("keys", "feedback", "--state", where)
    assert code == 0
    assert "click" in table
    assert "None" not in table


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["keys", "list"], 2, "--index"),
        (["keys", "list", "--state", "none.db"], 1, "lookalike keys create"),
        (["keys", "revoke", "lk_0123456789ab", "--state", "none.db"], 1, "lookalike keys create"),
        (["keys", "create", "", "--state", "state.db"], 2, "name"),
        (["keys", "create", "shop", "--rate", "0", "--state", "state.db"], 2, "rate"),
        (["keys", "create", "shop", "--state", "none/state.db"], 1, "--state"),
        (["keys", "create", "shop", "--state", "mysql://x/y"], 2, "postgresql://"),
    ],
)
def test_mistakes_are_one_sentence(
    call: Call, arguments: list[str], code: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    left, out, err = call(*arguments)

    assert (left, out) == (code, "")
    assert len(err.splitlines()) == 1
    assert words in err


def test_every_option_explains_itself() -> None:
    for part in command.commands.values():
        assert part.help
        assert all(option.help for option in part.params if isinstance(option, click.Option))


def test_help_loads_nothing_heavy() -> None:
    probe = "import sys, lookalike.commands.keys\nprint({'numpy', 'faiss', 'sqlalchemy', 'flask'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


# --- lookalike serve -------------------------------------------------------------------------------------------------


def test_serving_beyond_loopback_without_a_key_is_refused_before_anything_is_opened(call: Call, tmp_path: Path) -> None:
    """The index is not there either: whether it may listen is the first question."""
    code, out, err = call("serve", "--index", str(tmp_path / "index"), "--host", "0.0.0.0", "--no-page")

    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert f"lookalike keys create NAME --state {tmp_path / 'index.state.db'}" in err
