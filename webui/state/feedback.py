"""What shoppers made of answers: clicks, wrong results, nothing found. Never a photo."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from engine.errors import BadQuery
from webui.state.database import Database
from webui.state.tables import feedback as table

if TYPE_CHECKING:
    from webui.ports import Feedback

MAX_TEXT = 200  # characters of an id
MAX_ROWS = 1_000_000  # kept; beyond them the oldest go, so that nobody can fill the disk
STREAMED = 1000  # rows fetched per round


@dataclass(frozen=True, slots=True)
class Kept:
    """Feedback as it was kept; `time` is when it came, in UTC."""

    number: int
    time: datetime
    kind: str
    request_id: str | None
    product_id: str | None
    position: int | None
    key: str | None


class FeedbackLog:
    """A `webui.ports.FeedbackStore` in the state: the newest `max_rows` of feedback; safe to share between threads."""

    def __init__(self, database: Database, *, max_rows: int = MAX_ROWS) -> None:
        self._database = database
        self._max_rows = max_rows

    def record(self, given: "Feedback") -> None:
        """Keeps it; on the disk when this returns. Raises BadQuery for ids that no answer has, Busy, Unavailable."""
        for name, text in (("request_id", given.request_id), ("product_id", given.product_id)):
            if text is not None and not (0 < len(text) <= MAX_TEXT and text.isprintable()):
                raise BadQuery(f"The {name} is 1 to {MAX_TEXT} printable characters; send it as the answer has it.")
        row = {
            "time": time.time(),
            "kind": given.kind,
            "request_id": given.request_id,
            "product_id": given.product_id,
            "position": given.position,
            "key": given.key,
        }
        with self._database.plain_errors(), self._database.durable.connect() as connection:
            number = connection.scalar(sa.insert(table).values(row).returning(table.c.number))
            assert number is not None
            if number > self._max_rows:
                connection.execute(sa.delete(table).where(table.c.number <= number - self._max_rows))

    def read(self, *, after: int = 0) -> Iterator[Kept]:
        """What was kept, the oldest first, from the number after `after` on."""
        newer = sa.select(table).where(table.c.number > after).order_by(table.c.number).limit(STREAMED)
        while True:
            with self._database.plain_errors(), self._database.durable.connect() as connection:
                rows = connection.execute(newer.where(table.c.number > after)).all()
            if not rows:
                return
            yield from map(_kept, rows)
            after = rows[-1].number


def _kept(row: "sa.Row[tuple[object, ...]]") -> Kept:
    return Kept(
        number=row.number,
        time=datetime.fromtimestamp(row.time, UTC),
        kind=row.kind,
        request_id=row.request_id,
        product_id=row.product_id,
        position=row.position,
        key=row.key,
    )
