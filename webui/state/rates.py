"""How many requests a key may send, counted together by all processes that share the state.

The generic cell rate algorithm (ITU-T I.371, "virtual scheduling"): each request that is let through moves the time at
which the next one is due by one interval, and a request may come at most `burst` intervals before its time. One number
a key is all there is to keep, one statement decides and counts, and no process keeps allowances that others lack.
Times are whole nanoseconds, so that not one request more passes than was said.
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import time_ns

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import ReturningInsert

from engine.errors import BadCall
from webui.state.database import Database
from webui.state.tables import rates

MINUTE_NS = 60 * 10**9
MAX_PER_MINUTE = 1_000_000
# A time that is due this long after the latest possible one was written before the clock was set back (or the rate
# raised): it is forgotten. Far longer than a process may wait between reading the clock and writing.
CLOCK_STEP_NS = MINUTE_NS


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_minute` requests a minute, `burst` at once: in t seconds at most burst + t * per_minute / 60 pass."""

    per_minute: int
    burst: int

    def __post_init__(self) -> None:
        if not 1 <= self.per_minute <= MAX_PER_MINUTE:
            raise BadCall(f"A rate of {self.per_minute} a minute cannot be; give 1 to {MAX_PER_MINUTE:,}.")
        if not 1 <= self.burst <= MAX_PER_MINUTE:
            raise BadCall(f"A burst of {self.burst} requests cannot be; give 1 to {MAX_PER_MINUTE:,}.")

    @classmethod
    def a_minute(cls, per_minute: int) -> "Rate":
        """This many a minute, and what ten seconds of it allow at once."""
        return cls(per_minute, max(1, per_minute // 6))

    @property
    def interval_ns(self) -> int:
        """Nanoseconds between two requests of one who never hurries; rounded up, so never more than `per_minute`."""
        return -(-MINUTE_NS // self.per_minute)


class RateStore:
    """The shared count; safe to share between threads. `clock` gives nanoseconds since 1970.

    The clocks of machines that share a state must agree, as NTP makes them: one that is ahead takes others' turns.
    """

    def __init__(self, database: Database, clock: Callable[[], int] = time_ns) -> None:
        self._database = database
        self._clock = clock
        insert = postgresql.insert if database.quick.dialect.name == "postgresql" else sqlite.insert
        # Compiled here and handed to the driver as text: every request runs it, and this is the cheaper way.
        compiled = _statement(insert).compile(dialect=database.quick.dialect)
        self._take, self._order = str(compiled), compiled.positiontup
        # What is due only ever moves on, so a refusal holds until its time, whatever other processes do: an abuser
        # costs no database. key -> when one could pass, on `clock`
        self._refused: dict[str, int] = {}

    def take(self, key_id: str, rate: Rate) -> float:
        """Lets a request of this key through and counts it, or says in how many seconds one could pass: 0 is yes.

        Raises Unavailable and Busy where the state cannot be asked: then nothing may pass.
        """
        now = self._clock()
        known_wait = self._refused.get(key_id, 0) - now
        if 0 < known_wait <= rate.interval_ns:  # longer than that only where the clock was set back
            return known_wait / 1e9
        latest = now + (rate.burst - 1) * rate.interval_ns
        given = {
            "key_id": key_id,
            "now": now,
            "latest": latest,
            "interval": rate.interval_ns,
            "stale": latest + CLOCK_STEP_NS,
        }
        values = given if self._order is None else tuple(given[name] for name in self._order)
        with self._database.plain_errors(), self._database.quick.connect() as connection:
            if connection.exec_driver_sql(self._take, values).scalar() is not None:
                return 0.0
            due = connection.scalar(sa.select(rates.c.due).where(rates.c.key_id == key_id)) or 0
        wait = max(due - latest, 1)
        self._refused[key_id] = now + wait
        return wait / 1e9


def _statement(
    insert: Callable[[sa.Table], "sqlite.Insert | postgresql.Insert"],
) -> ReturningInsert[int]:
    """Counts one request and returns the new `due`, or changes and returns nothing where it comes too early."""
    now, latest, interval, stale = (
        sa.bindparam(name, type_=sa.BigInteger) for name in ("now", "latest", "interval", "stale")
    )
    due = rates.c.due
    start = sa.case((sa.or_(due < now, due > stale), now), else_=due)
    return (
        insert(rates)
        .values(key_id=sa.bindparam("key_id"), due=now + interval)
        .on_conflict_do_update(
            index_elements=[rates.c.key_id],
            set_={"due": start + interval},
            where=sa.or_(due <= latest, due > stale),
        )
        .returning(due)
    )
