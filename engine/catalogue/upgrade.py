"""Which format a database's catalogue has, and making or upgrading one with the scripts in `migrations/`."""

import uuid
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from engine.catalogue import sql
from engine.catalogue.connection import Place
from engine.errors import DamagedFile, MissingFile, UnsupportedFormat

_SCRIPTS = Path(__file__).parent / "migrations"


def found_format(connection: Connection, place: Place) -> int | None:
    """The format number of the catalogue here; None in an empty database; DamagedFile where other tables are."""
    names = sa.inspect(connection).get_table_names()
    if sql.VERSION_TABLE in names:
        version = connection.scalar(sa.text(f"SELECT version_num FROM {sql.VERSION_TABLE}"))
        return int(str(version))
    if names:
        raise DamagedFile(f"{place} holds something other than a catalogue (a table {names[0]!r}); name another place.")
    return None


def check_format(connection: Connection, place: Place) -> None:
    """Raises MissingFile where nothing is, and UnsupportedFormat unless the catalogue has today's format."""
    found = found_format(connection, place)
    if found is None:
        raise MissingFile(f"{place} is empty; fill it with `lookalike import` first.")
    _refuse_newer(found, place)
    if found < sql.FORMAT:
        raise UnsupportedFormat(
            f"{place} is a catalogue of format {found}, before this version's {sql.FORMAT}; "
            "the next `lookalike import` or `lookalike upsert` into it upgrades it."
        )


def upgrade_format(connection: Connection, place: Place) -> None:
    """Brings the database to today's format, inside the connection's transaction: an empty one becomes a catalogue."""
    found = found_format(connection, place)
    if found is not None:
        _refuse_newer(found, place)
    if found == sql.FORMAT:
        return
    _run_scripts(connection)
    if found is None:
        first = {"id": 1, "catalogue_id": str(uuid.uuid4()), "change_number": 0, "last_photo_id": 0}
        connection.execute(sa.insert(sql.counters), first)


def _refuse_newer(found: int, place: Place) -> None:
    if found > sql.FORMAT:
        raise UnsupportedFormat(
            f"{place} is a catalogue of format {found}, this version knows up to {sql.FORMAT}; use a newer Lookalike."
        )


def _run_scripts(connection: Connection) -> None:
    from alembic import command  # loaded only where a catalogue is made: it takes longer than opening one
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
