"""The state of a server that is about to listen: where it is, and whether it may listen there at all."""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from engine.catalogue.connection import Place
from engine.errors import BadCall, MissingFile
from webui.state.keys import new_secret
from webui.state.rates import Rate
from webui.state.state import Policy, State, beside


@dataclass(frozen=True, slots=True)
class Access:
    """A state that is not open yet, and how to treat callers: what each process of a server is told."""

    place: Place
    policy: Policy

    def open(self) -> State:
        """Raises MissingFile, Unavailable and what else `State.open` does."""
        return State.open(self.place, policy=self.policy)


def access_for_server(
    index_dir: Path, where: str | None, *, host: str, rate: Rate | None, remark: Callable[[str], None]
) -> Access | None:
    """The state at `where`, or without that beside the index, for a server that listens on `host`; made if need be.

    None where no place was named and there is neither a file beside the index nor room for one: who listens on
    loopback needs no state. Raises BadCall for another `host` while there is no key that works, and what opening does.
    """
    policy = Policy(rate, open_without_keys=is_loopback(host), page_key=new_secret().text)
    usual = beside(index_dir)
    place = Place.parse(usual if where is None else where, "state")
    try:
        with State.open(place, create=True) as state:
            if not policy.open_without_keys and not state.has_usable_key():
                raise _refusal(host, place)
    except MissingFile as error:
        if where is not None or usual.exists():
            raise
        if not policy.open_without_keys:
            raise _refusal(host, place) from error
        remark(f"{error} Until then there are no keys here and no feedback is kept.")
        return None
    return Access(place, policy)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there; a name that is not `localhost` may be any address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _refusal(host: str, place: Place) -> BadCall:
    return BadCall(
        f"Others can reach {host}, and {place} has no API key that works; make one with "
        f"`lookalike keys create NAME --state {place}`, or listen on 127.0.0.1."
    )
