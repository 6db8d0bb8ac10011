"""`lookalike config`: every value that can be configured, and where it came from."""

import json
from pathlib import Path

import click

from lookalike.config import config_option, use_config_file
from lookalike.console import say, show_table


def _use(_: click.Context, __: click.Parameter, path: Path | None) -> None:
    use_config_file(path)


@click.command(
    params=[config_option(_use)],
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.argument("call", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND [FLAGS]…]")
def command(as_json: bool, call: tuple[str, ...]) -> None:
    """Show every setting and option, its value, and where it came from: default, file, environment or flag.

    Given a command and its flags, as in `lookalike config serve --port 9000`, it shows what that call would run with.
    Passwords in URLs are not shown.
    """
    from engine.config_file import find_config_file
    from lookalike.config import all_values

    file = find_config_file()
    values = all_values(call[0] if call else None, call[1:])
    if as_json:
        rows = [
            {"name": one.name, "value": one.shown, "from": one.origin.source, "where": one.origin.where}
            for one in values
        ]
        click.echo(json.dumps({"file": str(file.path) if file else None, "values": rows}, indent=2))
        return
    say(f"Configuration file: {file.path if file else 'none (lookalike.toml here, or LOOKALIKE_CONFIG)'}")
    show_table(
        "Configuration",
        ("name", "value", "from"),
        [(one.name, _text(one.shown), one.origin.where or one.origin.source) for one in values],
        text_columns=3,
    )


def _text(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "true" if value else "false"
        case list():
            return ", ".join(map(str, value)) or "-"
        case _:
            return str(value)
