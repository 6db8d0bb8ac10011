"""The command line's front door: a table of command names and the modules that hold them.

It imports nothing but click, so that `lookalike --help` answers at once; a command's own module, and with it numpy,
FAISS or torch, loads only when that command runs.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module

import click

# name -> (module with a click command named `command`, one line for the list)
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("lookalike.commands.demo", "Try it all: draw or take photos, train, index, measure, open the page."),
    "train": ("lookalike.commands.train", "Photos and labels -> a model directory, as a recipe says."),
    "label": ("lookalike.commands.label", "Labels to train on, from behaviour or from known products."),
    "import": ("lookalike.commands.import_", "A table of photos -> the catalogue."),
    "index": ("lookalike.commands.index", "The catalogue's photos -> a searchable index."),
    "search": ("lookalike.commands.search", "A photo -> the product in it, and ones like it."),
    "upsert": ("lookalike.commands.upsert", "A product with photos and facets -> the catalogue, live."),
    "set": ("lookalike.commands.set", "Facets of a product, changed live."),
    "delete": ("lookalike.commands.delete", "Products or photos out of the catalogue, live."),
    "serve": ("lookalike.commands.serve", "The search API and the page."),
    "keys": ("lookalike.commands.keys", "Who may ask the API, and what shoppers said."),
    "benchmark": ("lookalike.commands.benchmark", "Labelled photos -> precision, recall@k, mAP, latency."),
    "verify": ("lookalike.commands.verify", "Check every file of an index against its manifest."),
    "config": ("lookalike.commands.config", "Every setting: its value, and where it came from."),
    "doctor": ("lookalike.commands.doctor", "What is installed here, what is missing, and whether files open."),
}


class CommandTable(click.Group):
    """A click group that loads a command's module when, and only when, it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(COMMANDS[cmd_name][0])
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # click would load every module for its one-line help; the table has those lines already
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            near = get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean {near[0]}?" if near else "lookalike --help lists them."
            raise click.UsageError(f"There is no command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=CommandTable, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="lookalike", prog_name="lookalike")
@click.option("--debug", is_flag=True, help="Show the traceback of an error, not only its sentence.")
def cli(debug: bool) -> None:
    """Visual product search: a photo goes in, the product in it comes out.

    Exit codes: 0 done, 1 the work failed, 2 the call was wrong.
    """


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line and exits; every error on purpose becomes one sentence and its exit code."""
    import sys

    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        sys.exit(cli.main(args=arguments, prog_name="lookalike", standalone_mode=False) or 0)
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        sys.exit(130)
    except click.ClickException as wrong:
        wrong.show()
        sys.exit(wrong.exit_code)
    except Exception as error:
        if "--debug" in arguments or not hasattr(error, "exit_code"):
            raise
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
