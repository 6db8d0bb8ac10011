"""The tables of the API's own state: keys, rates and feedback, the same on SQLite and PostgreSQL.

They have a database of their own: the catalogue is written by imports that hold its lock for long, and no request may
wait for those. `FORMAT` numbers this layout; a state of a higher one is not touched. Times are seconds since 1970, UTC,
where people read them, and nanoseconds where rates are computed, which must be exact.
"""

from sqlalchemy import BigInteger, Column, Double, Integer, LargeBinary, MetaData, String, Table, Text

FORMAT = 1

metadata = MetaData()

formats = Table("state_format", metadata, Column("number", Integer, primary_key=True, autoincrement=False))

# A revoked key stays as a row: a server whose keys are all revoked is closed, not open to everybody.
keys = Table(
    "api_keys",
    metadata,
    Column("key_id", String(32), primary_key=True),
    Column("digest", LargeBinary(32), nullable=False),
    Column("name", Text, nullable=False),
    Column("scope", String(20), nullable=False),
    Column("per_minute", Integer),  # null: as the server is set
    Column("created", Double, nullable=False),
    Column("revoked", Double),
)

# `due` is GCRA's theoretical arrival time, in nanoseconds: when the next request would come of one who never hurries.
rates = Table(
    "api_rates",
    metadata,
    Column("key_id", String(32), primary_key=True),
    Column("due", BigInteger, nullable=False),
)

# Numbers rise and are never used again, so the oldest rows can be told by theirs. SQLite counts only plain integers.
feedback = Table(
    "api_feedback",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("time", Double, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("request_id", Text),
    Column("product_id", Text),
    Column("position", Integer),
    Column("key", Text),  # the name of the API key it came with, null where there was none
    sqlite_autoincrement=True,
)
