"""Vectors of photos as the catalogue keeps them: float16, by what the photo shows and who looked at it.

A vector belongs to (sha256 of the photo's file, model id, precision of the encoder): the same three always give the
same vector, so one that is there is never written again. They live here from the moment a photo is written live until
a generation of the index holds it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from engine.catalogue import sql
from engine.catalogue.values import chunks

Vector = NDArray[np.float16]

AT_ONCE = 500  # hashes in one statement
STREAMED = 1000  # rows fetched from the database per round
_LITTLE = np.dtype("<f2")


def stream(connection: Connection, model_id: str, precision: str) -> Iterator[tuple[bytes, Vector]]:
    """Every vector of a model in a precision, by rising content hash: (32 bytes, float16 [dim])."""
    table = sql.vectors
    statement = _of(model_id, precision).order_by(table.c.content_hash)
    for row in connection.execution_options(yield_per=STREAMED).execute(statement):
        yield bytes.fromhex(row.content_hash), _read(row.vector)


def find(connection: Connection, model_id: str, precision: str, hashes: Collection[str]) -> dict[str, Vector]:
    """The vectors of these contents (sha256 in hex) that are there, by content."""
    found: dict[str, Vector] = {}
    for chunk in chunks(sorted(hashes), AT_ONCE):
        statement = _of(model_id, precision).where(sql.vectors.c.content_hash.in_(chunk))
        found |= {row.content_hash: _read(row.vector) for row in connection.execute(statement)}
    return found


def put(connection: Connection, model_id: str, precision: str, vectors: Mapping[str, NDArray[np.floating]]) -> None:
    """Adds the vectors [dim] that are not there yet, by content (sha256 in hex)."""
    known = find(connection, model_id, precision, vectors.keys())
    new = [
        {
            "content_hash": content,
            "model_id": model_id,
            "precision": precision,
            "dim": len(vector),
            "vector": np.asarray(vector, _LITTLE).tobytes(),
        }
        for content, vector in vectors.items()
        if content not in known
    ]
    if new:
        connection.execute(sa.insert(sql.vectors), new)


def drop(connection: Connection, model_id: str, precision: str, hashes: Sequence[bytes] | None) -> None:
    """Forgets the vectors of these contents (32 bytes each), or all of the model in this precision."""
    table = sql.vectors
    of_these = sa.delete(table).where(table.c.model_id == model_id, table.c.precision == precision)
    if hashes is None:
        connection.execute(of_these)
        return
    for chunk in chunks(hashes, AT_ONCE):
        connection.execute(of_these.where(table.c.content_hash.in_([content.hex() for content in chunk])))


def models(connection: Connection) -> list[tuple[str, str]]:
    """The models, each with a precision, of which vectors are kept."""
    table = sql.vectors
    rows = connection.execute(sa.select(table.c.model_id, table.c.precision).distinct())
    return sorted((row.model_id, row.precision) for row in rows)


def unused(connection: Connection) -> Iterator[bytes]:
    """The contents (32 bytes each) that have vectors and no photo any more.

    EXCEPT, since both databases do it in one pass over the photos: no index has them by their content alone.
    """
    statement = sa.except_(sa.select(sql.vectors.c.content_hash), sa.select(sql.photos.c.content_hash))
    for content in connection.execution_options(yield_per=STREAMED).execute(statement).scalars():
        yield bytes.fromhex(content)


def drop_unused(connection: Connection, hashes: Sequence[bytes], last_photo_id: int) -> None:
    """Forgets the vectors of these contents, save those that a photo with an id above `last_photo_id` shows."""
    table, photos = sql.vectors, sql.photos
    newer = sa.select(photos.c.photo_id).where(
        photos.c.photo_id > last_photo_id, photos.c.content_hash == table.c.content_hash
    )
    for chunk in chunks(hashes, AT_ONCE):
        these = table.c.content_hash.in_([content.hex() for content in chunk])
        connection.execute(sa.delete(table).where(these, ~newer.exists()))


def _of(model_id: str, precision: str) -> sa.Select[tuple[str, bytes]]:
    table = sql.vectors
    return sa.select(table.c.content_hash, table.c.vector).where(
        table.c.model_id == model_id, table.c.precision == precision
    )


def _read(data: bytes) -> Vector:
    return np.frombuffer(data, _LITTLE).astype(np.float16, copy=False)
