"""The front door: what is listed, what is loaded, and how an error leaves."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from engine.errors import BadFilter, LookalikeError
from lookalike.main import COMMANDS, cli, main

ROOT = Path(__file__).parents[2]


def test_help_loads_none_of_the_heavy_packages():
    probe = (
        "import sys\nfrom lookalike.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'numpy', 'faiss', 'torch', 'gradio', 'flask', 'openvino', 'rich', 'engine'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_listed_command_exists_and_explains_itself(name):
    command = import_module(COMMANDS[name][0]).command
    assert isinstance(command, click.Command)
    shown = CliRunner().invoke(command, ["--help"])
    assert shown.exit_code == 0
    assert all(option.help for option in command.params if isinstance(option, click.Option)), "an option without help"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme(name):
    assert f"lookalike {name}" in (ROOT / "README.md").read_text()


def test_a_mistyped_command_exits_2_and_names_the_near_one(capsys):
    with pytest.raises(SystemExit) as left:
        main(["serch"])
    assert left.value.code == 2
    assert "did you mean search?" in capsys.readouterr().err


@pytest.mark.parametrize(("error", "code"), [(BadFilter("No such facet."), 2), (LookalikeError("It broke."), 1)])
def test_an_error_is_one_sentence_and_an_exit_code(error, code, monkeypatch, capsys):
    @click.command()
    def broken() -> None:
        raise error

    monkeypatch.setattr(type(cli), "get_command", lambda self, ctx, name: broken)
    with pytest.raises(SystemExit) as left:
        main(["search"])
    assert left.value.code == code
    assert capsys.readouterr().err == f"Error: {error}\n"
