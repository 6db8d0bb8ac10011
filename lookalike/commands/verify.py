"""`lookalike verify`: check every file of an index against its manifest."""

import json
from pathlib import Path

import click

from lookalike.console import progress, say


@click.command()
@click.option("--index", "index_dir", type=click.Path(path_type=Path), required=True, help="The index directory.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(index_dir: Path, as_json: bool) -> None:
    """Read every byte of an index and name each file that is missing or damaged; exit 1 if there is one."""
    from indexer.verify import verify_index

    with progress() as listener:
        findings = verify_index(index_dir, listener)
    if as_json:
        say(json.dumps([{"path": str(finding.path), "problem": finding.problem} for finding in findings], indent=2))
    elif findings:
        for finding in findings:
            say(finding.problem)
    else:
        say(f"{index_dir} is whole.")
    if findings:
        raise click.exceptions.Exit(1)
