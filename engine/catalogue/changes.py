"""The numbered log of every change to a catalogue, in the order of the commits.

Whoever follows it keeps the number of the last change it has seen and asks for what came after. A change says *that* a
product or photo is other than before; what it is now is read from the catalogue. The log may be trimmed: who has not
seen what was forgotten starts again from a generation of the index that has it.
"""

from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from engine.catalogue import sql
from engine.errors import LogTrimmed, WrongCatalogue


class ChangeKind(StrEnum):
    """What happened. "Set" means that it is new or that something about it changed."""

    PRODUCT_SET = "product_set"
    PRODUCT_DELETED = "product_deleted"
    PHOTO_SET = "photo_set"
    PHOTO_DELETED = "photo_deleted"


@dataclass(frozen=True, slots=True)
class Change:
    """One change; numbers rise without gaps from 1. `photo_id` is None where the product itself changed."""

    number: int
    kind: ChangeKind
    product_id: str
    photo_id: int | None = None


def changes_since(connection: Connection, number: int, limit: int) -> list[Change]:
    """The changes with numbers above `number`, at most `limit` of them, in their order.

    Raises LogTrimmed where some of them were forgotten.
    """
    log_start = connection.scalar(sa.select(sql.counters.c.log_start)) or 0
    if number < log_start:
        raise LogTrimmed(
            f"The changes after number {number} were forgotten up to number {log_start}; open the index's newest "
            "generation, or build one with `lookalike index`."
        )
    log = sql.changes
    statement = (
        sa.select(log.c.number, log.c.kind, log.c.product_id, log.c.photo_id)
        .where(log.c.number > number)
        .order_by(log.c.number)
        .limit(limit)
    )
    return [
        Change(row.number, ChangeKind(row.kind), row.product_id, row.photo_id) for row in connection.execute(statement)
    ]


def check_reached(seen: int, change_number: int, name: str) -> None:
    """Raises WrongCatalogue unless the catalogue `name`, at `change_number`, can be the one whose change `seen` was."""
    if change_number < seen:
        raise WrongCatalogue(
            f"{name} is at change {change_number} and the index has seen change {seen}: an older copy; bring back the "
            "newer one, or build another index."
        )
