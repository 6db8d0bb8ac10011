"""Format 1: products, photos, facets and the numbered log of changes."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _code_points(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "counters",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("catalogue_id", sa.String(36), nullable=False),
        sa.Column("change_number", sa.BigInteger, nullable=False),
        sa.Column("last_photo_id", sa.BigInteger, nullable=False),
        sa.CheckConstraint("id = 1", name="one_row"),
    )
    op.create_table(
        "facets",
        sa.Column("name", _code_points(200), primary_key=True),
        sa.Column("type", sa.String(20), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
    )
    op.create_table("photo_columns", sa.Column("name", _code_points(200), primary_key=True))
    op.create_table(
        "products",
        sa.Column("product_id", _code_points(200), primary_key=True),
        sa.Column("title", sa.Text),
        sa.Column("facets", sa.JSON, nullable=False),
    )
    op.create_table(
        "photos",
        sa.Column("photo_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("product_id", _code_points(200), sa.ForeignKey("products.product_id"), nullable=False),
        sa.Column("content_hash", sa.String(64), nullable=False),
        sa.Column("uri", sa.Text, nullable=False),
        sa.Column("columns", sa.JSON, nullable=False),
    )
    op.create_index("ix_photos_product_id_photo_id", "photos", ["product_id", "photo_id"])
    op.create_index("uq_photos_product_id_content_hash", "photos", ["product_id", "content_hash"], unique=True)
    op.create_table(
        "changes",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("product_id", _code_points(200), nullable=False),
        sa.Column("photo_id", sa.BigInteger),
    )
