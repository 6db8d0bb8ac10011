"""The API's own state: who may ask, how often, and what shoppers said. The engine never sees it.

Several processes on one state are one API to its callers: a key is known to all, a rate is counted together. Each opens
it for itself (`webui.state.opening.Access` can be sent to one); what is open survives neither a fork nor pickling.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from engine.catalogue.connection import Place
from engine.errors import Forbidden, TooManyRequests, Unauthorized
from webui.state.database import Database
from webui.state.feedback import FeedbackLog
from webui.state.key_store import KeyStore, KnownKeys
from webui.state.keys import Scope, digest_of
from webui.state.rates import Rate, RateStore

if TYPE_CHECKING:
    from webui.ports import Feedback

MAKE_ONE = "`lookalike keys create` makes one"


@dataclass(frozen=True, slots=True)
class Policy:
    """How a server treats its callers; plain values, so that worker processes can be told.

    `rate` is for each key that has none of its own, None for no limit. `open_without_keys`: while no key was ever made
    everybody may do everything, which is right on loopback alone. `page_key` is a read key that only this run of the
    server knows, without a rate: all shoppers on the page share it.
    """

    rate: Rate | None = field(default_factory=lambda: Rate.a_minute(600))
    open_without_keys: bool = False
    page_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request it is: the id and name of its key."""

    key_id: str
    name: str
    scope: Scope


PAGE = Caller("page", "page", Scope.READ)


class State:
    """An open state; safe to share between threads. Close it, or use it in a `with`."""

    def __init__(self, place: Place, database: Database, policy: Policy) -> None:
        self.place = place
        self.policy = policy
        self.keys = KeyStore(database)
        self.rates = RateStore(database)
        self.feedback = FeedbackLog(database)
        self._database = database
        self._known = KnownKeys(self.keys.digests)
        self._page_digest = None if policy.page_key is None else digest_of(policy.page_key)

    @classmethod
    def open(cls, where: str | Path | Place, *, create: bool = False, policy: Policy | None = None) -> Self:
        """Opens the state at a path (SQLite) or `postgresql://…`; `create` makes one where nothing is.

        Raises MissingFile where there is none or none can be, BadCall where something else is, UnsupportedFormat for a
        newer one, DamagedFile, Unavailable.
        """
        place = where if isinstance(where, Place) else Place.parse(where, "state")
        database = Database(place)
        try:
            database.prepare(create=create)
            return cls(place, database, policy or Policy())
        except BaseException:
            database.close()
            raise

    @property
    def name(self) -> str:
        """The path or URL, for sentences: without a password."""
        return str(self.place)

    def admit(self, key: str | None, needed: Scope) -> Caller | None:
        """Lets a request with this key (None: without one) through and counts it; None is nobody in particular.

        Raises Unauthorized, Forbidden, TooManyRequests; Unavailable and Busy where the state cannot be asked.
        """
        digest = None if key is None else digest_of(key)
        if digest is not None and digest == self._page_digest:
            _check_scope(PAGE, needed)
            return PAGE
        known = self._known.now()
        if not known and self.policy.open_without_keys:
            return None
        if digest is None:
            raise Unauthorized(f"This needs an API key; send one as `Authorization: Bearer …`, {MAKE_ONE}.")
        found = known.get(digest)
        if found is None or found.revoked is not None:
            raise Unauthorized(f"This API key is unknown or was revoked; send another one, {MAKE_ONE}.")
        caller = Caller(found.key_id, found.name, found.scope)
        _check_scope(caller, needed)
        rate = self.policy.rate if found.per_minute is None else Rate.a_minute(found.per_minute)
        if rate is not None and (wait := self.rates.take(found.key_id, rate)) > 0:
            early = TooManyRequests(
                f"The key {found.key_id} may send {rate.per_minute} requests a minute; wait before sending the next."
            )
            early.retry_after_s = wait
            raise early
        return caller

    def record(self, feedback: "Feedback") -> None:
        """Keeps feedback. Raises BadQuery, Busy, Unavailable."""
        self.feedback.record(feedback)

    def has_usable_key(self) -> bool:
        """Whether there is a key that was not revoked."""
        return any(key.revoked is None for key in self.keys.list())

    def close(self) -> None:
        """Ends the connections."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def beside(index_dir: Path) -> Path:
    """Where an index's state lives unless somebody says otherwise: a file beside the index's directory.

    Links are not followed: an index that is switched by a link keeps its keys.
    """
    absolute = Path(os.path.abspath(index_dir))  # noqa: PTH100  # Path.absolute would leave a "." or ".." at the end
    return absolute.with_name(f"{absolute.name}.state.db")


def _check_scope(caller: Caller, needed: Scope) -> None:
    if not caller.scope.covers(needed):
        raise Forbidden(
            f"The key {caller.key_id} may only {caller.scope}, and this needs {needed}; "
            f"send a key that was made with --scope {needed}."
        )
