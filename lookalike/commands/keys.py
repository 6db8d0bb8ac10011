"""`lookalike keys`: who may ask the API, and what shoppers said about its answers."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from engine.errors import BadCall
from lookalike.console import remark, say, show_table

if TYPE_CHECKING:
    from webui.state.keys import ApiKey
    from webui.state.state import State

Command = TypeVar("Command", bound=Callable[..., None])


def _place_options(command: Command) -> Command:
    """`--state` and `--index`, which may also be said once for this and `lookalike serve`."""
    index = click.option(
        "--index",
        "index_dir",
        type=click.Path(path_type=Path),
        envvar="LOOKALIKE_SERVE_INDEX",
        help="The index that is served: its state is the file beside it.",
    )
    state = click.option(
        "--state",
        metavar="FILE|URL",
        envvar="LOOKALIKE_SERVE_STATE",
        help="Where `lookalike serve` keeps keys and feedback, if not beside the index.",
    )
    return state(index(command))


def _open(state: str | None, index_dir: Path | None, *, create: bool = False) -> "AbstractContextManager[State]":
    from webui.state.state import State, beside

    if state is None and index_dir is None:
        raise BadCall("No state is named; give the index that is served with --index, or its state with --state.")
    return State.open(state if state is not None else beside(index_dir or Path()), create=create)


@click.group()
def command() -> None:
    """Keys to the API, and the feedback that came with them.

    While there is no key at all, a server answers everybody, on this machine's own addresses alone; from the first key
    on it asks for one. Keys are kept as hashes: each is shown once, when it is made.
    """


@command.command()
@click.argument("name")
@click.option(
    "--scope",
    type=click.Choice(["read", "write"]),
    default="read",
    show_default=True,
    help="read: search and look; write: also change products.",
)
@click.option("--rate", type=int, metavar="N", help="Requests a minute  [default: the server's --rate].")
@_place_options
@click.option("--json", "as_json", is_flag=True, help="The new key as JSON.")
def create(
    name: str, *, scope: str, rate: int | None, state: str | None, index_dir: Path | None, as_json: bool
) -> None:
    """Make a key for NAME, whoever will use it, and print it: the only time it can be seen."""
    from webui.state.keys import Scope

    with _open(state, index_dir, create=True) as opened:
        secret = opened.keys.create(name, Scope(scope), per_minute=rate)
        place = opened.name
    if as_json:
        say(json.dumps({"id": secret.key_id, "name": name, "scope": scope, "rate": rate, "key": secret.text}, indent=2))
    else:
        say(secret.text)
        remark(f"Shown this once. In {place} it is {secret.key_id}; servers know it within a second.")


@command.command("list")
@_place_options
@click.option("--json", "as_json", is_flag=True, help="The keys as JSON.")
def list_(*, state: str | None, index_dir: Path | None, as_json: bool) -> None:
    """Show all keys by their ids, revoked ones too."""
    with _open(state, index_dir) as opened:
        keys = opened.keys.list()
    if as_json:
        say(json.dumps([_as_json(key) for key in keys], indent=2))
        return
    rows = [
        (
            key.key_id,
            key.name,
            key.scope,
            key.created.date(),
            "" if key.revoked is None else key.revoked.date(),
            "" if key.per_minute is None else f"{key.per_minute:,}",
        )
        for key in keys
    ]
    show_table(f"{len(keys)} keys", ("id", "name", "scope", "made", "revoked", "a minute"), rows, text_columns=5)


@command.command()
@click.argument("key_id", metavar="ID")
@_place_options
@click.option("--json", "as_json", is_flag=True, help="The revoked key as JSON.")
def revoke(key_id: str, *, state: str | None, index_dir: Path | None, as_json: bool) -> None:
    """End a key for good; every server refuses it within a second."""
    with _open(state, index_dir) as opened:
        key = opened.keys.revoke(key_id)
    if as_json:
        say(json.dumps(_as_json(key), indent=2))
    else:
        say(f"Revoked {key.key_id} ({key.name}).")


@command.command()
@click.option("--after", type=click.IntRange(min=0), default=0, metavar="NUMBER", help="Only what came after this one.")
@_place_options
@click.option("--json", "as_json", is_flag=True, help="Each as a line of JSON.")
def feedback(*, after: int, state: str | None, index_dir: Path | None, as_json: bool) -> None:
    """Read out what shoppers said about answers: clicks, wrong results, nothing found; the oldest first."""
    with _open(state, index_dir) as opened:
        if as_json:
            for one in opened.feedback.read(after=after):
                click.echo(json.dumps({**asdict(one), "time": one.time.isoformat()}, ensure_ascii=False))
            return
        rows = [
            (one.number, f"{one.time:%Y-%m-%d %H:%M}", one.kind, one.request_id, one.product_id, one.position, one.key)
            for one in opened.feedback.read(after=after)
        ]
    headings = ("number", "time (UTC)", "kind", "request", "product", "position", "key")
    show_table(f"{len(rows)} pieces of feedback", headings, [[_cell(part) for part in row] for row in rows])


def _as_json(key: "ApiKey") -> dict[str, object]:
    return {
        "id": key.key_id,
        "name": key.name,
        "scope": key.scope.value,
        "rate": key.per_minute,
        "created": key.created.isoformat(),
        "revoked": None if key.revoked is None else key.revoked.isoformat(),
    }


def _cell(value: object) -> object:
    return "" if value is None else value
