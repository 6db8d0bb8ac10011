"""A throw-away PostgreSQL server that only listens on a socket in its own folder, and can be stopped and started."""

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path
from typing import Literal, Self

import psycopg

StopMode = Literal["smart", "fast", "immediate"]


class PostgresServer:
    """A server of its own, for the time of the `with`. Its databases survive a stop, and a crash of the server."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self._owner = _owner()
        self._home = Path(tempfile.mkdtemp(prefix="lookalike-pg-"))
        if self._owner is not None:
            shutil.chown(self._home, self._owner)
        # a linguistic order of text by default: the catalogue must sort by code point in spite of it
        initdb = ["initdb", "--auth=trust", "--username=lookalike", "--encoding=UTF8", "--no-sync", "-D", self._data]
        self._run([*initdb, "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en"])

    @staticmethod
    def binaries() -> Path | None:
        """Where PostgreSQL's programs are on this machine."""
        found = shutil.which("initdb")
        if found:
            return Path(found).parent
        return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if (Path(self._data) / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self._home)

    @property
    def options(self) -> str:
        """Of a connection, as psycopg takes them."""
        return f"host={self._home} user=lookalike"

    def start(self) -> None:
        """Returns when connections are taken."""
        options = f"-k {self._home} -c listen_addresses='' -c fsync=off"
        self._run(["pg_ctl", "-w", "-D", self._data, "-l", str(self._home / "log"), "-o", options, "start"])

    def stop(self, mode: StopMode = "fast") -> None:
        """`fast` ends all connections, `immediate` is a crash. Returns when the server is gone."""
        self._run(["pg_ctl", "-w", "-D", self._data, "-m", mode, "stop"])

    def new_database(self) -> str:
        """The URL of a new, empty database."""
        name = f"test_{uuid.uuid4().hex}"
        with psycopg.connect(f"{self.options} dbname=postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql://lookalike@/{name}?host={self._home}"

    def drop_database(self, url: str) -> None:
        """Ends who is connected. A hundred databases that nobody needs any more are a gigabyte to write and remove."""
        name = url.partition("@/")[2].partition("?")[0]
        with psycopg.connect(f"{self.options} dbname=postgres", autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    @property
    def _data(self) -> str:
        return str(self._home / "data")

    def _run(self, command: list[str]) -> None:
        subprocess.run(
            [str(self._binaries / command[0]), *command[1:]],
            check=True,
            user=self._owner,
            cwd=self._home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
        )


def _owner() -> str | None:
    """PostgreSQL refuses to run as root, so root runs it as somebody else."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"
