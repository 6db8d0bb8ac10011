"""`lookalike doctor`: what is installed here, what is missing, whether files open and have room."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lookalike.config import config_option, use_config_file
from lookalike.console import say, show_table

if TYPE_CHECKING:
    from lookalike.checkup import Check, Package
    from lookalike.machine import Machine


def _use(_: click.Context, __: click.Parameter, path: Path | None) -> None:
    use_config_file(path)


@click.command(params=[config_option(_use)])
@click.option("--index", "index_dir", type=click.Path(path_type=Path), help="An index to open and try, and its room.")
@click.option("--model", "model_dir", type=click.Path(path_type=Path), help="A model directory to read and try.")
@click.option("--catalogue", help="A catalogue to open: a file, or postgresql://…")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(index_dir: Path | None, model_dir: Path | None, catalogue: str | None, as_json: bool) -> None:
    """Show what is installed here and what is missing, and try files; exit 1 if something is not well.

    Given none, it tries the index and the catalogue that `lookalike serve` is configured with.
    """
    from lookalike import checkup
    from lookalike.machine import machine

    here, found = machine(), checkup.packages()
    checks = checkup.check_installation(found)
    if index_dir is None and model_dir is None and catalogue is None:
        index_dir, catalogue = checkup.configured()
    if model_dir is not None:
        checks.append(checkup.check_model(model_dir))
    if index_dir is not None:
        checks += checkup.check_index(index_dir)
    if catalogue is not None:
        checks += checkup.check_catalogue(catalogue, index_dir)
    missing = checkup.missing_by_extra(found)
    if as_json:
        click.echo(json.dumps(_as_json(here, found, missing, checks), indent=2))
    else:
        _show(here, found, missing, checks)
    if not all(check.healthy for check in checks):
        raise click.exceptions.Exit(1)


def _as_json(
    here: "Machine", found: "tuple[Package, ...]", missing: Mapping[str, Sequence[str]], checks: "Sequence[Check]"
) -> dict[str, object]:
    return {
        "healthy": all(check.healthy for check in checks),
        "machine": asdict(here),
        "packages": [asdict(package) for package in found],
        "missing": missing,
        "checks": [asdict(check) for check in checks],
    }


def _show(
    here: "Machine", found: "tuple[Package, ...]", missing: Mapping[str, Sequence[str]], checks: "Sequence[Check]"
) -> None:
    from lookalike.machine import size_text

    say(f"Python {here.python} on {here.system}, {here.cores} cores")
    free, memory, disk = map(size_text, (here.memory_free, here.memory, here.disk_free))
    say(f"Memory {free} free of {memory}, disk {disk} free")
    show_table(
        "Packages",
        ("package", "for", "version"),
        [(package.name, package.extra or "base", package.version or "-") for package in found],
        text_columns=2,
    )
    for extra, lacking in missing.items():
        say(f"{extra}: " + (f"missing {', '.join(lacking)}" if lacking else "complete"))
    for check in checks:
        say(f"{'ok' if check.healthy else 'BAD'}  {check.what}: {check.text}")
