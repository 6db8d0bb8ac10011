"""A database for every test: a SQLite file, and a database of a throw-away PostgreSQL server where one is installed."""

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from engine.catalogue.store import Catalogue


def _postgres_binaries() -> Path | None:
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


def _owner() -> str | None:
    """PostgreSQL refuses to run as root, so root runs it as somebody else."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Options of a connection to a server that only listens on a socket in its own folder."""
    binaries = _postgres_binaries()
    if binaries is None or not (binaries / "initdb").exists():
        pytest.skip("PostgreSQL's server is not installed, so its half of the catalogue's tests is left out")
    owner = _owner()
    home = Path(tempfile.mkdtemp(prefix="lookalike-pg-"))
    try:
        if owner is not None:
            shutil.chown(home, owner)
        data = home / "data"
        # a linguistic order of text by default: the catalogue must sort by code point in spite of it
        initdb = ["initdb", "--auth=trust", "--username=lookalike", "--encoding=UTF8", "--no-sync", "-D", str(data)]
        _run([*initdb, "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en"], binaries, owner, home)
        options = f"-k {home} -c listen_addresses='' -c fsync=off"
        _run(["pg_ctl", "-w", "-D", str(data), "-l", str(home / "log"), "-o", options, "start"], binaries, owner, home)
        try:
            yield f"host={home} user=lookalike"
        finally:
            _run(["pg_ctl", "-w", "-D", str(data), "-m", "immediate", "stop"], binaries, owner, home)
    finally:
        shutil.rmtree(home)


def _run(command: list[str], binaries: Path, owner: str | None, folder: Path) -> None:
    subprocess.run(
        [str(binaries / command[0]), *command[1:]],
        check=True,
        user=owner,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=60,
    )


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """The URL of a new, empty database."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(f"{postgres_server} dbname=postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    host = postgres_server.split(maxsplit=1)[0].removeprefix("host=")
    return f"postgresql://lookalike@/{name}?host={host}"


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
