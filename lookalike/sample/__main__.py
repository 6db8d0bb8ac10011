"""`python -m lookalike.sample --out DIR`: draw the sample catalogue."""

from pathlib import Path

import click

from lookalike.console import progress, remark
from lookalike.sample import catalogue
from lookalike.sample.draw import contact_sheet, draw_sample


@click.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder to draw into.")
@click.option("--seed", default=0, show_default=True, help="Another number, other products.")
@click.option("--processes", default=0, help="How many draw at once; 0: one for every core.")
@click.option("--sheet", type=click.Path(path_type=Path, dir_okay=False), help="Also write a contact sheet here.")
def command(out: Path, seed: int, processes: int, sheet: Path | None) -> None:
    """Draws some 300 products, ten photos each, with their table."""
    with progress() as listener:
        drawn = draw_sample(out, seed=seed, processes=processes, progress=listener)
    remark(f"{drawn.photos} photos of {drawn.products} products are in {out}.")
    if sheet is not None:
        contact_sheet(out, catalogue.items(seed)[::6], seed).save(sheet)


if __name__ == "__main__":
    command()
