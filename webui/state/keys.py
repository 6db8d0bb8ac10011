"""API keys: what they look like, and what of them is kept.

A key is `lk_<12 hex digits>_<64 hex digits>`. What stands before the second `_` is its id, which is public and named in
listings; the rest are 256 random bits. Kept is the SHA-256 of the whole. A slow hash (Argon2, bcrypt) makes guessing
dear where people choose the secret; nobody guesses 256 random bits, so a fast one is as safe and costs each request
about a microsecond.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256

_LABEL = "lk"
MAX_NAME = 200  # characters


class Scope(StrEnum):
    """What a key may do; whoever may write may read too."""

    READ = "read"
    WRITE = "write"

    def covers(self, needed: "Scope") -> bool:
        """Whether a key of this scope may do what needs `needed`."""
        return self is Scope.WRITE or needed is Scope.READ


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is kept: its secret is not here, nor anywhere.

    `per_minute` is the key's own rate, None where it has the server's. Times are in UTC.
    """

    key_id: str
    name: str
    scope: Scope
    per_minute: int | None
    created: datetime
    revoked: datetime | None


@dataclass(frozen=True, slots=True)
class Secret:
    """A new key in full; its text is to be shown once, and is left out of what Python prints of it."""

    key_id: str
    text: str

    def __repr__(self) -> str:
        return f"Secret({self.key_id!r})"


def new_secret() -> Secret:
    """A new key, from the operating system's source of randomness."""
    key_id = f"{_LABEL}_{secrets.token_hex(6)}"
    return Secret(key_id, f"{key_id}_{secrets.token_hex(32)}")


def digest_of(text: str) -> bytes:
    """What is kept of a key, 32 bytes; any text has one, also what came in a header and is no key."""
    return sha256(text.encode("utf-8", "replace")).digest()


def public_part(text: str) -> str:
    """The id in a text that is a key or the id of one; never more of it, so that it can stand in a sentence."""
    return "_".join(text.split("_")[:2])[:20]
