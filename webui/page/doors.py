"""Which of its addresses the page opens: those that its own visitors need, and nothing else that Gradio brings along.

Gradio's server also takes uploads into a cache on the disk, gives files out of it, forwards requests to other hosts and
tells of its functions. Here all that is shut, so no request of anybody writes a file or reads one that is not the
page's. What is sent in is limited in bytes and held in memory alone. The browser is told to ask this page only.
"""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# What a browser was seen to ask for; config and app_id are for tabs that outlive the server.
_READ = re.compile(
    r"/(?:theme\.css|favicon\.ico|config|gradio_api/(?:app_id|queue/data|heartbeat/\w+)|photos/\d+|(?:assets|static)/[\w./-]+)?"
)
_SENT = "/gradio_api/queue/join"  # what is done on the page

HEADERS = {
    # Gradio's scripts, and ours within them, are made of text; styles stand in the markup.
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; worker-src 'self' blob:; "
        "object-src 'none'; base-uri 'self'; form-action 'self'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}
_HEADERS = [(name.encode(), value.encode()) for name, value in HEADERS.items()]


class Doors:
    """An ASGI application in front of another: 404 for what is shut, 413 for a body of more than `most_bytes`."""

    def __init__(self, app: App, most_bytes: int) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":  # the page has none
            await send({"type": "websocket.close", "code": 1008})
        elif not is_open(scope["method"], scope["path"]):
            await _refuse(send, 404)
        elif (body := await self._body(receive)) is None:
            await _refuse(send, 413)
        else:
            await self._app(scope, _Again(body, receive), _with_headers(send))

    async def _body(self, receive: Receive) -> bytes | None:
        """All that was sent, None where it is too much, whatever its length was said to be."""
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            part = message.get("body", b"")
            size += len(part)
            if size > self._most_bytes:
                return None
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)


def is_open(method: str, path: str) -> bool:
    """Whether the page answers to this; `path` is decoded."""
    if method == "POST":
        return path == _SENT
    return method in ("GET", "HEAD") and ".." not in path and _READ.fullmatch(path) is not None


class _Again:
    """A body that was read already, then whatever follows it: the word that the visitor has gone."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
        await send(message)

    return sending


async def _refuse(send: Send, status: int) -> None:
    headers = [(b"content-length", b"0"), (b"connection", b"close"), *_HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
