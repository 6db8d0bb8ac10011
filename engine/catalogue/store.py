"""The catalogue: products, photos, facets and the log of changes, in SQLite or PostgreSQL.

It is the one source of truth, and this is the only way to it. Reading happens in a snapshot, which sees one moment
however long it takes; writing in a transaction, of which either everything or nothing is kept.

    with Catalogue.open("shop.db") as catalogue, catalogue.snapshot() as view:
        for photo in view.photos():
            ...
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from engine.catalogue import changes, kept_vectors, sql
from engine.catalogue.connection import Place, connect, plain_errors, reading, use_write_ahead_log, writing
from engine.catalogue.schema import Facet, FacetType, Photo, Product
from engine.catalogue.upgrade import check_format, found_format, upgrade_format
from engine.catalogue.values import chunks, decode_all
from engine.catalogue.writer import Writer
from engine.errors import MissingFile, UnknownProduct
from engine.settings import settings

ROWS_AT_ONCE = 1000  # fetched from the database per round


class Snapshot:
    """The catalogue at one moment. Iterators are only good inside the `with` that gave the snapshot."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # the first statement fixes the moment on both databases
        row = connection.execute(sa.select(sql.counters)).one()
        self.catalogue_id: str = row.catalogue_id
        self.change_number: int = row.change_number
        self.last_photo_id: int = row.last_photo_id  # photos that come later have higher ids
        self.log_start: int = row.log_start  # the lowest number that can still be followed from
        facets = sa.select(sql.facets).order_by(sql.facets.c.position)
        self.facets = tuple(Facet(row.name, FacetType(row.type)) for row in connection.execute(facets))
        self._types = {facet.name: facet.type for facet in self.facets}

    def photo_columns(self) -> tuple[str, ...]:
        """The names of the columns known to vary within products, sorted."""
        return tuple(self._connection.scalars(sa.select(sql.photo_columns.c.name).order_by(sql.photo_columns.c.name)))

    def count_products(self) -> int:
        return self._count(sql.products)

    def count_photos(self) -> int:
        return self._count(sql.photos)

    def products(self) -> Iterator[Product]:
        """Every product, in the order of `product_id` by code point."""
        for row in self._stream(sa.select(sql.products).order_by(sql.products.c.product_id)):
            yield self._product(row)

    def photos(self) -> Iterator[Photo]:
        """Every photo, in the order of (product_id, photo_id)."""
        table = sql.photos
        for row in self._stream(sa.select(table).order_by(table.c.product_id, table.c.photo_id)):
            yield _photo(row)

    def product(self, product_id: str) -> Product:
        """The product with this id; raises UnknownProduct."""
        statement = sa.select(sql.products).where(sql.products.c.product_id == product_id)
        row = self._connection.execute(statement).one_or_none()
        if row is None:
            raise UnknownProduct(f"The catalogue has no product {product_id!r}; check the id.")
        return self._product(row)

    def photos_of(self, product_id: str) -> tuple[Photo, ...]:
        """The photos of a product, in the order of `photo_id`; none where there is no such product."""
        table = sql.photos
        statement = sa.select(table).where(table.c.product_id == product_id).order_by(table.c.photo_id)
        return tuple(_photo(row) for row in self._connection.execute(statement))

    def products_of(self, product_ids: Collection[str]) -> list[Product]:
        """The products that there are of these ids, in no order."""
        table = sql.products
        found: list[Product] = []
        for chunk in chunks(sorted(product_ids), ROWS_AT_ONCE):
            rows = self._connection.execute(sa.select(table).where(table.c.product_id.in_(chunk)))
            found.extend(map(self._product, rows))
        return found

    def photos_of_all(self, product_ids: Collection[str]) -> list[Photo]:
        """The photos of all products of these ids, in the order of `photo_id` within a product."""
        table = sql.photos
        found: list[Photo] = []
        for chunk in chunks(sorted(product_ids), ROWS_AT_ONCE):
            theirs = (
                sa.select(table).where(table.c.product_id.in_(chunk)).order_by(table.c.product_id, table.c.photo_id)
            )
            found.extend(map(_photo, self._connection.execute(theirs)))
        return found

    def changes_since(self, number: int, limit: int = 1000) -> list[changes.Change]:
        """The changes with numbers above `number`, at most `limit` of them, in their order; raises LogTrimmed."""
        return changes.changes_since(self._connection, number, limit)

    def vectors(self, model_id: str, precision: str) -> Iterator[tuple[bytes, kept_vectors.Vector]]:
        """Every vector kept of a model in a precision, by rising content hash: (32 bytes, float16 [dim])."""
        return kept_vectors.stream(self._connection, model_id, precision)

    def vectors_of(self, model_id: str, precision: str, hashes: Collection[str]) -> dict[str, kept_vectors.Vector]:
        """Those of these contents (sha256 in hex) whose vectors are kept: float16 [dim] by content."""
        return kept_vectors.find(self._connection, model_id, precision, hashes)

    def vector_models(self) -> list[tuple[str, str]]:
        """The (model id, precision) of all vectors that are kept."""
        return kept_vectors.models(self._connection)

    def unused_vectors(self) -> Iterator[bytes]:
        """The contents (32 bytes each) whose vectors are kept although no photo has them any more."""
        return kept_vectors.unused(self._connection)

    def _count(self, table: sa.Table) -> int:
        return self._connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0

    def _stream(self, statement: sa.Select[Any]) -> Iterator[sa.Row[Any]]:
        yield from self._connection.execution_options(yield_per=ROWS_AT_ONCE).execute(statement)

    def _product(self, row: sa.Row[Any]) -> Product:
        return Product(row.product_id, row.title, decode_all(self._types, row.facets))


class Catalogue:
    """An open catalogue; safe to share between threads. Close it, or use it in a `with`."""

    def __init__(self, place: Place, engine: Engine, timeout_s: float) -> None:
        self._place = place
        self._engine = engine
        self._timeout_s = timeout_s
        with self.snapshot() as view:
            self.catalogue_id = view.catalogue_id

    @classmethod
    def open(cls, where: str | Path, *, create: bool = False, upgrade: bool = False) -> Self:
        """Opens the catalogue at a path (SQLite) or `postgresql://…`.

        `upgrade` brings one of an older format to today's; `create` does so too, and makes one where there is none.
        Raises MissingFile where there is none, DamagedFile where something else is, UnsupportedFormat for another
        format than today's, Unavailable when the server does not answer.
        """
        place = Place.parse(where)
        if place.path is not None and not create and not place.path.exists():
            raise MissingFile(f"There is no catalogue {place}; make it with `lookalike import`, or check the path.")
        timeout_s = settings().catalogue_timeout_s
        engine = connect(place, timeout_s)
        try:
            with plain_errors(place):
                if create or (upgrade and _is_older(engine, place)):
                    _make_or_upgrade(engine, place, timeout_s)
                else:
                    with reading(engine) as connection:
                        check_format(connection, place)
            return cls(place, engine, timeout_s)
        except BaseException:
            engine.dispose()
            raise

    @property
    def path(self) -> Path | None:
        """The SQLite file; None where the catalogue lives on a server."""
        return self._place.path

    @property
    def name(self) -> str:
        """The path or URL, for sentences: without a password."""
        return str(self._place)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """One consistent view for the time of the `with`; writers go on meanwhile and are not seen."""
        with plain_errors(self._place), reading(self._engine) as connection:
            yield Snapshot(connection)

    @contextmanager
    def transaction(self) -> Iterator[Writer]:
        """One transaction that writes: kept whole at the end of the `with`, dropped whole by an error or a crash.

        Writers wait for each other for up to LOOKALIKE_CATALOGUE_TIMEOUT_S seconds, then raise Busy.
        """
        with plain_errors(self._place), writing(self._engine, self._timeout_s) as connection:
            writer = Writer(connection)
            yield writer
            writer.finish()

    def change_number(self) -> int:
        """The number of the last change: one statement, cheap enough to ask often."""
        with plain_errors(self._place), reading(self._engine) as connection:
            return int(connection.scalar(sa.select(sql.counters.c.change_number)) or 0)

    def facets(self) -> tuple[Facet, ...]:
        """The facets, in the order in which they were declared."""
        with self.snapshot() as view:
            return view.facets

    def product(self, product_id: str) -> Product:
        """The product with this id; raises UnknownProduct."""
        with self.snapshot() as view:
            return view.product(product_id)

    def photos_of(self, product_id: str) -> tuple[Photo, ...]:
        """The photos of a product, in the order of `photo_id`; none where there is no such product."""
        with self.snapshot() as view:
            return view.photos_of(product_id)

    def changes_since(self, number: int, limit: int = 1000) -> list[changes.Change]:
        """The changes with numbers above `number`, at most `limit` of them, in their order; raises LogTrimmed."""
        with self.snapshot() as view:
            return view.changes_since(number, limit)

    def close(self) -> None:
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _is_older(engine: Engine, place: Place) -> bool:
    with reading(engine) as connection:
        return (found_format(connection, place) or sql.FORMAT) < sql.FORMAT


def _make_or_upgrade(engine: Engine, place: Place, timeout_s: float) -> None:
    with writing(engine, timeout_s) as connection:
        upgrade_format(connection, place)
    if place.path is not None:
        use_write_ahead_log(engine)


def _photo(row: sa.Row[Any]) -> Photo:
    return Photo(row.photo_id, row.product_id, row.content_hash, row.uri, row.columns)
