"""Format 2: vectors of photos that were written live, and a log that can be trimmed."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("counters", sa.Column("log_start", sa.BigInteger, nullable=False, server_default="0"))
    op.create_table(
        "vectors",
        sa.Column("content_hash", sa.String(64), primary_key=True),
        sa.Column("model_id", sa.String(64), primary_key=True),
        sa.Column("precision", sa.String(20), primary_key=True),
        sa.Column("dim", sa.Integer, nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
    )
