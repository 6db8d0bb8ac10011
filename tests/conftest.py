"""A database for every test: a SQLite file, and a database of a throw-away PostgreSQL server where one is installed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.catalogue.store import Catalogue
from tests.postgres import PostgresServer


@pytest.fixture(scope="session")
def postgres_binaries() -> Path:
    """Where PostgreSQL's programs are."""
    binaries = PostgresServer.binaries()
    if binaries is None or not (binaries / "initdb").exists():
        pytest.skip("PostgreSQL's server is not installed, so its half of the catalogue's tests is left out")
    return binaries


@pytest.fixture(scope="session")
def postgres_server(postgres_binaries: Path) -> Iterator[PostgresServer]:
    """A server that runs as long as the tests; not to be stopped."""
    with PostgresServer(postgres_binaries) as server:
        server.start()
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a new, empty database."""
    url = postgres_server.new_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a catalogue can be made, on both databases."""
    if request.param == "sqlite":
        return str(tmp_path / "shop.db")
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def catalogue(where: str) -> Iterator[Catalogue]:
    """A new, empty catalogue, on both databases."""
    with Catalogue.open(where, create=True) as opened:
        yield opened
