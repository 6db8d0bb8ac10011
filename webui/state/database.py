"""How the state's database is reached. Every statement is a transaction of its own: none of them needs another.

There are two engines. What `durable` wrote is on the disk before anybody hears of it: a key that was revoked stays so
after a power cut. What `quick` wrote is seen by all processes at once, and a power cut may take the last of it back:
that is right for rates, which would otherwise cost every request a sync of the disk. Neither is ever lost or half done
by a process that is killed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import TimeoutError as PoolTimeout

from engine.catalogue.connection import Place, plain_errors
from engine.errors import BadCall, MissingFile, Unavailable, UnsupportedFormat
from webui.state import tables

PATIENCE_S = 3  # seconds to wait for a connection, for another writer, for an answer: callers are waiting too
MAX_CONNECTIONS = 64  # of one process and engine; requests that run at once
_PREPARING = 0x6C6F6F6B  # the number of the advisory lock under which one process makes the tables


class Database:
    """An open state database; safe to share between threads, not between processes: each opens its own."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.durable = _connect(place, durable=True)
        self.quick = _connect(place, durable=False)

    def prepare(self, *, create: bool) -> None:
        """Checks that a state of today's format is here; `create` makes one in a place that is empty.

        Raises MissingFile, BadCall where something else is, UnsupportedFormat, Unavailable.
        """
        place = self._place
        if place.path is not None and not place.path.exists():
            if not create:
                raise MissingFile(f"There is no state {place}; make it with `lookalike keys create`.")
            _touch(place)
        with self.plain_errors():
            if create:
                self._make_tables()
            with self.durable.connect() as connection:
                found = _found_format(connection, place)
        if found is None:
            raise MissingFile(f"The state {place} is empty; make it with `lookalike keys create`.")
        if found > tables.FORMAT:
            raise UnsupportedFormat(
                f"{place} is a state of format {found}, this version knows up to {tables.FORMAT}; "
                "use a newer Lookalike."
            )

    def _make_tables(self) -> None:
        """Makes what an empty database lacks, in one transaction, one process at a time."""
        with self.durable.execution_options(isolation_level=_transactional(self.durable)).connect() as connection:
            if self._place.path is None:
                with connection.begin():
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_PREPARING)))
                    _fill(connection, self._place)
            else:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                try:
                    _fill(connection, self._place)
                    connection.exec_driver_sql("COMMIT")
                except BaseException:
                    connection.exec_driver_sql("ROLLBACK")
                    raise

    @contextmanager
    def plain_errors(self) -> Iterator[None]:
        """Turns what the drivers raise inside the `with` into an error with a remedy."""
        try:
            with plain_errors(self._place):
                yield
        except PoolTimeout:
            raise Unavailable(
                f"The state {self._place} is too slow: all {MAX_CONNECTIONS} connections are in use; see to that."
            ) from None

    def close(self) -> None:
        """Ends the connections."""
        self.durable.dispose()
        self.quick.dispose()


def _connect(place: Place, *, durable: bool) -> Engine:
    common: dict[str, Any] = {
        "isolation_level": "AUTOCOMMIT",
        "skip_autocommit_rollback": True,
        "hide_parameters": True,  # in errors: they have digests of keys
        "pool_size": 8,
        "max_overflow": MAX_CONNECTIONS - 8,
        "pool_timeout": PATIENCE_S,
    }
    if place.path is None:
        options = f"-c statement_timeout={PATIENCE_S * 1000}"
        if not durable:
            options += " -c synchronous_commit=off"
        return sa.create_engine(
            place.url,
            pool_pre_ping=True,  # a server that was started again is met with a new connection, not with an error
            connect_args={"connect_timeout": PATIENCE_S, "options": options},
            **common,
        )
    engine = sa.create_engine(place.url, connect_args={"timeout": PATIENCE_S}, **common)
    synchronous = "FULL" if durable else "NORMAL"

    def prepare(connection: Any, _record: object) -> None:
        connection.execute(f"PRAGMA synchronous = {synchronous}")

    event.listen(engine, "connect", prepare)
    return engine


def _touch(place: Place) -> None:
    # Nobody else's to read or write: who could write here could give himself a key. SQLite's side files follow it.
    assert place.path is not None
    try:
        place.path.touch(mode=0o600)
    except OSError as error:
        raise MissingFile(
            f"The state {place} cannot be made ({error.strerror}); name a file in a folder that can be written, "
            "with --state."
        ) from None


def _transactional(engine: Engine) -> str:
    # SQLite stays as it is: there BEGIN IMMEDIATE is written out, since Python's driver would begin too late
    return "READ COMMITTED" if engine.dialect.name == "postgresql" else "AUTOCOMMIT"


def _fill(connection: sa.Connection, place: Place) -> None:
    if _found_format(connection, place) is None:
        tables.metadata.create_all(connection, checkfirst=False)
        connection.execute(sa.insert(tables.formats).values(number=tables.FORMAT))


def _found_format(connection: sa.Connection, place: Place) -> int | None:
    """The format of the state here; None in an empty database; BadCall where other tables are."""
    names = sa.inspect(connection).get_table_names()
    if tables.formats.name in names:
        return connection.scalar(sa.select(tables.formats.c.number))
    if names:
        raise BadCall(
            f"{place} holds something other than a state (a table {names[0]!r}); give the state a database of its own."
        )
    return None
