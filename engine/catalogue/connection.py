"""Where a catalogue lives and how its database is reached: the one place that knows SQLite from PostgreSQL.

SQLite gives transactions that never see each other half done only if it is told when they begin: Python's driver is
kept from opening them by itself, and a writing one begins with BEGIN IMMEDIATE, so that two writers wait for each other
at the start instead of failing in the middle.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, InterfaceError, OperationalError

from engine.catalogue.values import dump_json
from engine.errors import BadCall, Busy, DamagedFile, LookalikeError, MissingFile, Unavailable

WRITES = "catalogue_writes"  # execution option of a connection whose transactions write
CONNECT_TIMEOUT_S = 10


@dataclass(frozen=True)
class Place:
    """A database: a file, or a server's URL. As text it is fit for sentences: no password in it.

    `holds` is the word that sentences have for what lives there.
    """

    url: URL
    path: Path | None
    holds: str = "catalogue"

    @classmethod
    def parse(cls, where: str | Path, holds: str = "catalogue") -> "Place":
        """A path is a SQLite file; `postgresql://…` a server. Other databases raise BadCall."""
        text = str(where)
        if "://" not in text:
            return cls(URL.create("sqlite", database=text), Path(text), holds)
        try:
            url = make_url(text.replace("postgres://", "postgresql://", 1))
        except (ArgumentError, ValueError):
            raise BadCall("This is no database URL; write postgresql://user@host/name, or a file's path.") from None
        if url.drivername not in ("postgresql", "postgresql+psycopg"):
            raise BadCall(
                f"A {holds} cannot live at {url.drivername}://…; give a file, which becomes SQLite, or postgresql://…."
            )
        return cls(url.set(drivername="postgresql+psycopg"), None, holds)

    def __str__(self) -> str:
        return self.url.render_as_string(hide_password=True) if self.path is None else str(self.path)


def connect(place: Place, timeout_s: float) -> Engine:
    """An engine for the database at `place`; `timeout_s` is how long a writer waits for another one."""
    if place.path is None:
        return sa.create_engine(
            place.url,
            json_serializer=dump_json,
            pool_pre_ping=True,
            connect_args={"connect_timeout": CONNECT_TIMEOUT_S},
        )
    engine = sa.create_engine(place.url, json_serializer=dump_json, connect_args={"timeout": timeout_s})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # sqlite3: never begin a transaction on its own
    # synchronous stays FULL: a power cut that lost commits would set the change numbers back, and indexes refuse that
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def use_write_ahead_log(engine: Engine) -> None:
    """Makes readers and the writer of a SQLite file not wait for each other; the file itself remembers it."""
    connection = engine.raw_connection()
    try:
        connection.cursor().execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection in one consistent, read-only transaction: it sees the moment of its first statement to the end."""
    options: dict[str, Any] = {}
    if engine.dialect.name == "postgresql":
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with engine.connect().execution_options(**options) as connection, connection.begin():
        yield connection


@contextmanager
def writing(engine: Engine, timeout_s: float) -> Iterator[Connection]:
    """A connection in one transaction that writes: committed at the end of the `with`, rolled back by an error."""
    with engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(timeout_s * 1000)}")
        yield connection


@contextmanager
def plain_errors(place: Place) -> Iterator[None]:
    """Turns what the drivers raise inside the `with` into an error with a remedy."""
    try:
        yield
    except InterfaceError as error:
        raise _unavailable(place, error) from error
    except OperationalError as error:
        raise _operational(place, error) from error
    except DatabaseError as error:
        reason = str(error.orig).lower()
        if "not a database" in reason or "malformed" in reason:
            raise DamagedFile(f"{place} is no SQLite database, or a damaged one; name another file.") from error
        raise


def _operational(place: Place, error: OperationalError) -> LookalikeError:
    reason = str(error.orig).lower()
    if "locked" in reason or "lock timeout" in reason:
        return Busy(f"Somebody else is writing to the {place.holds} {place}; wait until they are done, then try again.")
    if "unable to open" in reason:
        return MissingFile(
            f"The {place.holds} {place} cannot be opened; check that it is a file in an existing folder."
        )
    return _unavailable(place, error)


def _unavailable(place: Place, error: DatabaseError | InterfaceError) -> Unavailable:
    reason = " ".join(str(error.orig).split())
    return Unavailable(f"The {place.holds} {place} does not answer ({reason}); see to that, then try again.")
