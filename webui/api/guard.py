"""Who may ask: before each request its API key, what it may do, and how often. Nothing of a body is read until then.

Reading needs a read key, whatever changes the catalogue a write key. Searches and feedback are POST and change no
catalogue, so the method alone tells: PUT, PATCH and DELETE write.
"""

from flask import Flask, g, request

from webui.state.keys import Scope
from webui.state.state import Caller, State

# No shop's data is behind these: whether the server lives, and what its requests look like.
OPEN = frozenset({"/healthz", "/readyz", "/openapi.json", "/docs"})
_OPEN_BELOW = ("/docs/", "/problems/")
_VERSION = "/v1"
_WRITING = frozenset({"PUT", "PATCH", "DELETE"})


def guard(app: Flask, state: State) -> None:
    """Makes `app` let through only what `state` admits; the rest is Unauthorized, Forbidden or TooManyRequests."""

    @app.before_request
    def admit() -> None:
        g.caller = None
        if not _is_open(request.path):
            needed = Scope.WRITE if request.method in _WRITING else Scope.READ
            g.caller = state.admit(_key_of_request(), needed)


def caller() -> Caller | None:
    """Whose request this is; None where nobody has to say."""
    found: Caller | None = g.get("caller")
    return found


def _is_open(path: str) -> bool:
    plain = path.removeprefix(_VERSION) if path.startswith(f"{_VERSION}/") else path
    return plain in OPEN or plain.startswith(_OPEN_BELOW)


def _key_of_request() -> str | None:
    """`Authorization: Bearer <key>`, or `X-API-Key: <key>` where a proxy uses the former for itself."""
    kind, _, key = request.headers.get("Authorization", "").strip().partition(" ")
    if kind.lower() == "bearer":
        return key.strip()
    return request.headers.get("X-API-Key")
