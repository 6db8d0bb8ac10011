"""Run by alembic: applies the scripts on the connection, and inside the transaction, that `upgrade` hands over."""

from alembic import context

from engine.catalogue.sql import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=True,
)
context.run_migrations()
