"""Keys in the state: made, listed, revoked, and known for a moment by every process that checks them."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from threading import Lock

import sqlalchemy as sa

from engine.errors import BadCall, LookalikeError
from webui.state.database import Database
from webui.state.keys import MAX_NAME, ApiKey, Scope, Secret, digest_of, new_secret, public_part
from webui.state.rates import Rate
from webui.state.tables import keys

KNOWN_FOR_S = 0.5  # seconds that keys are known without asking the state again; a revoked one works no longer than this


class KeyStore:
    """The keys that there are; safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, scope: Scope, *, per_minute: int | None = None) -> Secret:
        """Makes a key; its text can never be had again.

        Raises BadCall for a name that is empty, longer than 200 characters or not printable, or a rate out of range.
        """
        if not name.strip() or len(name) > MAX_NAME or not name.isprintable():
            raise BadCall(f"A key's name is 1 to {MAX_NAME} printable characters; name it after who will use it.")
        if per_minute is not None:
            Rate.a_minute(per_minute)
        secret = new_secret()
        row = {
            "key_id": secret.key_id,
            "digest": digest_of(secret.text),
            "name": name,
            "scope": scope.value,
            "per_minute": per_minute,
            "created": time.time(),
        }
        with self._database.plain_errors(), self._database.durable.connect() as connection:
            connection.execute(sa.insert(keys).values(row))
        return secret

    def list(self) -> list[ApiKey]:
        """All keys, revoked ones too, the oldest first."""
        with self._database.plain_errors(), self._database.durable.connect() as connection:
            rows = connection.execute(sa.select(keys).order_by(keys.c.created, keys.c.key_id)).all()
        return [_key(row) for row in rows]

    def revoke(self, key_id: str) -> ApiKey:
        """Ends a key for good, named by its id; every process refuses it within a second.

        A key in full is taken by its id. Raises BadCall where there is no such key. Revoking twice changes nothing.
        """
        wanted = public_part(key_id)
        this = keys.c.key_id == wanted
        with self._database.plain_errors(), self._database.durable.connect() as connection:
            connection.execute(sa.update(keys).where(this, keys.c.revoked.is_(None)).values(revoked=time.time()))
            row = connection.execute(sa.select(keys).where(this)).one_or_none()
        if row is None:
            raise BadCall(f"There is no key {wanted!r}; `lookalike keys list` names those that there are.")
        return _key(row)

    def digests(self) -> dict[bytes, ApiKey]:
        """Every key by its digest (32 bytes), revoked ones too."""
        with self._database.plain_errors(), self._database.durable.connect() as connection:
            return {row.digest: _key(row) for row in connection.execute(sa.select(keys))}


class KnownKeys:
    """The keys as this process knows them, at most `KNOWN_FOR_S` old: a request costs one fast hash and no statement.

    All keys are read at once, so that unknown ones cost no statement either, however many are tried.
    """

    def __init__(self, read: Callable[[], Mapping[bytes, ApiKey]], clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._reading = Lock()
        self._known: tuple[float, Mapping[bytes, ApiKey] | LookalikeError] | None = None

    def now(self) -> Mapping[bytes, ApiKey]:
        """Every key by its digest. Raises what reading raised, for as long too: not everybody asks a dead state."""
        known = self._fresh()
        if known is None:
            with self._reading:
                known = self._fresh()  # another thread may have read it meanwhile
                if known is None:
                    known = self._read_again()
        if isinstance(known, LookalikeError):
            raise known
        return known

    def _fresh(self) -> Mapping[bytes, ApiKey] | LookalikeError | None:
        seen = self._known
        return seen[1] if seen is not None and self._clock() - seen[0] < KNOWN_FOR_S else None

    def _read_again(self) -> Mapping[bytes, ApiKey] | LookalikeError:
        began = self._clock()  # a key revoked while we read counts as revoked from here on
        try:
            found: Mapping[bytes, ApiKey] | LookalikeError = self._read()
            self._known = (began, found)
        except LookalikeError as error:
            found = error
            # from its end: a state that takes seconds to fail would else be asked again at once
            self._known = (self._clock(), error)
        return found


def _key(row: "sa.Row[tuple[object, ...]]") -> ApiKey:
    return ApiKey(
        key_id=row.key_id,
        name=row.name,
        scope=Scope(row.scope),
        per_minute=row.per_minute,
        created=datetime.fromtimestamp(row.created, UTC),
        revoked=None if row.revoked is None else datetime.fromtimestamp(row.revoked, UTC),
    )
