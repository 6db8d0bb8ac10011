"""The catalogue's tables, the same on SQLite and PostgreSQL.

`FORMAT` numbers this layout: it is the number of the newest script in `migrations/versions`, and a catalogue of a
higher one is not touched. Text that is sorted or compared has the collation "C" on PostgreSQL (SQLite's default is the
same), so that both databases order products as Python does: by code point.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.types import TypeEngine

FORMAT = 2
VERSION_TABLE = "catalogue_version"


def code_points(length: int) -> TypeEngine[str]:
    """Text that sorts by code point on every database."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

# One row. A writing transaction locks it first and updates it last: the order of change numbers is that of the commits.
# `log_start` is the lowest number from which the log can still be followed: the changes up to it may be forgotten.
counters = Table(
    "counters",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="one_row"), primary_key=True, autoincrement=False),
    Column("catalogue_id", String(36), nullable=False),
    Column("change_number", BigInteger, nullable=False),
    Column("last_photo_id", BigInteger, nullable=False),
    Column("log_start", BigInteger, nullable=False, server_default="0"),
)

facets = Table(
    "facets",
    metadata,
    Column("name", code_points(200), primary_key=True),
    Column("type", String(20), nullable=False),
    Column("position", Integer, nullable=False),
)

# Columns of imported tables that are known to vary within products: never facets, in no later import either.
photo_columns = Table("photo_columns", metadata, Column("name", code_points(200), primary_key=True))

products = Table(
    "products",
    metadata,
    Column("product_id", code_points(200), primary_key=True),
    Column("title", Text),
    Column("facets", JSON, nullable=False),
)

photos = Table(
    "photos",
    metadata,
    Column("photo_id", BigInteger, primary_key=True, autoincrement=False),
    Column("product_id", code_points(200), ForeignKey(products.c.product_id), nullable=False),
    Column("content_hash", String(64), nullable=False),
    Column("uri", Text, nullable=False),
    Column("columns", JSON, nullable=False),
    Index("ix_photos_product_id_photo_id", "product_id", "photo_id"),
    Index("uq_photos_product_id_content_hash", "product_id", "content_hash", unique=True),
)

changes = Table(
    "changes",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(20), nullable=False),
    Column("product_id", code_points(200), nullable=False),
    Column("photo_id", BigInteger),
)

# Vectors of photos that were written live, until a generation of the index holds them. Little-endian float16.
vectors = Table(
    "vectors",
    metadata,
    Column("content_hash", String(64), primary_key=True),
    Column("model_id", String(64), primary_key=True),
    Column("precision", String(20), primary_key=True),
    Column("dim", Integer, nullable=False),
    Column("vector", LargeBinary, nullable=False),
)
