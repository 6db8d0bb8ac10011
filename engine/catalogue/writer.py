"""What can be written in one transaction of a catalogue.

Every change gets the next number from the counter row, which the transaction locks when it begins: a second writer
waits there, so the order of numbers is the order of commits on both databases. What is already so is no change.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from engine.catalogue import kept_vectors, sql
from engine.catalogue.changes import ChangeKind
from engine.catalogue.schema import Facet, FacetType, FacetValue, Product, check_facet_name, check_product_id
from engine.catalogue.values import chunks, encode
from engine.errors import BadCall, UnknownPhoto, UnknownProduct

AT_ONCE = 500  # ids in one statement; databases take more, but gain nothing by it

_Row = dict[str, Any]


class Effect(StrEnum):
    """What writing a product or photo did."""

    NEW = "new"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class NewPhoto:
    """A photo as its source knows it, before the catalogue gives it a `photo_id`; fields as in `schema.Photo`."""

    product_id: str
    content_hash: str
    uri: str
    columns: Mapping[str, str] = field(default_factory=dict)


class Writer:
    """One transaction's changes; made by `Catalogue.transaction`, and only good inside its `with`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        counters = connection.execute(sa.select(sql.counters).with_for_update()).one()
        self._number: int = counters.change_number
        self._first_number = self._number
        self._last_photo_id: int = counters.last_photo_id
        self._log: list[_Row] = []
        facets = connection.execute(sa.select(sql.facets).order_by(sql.facets.c.position))
        self._types = {row.name: FacetType(row.type) for row in facets}

    @property
    def facets(self) -> tuple[Facet, ...]:
        """The facets declared so far, this transaction's included, in order of declaration."""
        return tuple(Facet(name, type) for name, type in self._types.items())

    @property
    def change_number(self) -> int:
        """The number of the last change so far, this transaction's included: what a follower must have seen to have
        seen all of it."""
        return self._number

    def declare_facets(self, facets: Iterable[Facet]) -> None:
        """Adds the facets that are not there yet; raises BadCall for one that is there with another type."""
        for facet in facets:
            check_facet_name(facet.name)
            known = self._types.get(facet.name)
            if known is None:
                self._connection.execute(
                    sa.insert(sql.facets), {"name": facet.name, "type": facet.type, "position": self._next_position()}
                )
                self._types[facet.name] = facet.type
            elif known is not facet.type:
                raise BadCall(
                    f"The facet {facet.name!r} is a {known} in this catalogue and cannot become a {facet.type} while "
                    "products have it; drop it first."
                )

    def drop_facet(self, name: str) -> None:
        """Forgets a facet and takes its values from every product that has one; unknown names are no error."""
        if self._types.pop(name, None) is None:
            return
        holders = [
            {"id": row.product_id, "facets": {key: value for key, value in row.facets.items() if key != name}}
            for row in self._connection.execute(sa.select(sql.products.c.product_id, sql.products.c.facets))
            if name in row.facets
        ]
        table = sql.products
        self._run_many(sa.update(table).where(table.c.product_id == sa.bindparam("id")), holders)
        for holder in holders:
            self._record(ChangeKind.PRODUCT_SET, holder["id"])
        self._connection.execute(sa.delete(sql.facets).where(sql.facets.c.name == name))

    def note_photo_columns(self, names: Iterable[str]) -> None:
        """Remembers columns that vary within products, so that no later import makes facets of them."""
        known = set(self._connection.scalars(sa.select(sql.photo_columns.c.name)))
        self._run_many(sa.insert(sql.photo_columns), [{"name": name} for name in sorted(set(names) - known)])

    def forget_photo_columns(self, names: Iterable[str]) -> None:
        """Takes back `note_photo_columns`: the columns may become facets."""
        table = sql.photo_columns
        self._connection.execute(sa.delete(table).where(table.c.name.in_(sorted(names))))

    def upsert_product(self, product: Product) -> Effect:
        """Makes the product be as given: title and facets are replaced whole.

        Raises BadCall for an id that cannot be, a facet that is not declared or a value of another type.
        """
        return self.upsert_products([product])[0]

    def upsert_products(self, products: Sequence[Product], *, keep: bool = False) -> list[Effect]:
        """`upsert_product` for many, in few statements; one effect for each, in their order.

        With `keep`, a stored title or facet that the given product lacks stays.
        """
        for product in products:
            check_product_id(product.product_id)
        effects: list[Effect] = []
        for chunk in chunks(products, AT_ONCE):
            stored = self._stored_products([product.product_id for product in chunk])
            new: dict[str, _Row] = {}
            changed: dict[str, _Row] = {}
            for product in chunk:
                before = stored.get(product.product_id)
                row = self._product_row(product, before if keep else None)
                effects.append(_effect(before, row))
                if effects[-1] is Effect.UNCHANGED:
                    continue
                (new if before is None or product.product_id in new else changed)[product.product_id] = row
                stored[product.product_id] = row
                self._record(ChangeKind.PRODUCT_SET, product.product_id)
            table = sql.products
            self._run_many(sa.insert(table), list(new.values()))
            updates = [
                {"id": row["product_id"], "title": row["title"], "facets": row["facets"]} for row in changed.values()
            ]
            self._run_many(sa.update(table).where(table.c.product_id == sa.bindparam("id")), updates)
        return effects

    def set_facets(self, product_id: str, values: Mapping[str, FacetValue], unset: Collection[str] = ()) -> Effect:
        """Gives a product these facets and takes those in `unset` away; its title and other facets stay.

        Raises UnknownProduct, BadCall for a facet that is not declared or a value of another type.
        """
        self._check_products_exist({product_id})
        before = self._stored_products([product_id])[product_id]
        row = self._product_row(Product(product_id, None, values), before)
        if unknown := set(unset) - self._types.keys():
            raise BadCall(f"There is no facet {min(unknown)!r} in this catalogue; check its name.")
        row["facets"] = {name: value for name, value in row["facets"].items() if name not in unset}
        effect = _effect(before, row)
        if effect is not Effect.UNCHANGED:
            table = sql.products
            mine = table.c.product_id == product_id
            self._connection.execute(sa.update(table).where(mine).values(facets=row["facets"]))
            self._record(ChangeKind.PRODUCT_SET, product_id)
        return effect

    def add_photo(self, product_id: str, content_hash: str, uri: str, columns: Mapping[str, str] | None = None) -> int:
        """The `photo_id` of the product's photo with this content, new or known; raises UnknownProduct.

        A known photo keeps its id and takes the given uri and columns.
        """
        return self.add_photos([NewPhoto(product_id, content_hash, uri, columns or {})])[0][0]

    def add_photos(
        self, photos: Sequence[NewPhoto], *, keep: bool = False, again: Collection[str] = ()
    ) -> list[tuple[int, Effect]]:
        """`add_photo` for many, in few statements; (photo_id, effect) for each, in their order.

        With `keep`, the columns of a known photo stay. Of the contents in `again` a known photo counts as changed in
        the log even where it is as given, so that who follows looks at it once more.
        """
        results: list[tuple[int, Effect]] = []
        for chunk in chunks(photos, AT_ONCE):
            self._check_products_exist({photo.product_id for photo in chunk})
            stored = self._stored_photos(chunk)
            new: dict[int, _Row] = {}
            changed: dict[int, _Row] = {}
            for photo in chunk:
                key = (photo.product_id, photo.content_hash)
                before = stored.get(key)
                photo_id = self._next_photo_id() if before is None else before["photo_id"]
                row = {
                    "photo_id": photo_id,
                    "product_id": photo.product_id,
                    "content_hash": photo.content_hash,
                    "uri": photo.uri,
                    "columns": dict(photo.columns) if before is None or not keep else before["columns"],
                }
                results.append((photo_id, _effect(before, row)))
                if results[-1][1] is Effect.UNCHANGED:
                    if photo.content_hash in again:
                        self._record(ChangeKind.PHOTO_SET, photo.product_id, photo_id)
                    continue
                (new if before is None or photo_id in new else changed)[photo_id] = row
                stored[key] = row
                self._record(ChangeKind.PHOTO_SET, photo.product_id, photo_id)
            table = sql.photos
            self._run_many(sa.insert(table), list(new.values()))
            updates = [
                {"id": row["photo_id"], "uri": row["uri"], "columns": row["columns"]} for row in changed.values()
            ]
            self._run_many(sa.update(table).where(table.c.photo_id == sa.bindparam("id")), updates)
        return results

    def delete_product(self, product_id: str) -> None:
        """Deletes a product and its photos; raises UnknownProduct."""
        self.delete_products([product_id])

    def delete_products(self, product_ids: Sequence[str]) -> None:
        """`delete_product` for many, in few statements."""
        photos, products = sql.photos, sql.products
        for chunk in chunks(product_ids, AT_ONCE):
            self._check_products_exist(set(chunk))
            theirs = sa.select(photos.c.photo_id).where(photos.c.product_id.in_(chunk))
            self.delete_photos(self._connection.scalars(theirs).all())
            self._connection.execute(sa.delete(products).where(products.c.product_id.in_(chunk)))
            for product_id in chunk:
                self._record(ChangeKind.PRODUCT_DELETED, product_id)

    def delete_photo(self, photo_id: int) -> None:
        """Deletes a photo; raises UnknownPhoto."""
        self.delete_photos([photo_id])

    def delete_photos(self, photo_ids: Sequence[int]) -> None:
        """`delete_photo` for many."""
        table = sql.photos
        for chunk in chunks(photo_ids, AT_ONCE):
            wanted = table.c.photo_id.in_(chunk)
            owners = self._connection.execute(sa.select(table.c.photo_id, table.c.product_id).where(wanted)).all()
            missing = set(chunk) - {row.photo_id for row in owners}
            if missing:
                raise UnknownPhoto(f"The catalogue has no photo {min(missing)}; check the id.")
            self._connection.execute(sa.delete(table).where(wanted))
            for row in sorted(owners, key=lambda row: row.photo_id):
                self._record(ChangeKind.PHOTO_DELETED, row.product_id, row.photo_id)

    def put_vector(self, content_hash: str, model_id: str, precision: str, vector: NDArray[np.floating]) -> None:
        """Keeps the vector [dim] of a content (sha256 in hex), as float16; one that is there stays as it is."""
        kept_vectors.put(self._connection, model_id, precision, {content_hash: vector})

    def put_vectors(self, model_id: str, precision: str, found: Mapping[str, NDArray[np.floating]]) -> None:
        """`put_vector` for many, by content, in few statements."""
        kept_vectors.put(self._connection, model_id, precision, found)

    def drop_vectors(self, model_id: str, precision: str, hashes: Sequence[bytes] | None) -> None:
        """Forgets the vectors of these contents (32 bytes each, as `Snapshot.vectors` gives them); None: all."""
        kept_vectors.drop(self._connection, model_id, precision, hashes)

    def drop_unused_vectors(self, hashes: Sequence[bytes], last_photo_id: int) -> None:
        """Forgets the vectors of contents that no photo had in a snapshot (its `unused_vectors` and `last_photo_id`),
        and that none has now: a photo never changes its content, so only newer ones need to be looked at."""
        kept_vectors.drop_unused(self._connection, hashes, last_photo_id)

    def trim_log(self, below: int) -> None:
        """Forgets the changes with numbers up to and including `below`: followers that have not seen them must open
        a generation that was built after them."""
        below = min(below, self._number)
        self._connection.execute(sa.delete(sql.changes).where(sql.changes.c.number <= below))
        self._log = [entry for entry in self._log if entry["number"] > below]
        counters = sql.counters
        moves = sa.update(counters).where(counters.c.log_start < below).values(log_start=below)
        self._connection.execute(moves)

    def finish(self) -> None:
        """Writes the log and the counters; `Catalogue.transaction` calls it just before the commit."""
        if self._number == self._first_number:
            return
        self._run_many(sa.insert(sql.changes), self._log)
        self._connection.execute(
            sa.update(sql.counters).values(change_number=self._number, last_photo_id=self._last_photo_id)
        )

    def _record(self, kind: ChangeKind, product_id: str, photo_id: int | None = None) -> None:
        self._number += 1
        self._log.append({"number": self._number, "kind": kind, "product_id": product_id, "photo_id": photo_id})

    def _next_photo_id(self) -> int:
        self._last_photo_id += 1
        return self._last_photo_id

    def _next_position(self) -> int:
        last = self._connection.scalar(sa.select(sa.func.max(sql.facets.c.position)))
        return 0 if last is None else int(last) + 1

    def _product_row(self, product: Product, kept: _Row | None) -> _Row:
        unknown = product.facets.keys() - self._types.keys()
        if unknown:
            raise BadCall(f"There is no facet {min(unknown)!r} in this catalogue; declare it first.")
        facets = {name: encode(name, self._types[name], value) for name, value in product.facets.items()}
        title = product.title
        _check_title(product.product_id, title)
        if kept is not None:
            facets = kept["facets"] | facets
            title = kept["title"] if title is None else title
        return {"product_id": product.product_id, "title": title, "facets": facets}

    def _stored_products(self, ids: Sequence[str]) -> dict[str, _Row]:
        rows = self._connection.execute(sa.select(sql.products).where(sql.products.c.product_id.in_(ids)))
        return {row.product_id: row._asdict() for row in rows}

    def _stored_photos(self, photos: Sequence[NewPhoto]) -> dict[tuple[str, str], _Row]:
        table = sql.photos
        wanted = table.c.content_hash.in_({photo.content_hash for photo in photos})
        of_these = table.c.product_id.in_({photo.product_id for photo in photos})
        rows = self._connection.execute(sa.select(table).where(of_these, wanted))
        return {(row.product_id, row.content_hash): row._asdict() for row in rows}

    def _check_products_exist(self, ids: set[str]) -> None:
        table = sql.products
        missing = ids - set(self._connection.scalars(sa.select(table.c.product_id).where(table.c.product_id.in_(ids))))
        if missing:
            raise UnknownProduct(f"The catalogue has no product {min(missing)!r}; check the id.")

    def _run_many(self, statement: sa.Executable, rows: list[_Row]) -> None:
        if rows:
            self._connection.execute(statement, rows)


def _check_title(product_id: str, title: object) -> None:
    """Callers that nobody type-checks may send anything; once stored, it would stop every follower and every build."""
    if title is not None and not isinstance(title, str):
        raise BadCall(f"{title!r} cannot be the title of the product {product_id!r}; send text.")


def _effect(before: _Row | None, row: _Row) -> Effect:
    if before is None:
        return Effect.NEW
    return Effect.UNCHANGED if before == row else Effect.CHANGED
