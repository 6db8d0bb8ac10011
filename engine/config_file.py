"""The configuration file: where it lies and what is in it. TOML below the environment, the environment below flags.

Its top level has the settings of `engine.settings`, its tables the options of commands. A value stays text here, as the
environment and the command line would give it, so that one reader says for all three what it means and what is wrong.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from engine.errors import BadSetting, MissingFile

VARIABLE = "LOOKALIKE_CONFIG"
NAME = "lookalike.toml"

Value = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from; `where` names the file, the environment's variable or the flag, None for a default."""

    source: Literal["default", "file", "environment", "flag"] = "default"
    where: str | None = None


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file that was read: `settings` of its top level, and its `tables` by name."""

    path: Path
    settings: Mapping[str, Value] = field(default_factory=dict)
    tables: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)


def find_config_file() -> ConfigFile | None:
    """The file that LOOKALIKE_CONFIG names, else lookalike.toml in the current directory; None without either.

    Raises MissingFile where the variable names no file, BadSetting where the file is no such configuration.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return read_config_file(Path(named))
    return read_config_file(Path(NAME)) if Path(NAME).is_file() else None


def read_config_file(path: Path) -> ConfigFile:
    """Reads the file; whether there are such settings and options is for those to say who have them.

    Raises MissingFile, and BadSetting where it is no TOML or holds a table within a table.
    """
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingFile(
            f"The configuration {path} cannot be read ({error.strerror}); check --config or {VARIABLE}."
        ) from None
    except ValueError as error:  # of the encoding, too
        raise BadSetting(f"{path} is no TOML: {error}; correct it.") from None
    tables = {name: table for name, table in read.items() if isinstance(table, dict)}
    return ConfigFile(
        path,
        {name: _value(path, name, value) for name, value in read.items() if name not in tables},
        {
            name: {key: _value(path, f"[{name}] {key}", value) for key, value in table.items()}
            for name, table in tables.items()
        },
    )


def _value(path: Path, name: str, value: Any) -> Value:
    """The value as one would type it."""
    match value:
        case bool():
            return "true" if value else "false"
        case str() | int() | float():
            return str(value)
        case list() if all(isinstance(one, str | int | float) for one in value):
            return tuple(str(_value(path, name, one)) for one in value)
        case _:
            raise BadSetting(
                f"{path}: {name} is neither text, a number, true or false, nor a list of these; correct it."
            )
