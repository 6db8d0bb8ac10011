"""What `Catalogue.open` makes of a file: catalogues of every format ever released, and everything else."""

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import engine.catalogue
from engine.catalogue import sql
from engine.catalogue.connection import Place, connect, reading
from engine.catalogue.schema import Photo, Product
from engine.catalogue.store import Catalogue
from engine.errors import BadCall, DamagedFile, MissingFile, Unavailable, UnsupportedFormat

GOLDEN = Path(__file__).parents[2] / "golden" / "catalogue"


def _stamp(path: Path, version: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE {sql.VERSION_TABLE} SET version_num = '{version}'")
    connection.close()


@pytest.mark.parametrize("number", range(1, sql.FORMAT + 1))
def test_catalogues_of_every_format_open_with_what_they_held(tmp_path: Path, number: int) -> None:
    path = tmp_path / "shop.db"
    connection = sqlite3.connect(path)
    connection.executescript((GOLDEN / f"format-{number}.sql").read_text())
    connection.close()
    with Catalogue.open(path, create=True) as catalogue, catalogue.snapshot() as view:
        assert view.catalogue_id == "0b9f0a3e-6a4e-4c55-9f0c-2f4a1d1c7e11"
        assert view.change_number == 5
        assert view.photo_columns() == ("split",)
        lamp, mug = view.products()
        assert lamp == Product("lamp-1", "Tischlampe „Mond“", {"price": 39.5, "tags": ("brass", "desk"), "sale": True})
        assert mug.facets == {"colour": "Blue", "added": datetime(2026, 5, 1, 12, tzinfo=UTC)}
        assert list(view.photos()) == [Photo(2, "lamp-1", "ab" * 32, "file:///shop/lamp.jpg", {"split": "train"})]
        assert [change.kind for change in view.changes_since(0)] == [
            "product_set", "product_set", "photo_set", "photo_set", "photo_deleted",
        ]  # fmt: skip


def test_vectors_are_read_from_format_2(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    connection = sqlite3.connect(path)
    connection.executescript((GOLDEN / "format-2.sql").read_text())
    connection.close()
    with Catalogue.open(path) as catalogue, catalogue.snapshot() as view:
        ((content, vector),) = view.vectors("cd" * 32, "float32")
        assert (content, view.log_start) == (b"\xab" * 32, 0)
        assert vector.dtype == np.float16 and vector.tolist() == [1.0, 0.0, 0.5, -0.5]


def test_the_scripts_make_the_tables_that_the_code_reads(where: str) -> None:
    Catalogue.open(where, create=True).close()
    engine = connect(Place.parse(where), 1)
    with reading(engine) as connection:
        context = MigrationContext.configure(connection, opts={"version_table": sql.VERSION_TABLE})
        assert compare_metadata(context, sql.metadata) == []
    engine.dispose()


def test_the_newest_script_is_the_format() -> None:
    scripts = ScriptDirectory(str(Path(engine.catalogue.__file__).parent / "migrations"))
    assert scripts.get_current_head() == f"{sql.FORMAT:04}"


def test_readers_and_the_writer_of_a_file_do_not_block_each_other(tmp_path: Path) -> None:
    Catalogue.open(tmp_path / "shop.db", create=True).close()
    connection = sqlite3.connect(tmp_path / "shop.db")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_missing_catalogue_is_not_made_by_reading_it(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="lookalike import"):
        Catalogue.open(tmp_path / "shop.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["nowhere/shop.db", "."])
def test_a_place_where_no_file_can_be_is_said(tmp_path: Path, name: str) -> None:
    with pytest.raises(MissingFile, match="existing folder"):
        Catalogue.open(tmp_path / name, create=True)


def test_an_empty_database_is_no_catalogue_yet(where: str) -> None:
    if "://" not in where:
        Path(where).touch()
    with pytest.raises(MissingFile, match="is empty"):
        Catalogue.open(where)
    with Catalogue.open(where, create=True) as catalogue, catalogue.snapshot() as view:
        assert view.change_number == 0


@pytest.mark.parametrize("create", [True, False])
def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, create: bool) -> None:
    path = tmp_path / "shop.db"
    path.write_bytes(b"image,product_id\na.jpg,a\n" * 100)
    with pytest.raises(DamagedFile, match="no SQLite database"):
        Catalogue.open(path, create=create)
    assert path.read_bytes() == b"image,product_id\na.jpg,a\n" * 100


@pytest.mark.parametrize("create", [True, False])
def test_a_database_of_something_else_is_left_alone(tmp_path: Path, create: bool) -> None:
    path = tmp_path / "shop.db"
    connection = sqlite3.connect(path)
    connection.executescript("CREATE TABLE products (name TEXT); INSERT INTO products VALUES ('mine');")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(DamagedFile, match="something other than a catalogue"):
        Catalogue.open(path, create=create)
    assert path.read_bytes() == before


@pytest.mark.parametrize("create", [True, False])
def test_a_newer_format_is_not_touched(tmp_path: Path, create: bool) -> None:
    path = tmp_path / "shop.db"
    Catalogue.open(path, create=True).close()
    _stamp(path, f"{sql.FORMAT + 1:04}")
    with pytest.raises(UnsupportedFormat, match="use a newer Lookalike"):
        Catalogue.open(path, create=create)


def test_an_older_format_waits_for_its_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    Catalogue.open(path, create=True).close()
    _stamp(path, "0000")
    with pytest.raises(UnsupportedFormat, match="upgrades it"):
        Catalogue.open(path)


def test_a_writer_upgrades_an_older_format_and_a_reader_then_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    connection = sqlite3.connect(path)
    connection.executescript((GOLDEN / "format-1.sql").read_text())
    connection.close()
    with pytest.raises(UnsupportedFormat, match="lookalike upsert"):
        Catalogue.open(path)
    with Catalogue.open(path, upgrade=True) as catalogue, catalogue.transaction() as writer:
        writer.put_vector("ab" * 32, "m", "float32", np.ones(2, np.float16))
    with Catalogue.open(path) as catalogue, catalogue.snapshot() as view:
        assert (view.log_start, len(list(view.vectors("m", "float32")))) == (0, 1)


def test_upgrading_what_is_not_there_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(MissingFile):
        Catalogue.open(tmp_path / "shop.db", upgrade=True)
    (tmp_path / "empty.db").touch()
    with pytest.raises(MissingFile, match="is empty"):
        Catalogue.open(tmp_path / "empty.db", upgrade=True)


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    with pytest.raises(Unavailable, match=r"shop:\*\*\*@127\.0\.0\.1") as caught:
        Catalogue.open("postgresql://shop:secret@127.0.0.1:1/shop")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["mysql://root@host/shop", "http://shop.example/", "postgresql://a:b:c:d/shop"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(BadCall, match="postgresql://"):
        Catalogue.open(url, create=True)


def test_postgresql_has_many_spellings() -> None:
    for text in ("postgres://host/shop", "postgresql://host/shop", "postgresql+psycopg://host/shop"):
        assert Place.parse(text).url == sa.make_url("postgresql+psycopg://host/shop")
