"""`lookalike demo`: photos -> model -> catalogue -> index -> figures -> page, each step as a person would type it."""

import json
from pathlib import Path

import click

from lookalike.console import err, remark, say, show_table


@click.command("demo")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder with photos.csv (image, product_id, split, …) and images/  [default: a sample is drawn]",
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True, help="Made here.")
@click.option("--recipe", type=click.Path(path_type=Path), help="How to train  [default: demo.toml, grocery.toml]")
@click.option("--weights", help='The trunk\'s weights: a safetensors file, "hub" or "none"; else as the recipe says.')
@click.option("--epochs", type=click.IntRange(min=1), help="Another number of epochs than the recipe's.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Another seed, other products.")
@click.option("--fresh", is_flag=True, help="Draw and train again what is there already.")
@click.option("--no-serve", is_flag=True, help="Stop after the table of figures.")
@click.option("--no-page", is_flag=True, help="Serve the API alone.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="The API's port.")
@click.option("--page-port", type=click.IntRange(1, 65535), default=8001, show_default=True, help="The page's port.")
def command(
    *,
    data: Path | None,
    out: Path,
    recipe: Path | None,
    weights: str | None,
    epochs: int | None,
    seed: int,
    fresh: bool,
    no_serve: bool,
    no_page: bool,
    port: int,
    page_port: int,
) -> None:
    """Try all of Lookalike: draw photos or take yours, train, import, index, measure, open the page.

    The sample is some 300 drawn products with ten photos each; its model is a small network trained from a random
    start. Every step runs as a command line of its own, shown before it runs. What is there already is used again.
    """
    from lookalike.walkthrough import StepFailed, Walkthrough, duration, figure_rows, run_process, walk

    if not no_serve and not no_page:
        from webui.serve import require_page

        require_page()  # now, rather than after minutes of work
    way = Walkthrough(out, recipe or _recipe("demo" if data is None else "grocery"), data, weights, epochs, seed)
    page = ("--no-page",) if no_page else ("--page-port", str(page_port))
    serve = way.serve("--port", str(port), *page)
    try:
        seconds = walk(way, fresh=fresh, say=_announce)
        figures = json.loads(way.figures.read_text(encoding="utf-8"))
        rows = [(step, duration(spent)) for step, spent in seconds.items()]
        say("")
        show_table("Time taken", ("step", "time"), [*rows, ("all", duration(sum(seconds.values())))])
        show_table("What was measured", ("what", "value"), figure_rows(figures))
        if data is None and weights is None and recipe is None:
            say("The model is a small network trained from a random start on drawn photos: it shows the way, no more.")
        if no_serve:
            say(f"To open the page: {serve.typed}")
            return
        _announce(f"$ {serve.typed}")
        code = run_process(serve)
        if code:
            raise StepFailed(serve, code)
    except StepFailed as failed:
        raise click.exceptions.Exit(failed.exit_code) from failed


def _recipe(name: str) -> Path:
    """A recipe that Lookalike brings along: beside the packages in a checkout, inside one when installed."""
    root = Path(__file__).parents[2]
    for folder in (root / "recipes", root / "trainer" / "recipes"):
        path = folder / f"{name}.toml"
        if path.is_file():
            return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return Path("recipes") / f"{name}.toml"


def _announce(line: str) -> None:
    """A command line stands out, a remark does not."""
    if line.startswith("$ "):
        err.print()
        err.print(line, markup=False, style="bold", soft_wrap=True)
    else:
        remark(line)
