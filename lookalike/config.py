"""The options of a command, also from the configuration file and the environment: TOML < environment < flags.

A command of the class `Configured` names the file's table that its options may stand in. Nothing is declared twice:
click reads the environment and the file through the options themselves, and knows afterwards which of them spoke.
"""

import os
import re
from collections.abc import Collection, Sequence
from copy import copy
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from engine.config_file import VARIABLE, ConfigFile, Origin, Value, find_config_file
from engine.errors import BadSetting

TABLES = {"serve": "lookalike.commands.serve"}  # table of the file -> module of the command whose options it has
_PASSWORDS = re.compile(r"(://[^:/@\s]*:)\S*(?=@)|(password=)[^&\s]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Configuration:
    """One value and where it came from. `name` is as in the file, with the table before a dot."""

    name: str
    value: Any
    origin: Origin

    @property
    def shown(self) -> Any:
        """The value as it may be printed: without the passwords of URLs, paths as text, nothing as None."""
        if isinstance(self.value, tuple | list):
            return [_without_passwords(one) for one in self.value]
        return _without_passwords(self.value)


class Configured(click.Command):
    """A command whose options may also be set in `table` of the configuration file, as `key_of` them, and by
    variables such as LOOKALIKE_SERVE_PORT. Adds `--config`, which names the file."""

    def __init__(self, *args: Any, table: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self.table = table
        for option in self.options():
            option.envvar = option.envvar or f"LOOKALIKE_{table.upper()}_{key_of(option).upper()}"
        self.params.append(config_option(_read_into))

    def options(self) -> list[click.Option]:
        """The options that may be configured."""
        return [one for one in self.params if isinstance(one, click.Option) and one.expose_value]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does; a value that cannot be, and was not typed, is told by the place that it came from."""
        try:
            return super().parse_args(ctx, args)
        except click.MissingParameter:
            raise
        except click.BadParameter as wrong:
            raise self._placed(ctx, wrong) from None

    def values(self, args: Sequence[str] = ()) -> list[Configuration]:
        """Every option's value, were the command called with `args`; one that is required and missing is None.

        Raises BadSetting for what cannot be, click's UsageError for flags that there are not.
        """
        lenient = copy(self)
        lenient.params = [copy(one) for one in self.params]
        for one in lenient.params:
            one.required = False
        with lenient.make_context(self.table, list(args)) as ctx:
            return [
                Configuration(f"{self.table}.{key_of(one)}", ctx.params[str(one.name)], self._origin(ctx, one))
                for one in self.options()
            ]

    def _origin(self, ctx: click.Context, option: click.Parameter) -> Origin:
        match ctx.get_parameter_source(str(option.name)):
            case ParameterSource.COMMANDLINE:
                return Origin("flag", option.opts[0])
            case ParameterSource.ENVIRONMENT:
                return Origin("environment", str(option.envvar))
            case ParameterSource.DEFAULT_MAP:
                return Origin("file", str(_file_of(ctx).path))
            case _:
                return Origin()

    def _placed(self, ctx: click.Context, wrong: click.BadParameter) -> Exception:
        if wrong.param is None:
            return wrong
        origin, reason = self._origin(ctx, wrong.param), wrong.message.rstrip(".")
        if origin.source == "file":
            return BadSetting(f"{origin.where}: {key_of(wrong.param)} in [{self.table}]: {reason}; correct it.")
        if origin.source == "environment":
            return BadSetting(f"{origin.where}: {reason}; correct it or unset it.")
        return wrong


def key_of(option: click.Parameter) -> str:
    """An option's name in the file: `page_port` for `--page-port`."""
    long = next((name for name in option.opts if name.startswith("--")), str(option.name))
    return long.removeprefix("--").replace("-", "_")


def config_option(read: Any) -> click.Option:
    """`--config FILE`, read before all others."""
    return click.Option(
        ["--config"],
        type=click.Path(path_type=Path),
        help="The configuration: TOML, below the environment and flags.  [default: lookalike.toml where there is one]",
        is_eager=True,
        expose_value=False,
        callback=read,
    )


def use_config_file(path: Path | None) -> None:
    """From now on this is the configuration, in this process and in those that it starts; None changes nothing."""
    if path is None:
        return
    from engine.settings import settings

    os.environ[VARIABLE] = str(path.absolute())  # the one place where children look as well
    settings.cache_clear()


def all_values(called: str | None = None, args: Sequence[str] = ()) -> list[Configuration]:
    """Every setting, and every option of the commands that are configured; `called` is given `args`.

    Raises BadSetting, MissingFile, and click's UsageError for a command that is not configured.
    """
    from engine.settings import origin_of, settings

    if called is not None and called not in TABLES:
        raise click.UsageError(f"{called} takes nothing from the configuration; {', '.join(TABLES)} does.")
    check_tables(find_config_file())
    general = [Configuration(name, value, origin_of(name)) for name, value in settings()]
    return general + [one for table in TABLES for one in command_of(table).values(args if table == called else ())]


def check_tables(file: ConfigFile | None) -> None:
    """Raises BadSetting for a table or a key that there is not, and for a list where one value is wanted."""
    if file is None:
        return
    for table, values in file.tables.items():
        if table not in TABLES:
            raise BadSetting(f"{file.path}: there is no table [{table}]; {_hint(table, TABLES)}")
        options = {key_of(option): option for option in command_of(table).options()}
        for key, value in values.items():
            if key not in options:
                raise BadSetting(f"{file.path}: there is no {key!r} in [{table}]; {_hint(key, options)}")
            if isinstance(value, tuple) and not options[key].multiple:
                raise BadSetting(f"{file.path}: {key} in [{table}] is a list and takes one value; correct it.")


def command_of(table: str) -> Configured:
    """The command whose options stand in `table`."""
    command = import_module(TABLES[table]).command
    assert isinstance(command, Configured), table
    return command


def _read_into(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    """Lays the file's table under the options of the command."""
    use_config_file(path)
    file = find_config_file()
    check_tables(file)
    if file is None or not isinstance(ctx.command, Configured):
        return
    ctx.meta[__name__] = file
    given = file.tables.get(ctx.command.table, {})
    ctx.default_map = {
        str(option.name): _as_wanted(option, given[key_of(option)])
        for option in ctx.command.options()
        if key_of(option) in given
    }


def _as_wanted(option: click.Option, value: Value) -> Value:
    """A single value of an option that takes several is a list of one."""
    return (value,) if option.multiple and isinstance(value, str) else value


def _file_of(ctx: click.Context) -> ConfigFile:
    file = ctx.meta[__name__]
    assert isinstance(file, ConfigFile)
    return file


def _hint(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}."


def _without_passwords(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    return _PASSWORDS.sub(r"\1\2***", str(value))
