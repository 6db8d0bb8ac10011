"""`lookalike doctor`: what is installed here, what is missing, and whether files open."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lookalike.console import say, show_table

if TYPE_CHECKING:
    from lookalike.checkup import Check, Machine, Package


@click.command()
@click.option("--index", "index_dir", type=click.Path(path_type=Path), help="An index to open and try.")
@click.option("--model", "model_dir", type=click.Path(path_type=Path), help="A model directory to read and try.")
@click.option("--catalogue", help="A catalogue to open: a file, or postgresql://…")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(index_dir: Path | None, model_dir: Path | None, catalogue: str | None, as_json: bool) -> None:
    """Show what is installed here and what is missing, and try files; exit 1 if something is not well."""
    from lookalike import checkup

    here, found = checkup.machine(), checkup.packages()
    checks = checkup.check_installation(found)
    if model_dir is not None:
        checks.append(checkup.check_model(model_dir))
    if index_dir is not None:
        checks.append(checkup.check_index(index_dir))
    if catalogue is not None:
        checks.append(checkup.check_catalogue(catalogue))
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
    say(f"Python {here.python} on {here.system}, {here.cores} cores")
    say(f"Memory {_gib(here.memory_free)} free of {_gib(here.memory)}, disk {_gib(here.disk_free)} free")
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


def _gib(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 1024**3:.1f} GiB"
