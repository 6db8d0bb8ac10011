"""A server in a thread, and what is needed to speak to it in bytes."""

import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from http.client import HTTPResponse
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any

import httpx

from webui.api.channel import Limits
from webui.api.server import HttpServer

LIMIT = 1_000_000  # bytes of a body
TIMEOUT_S = 180.0  # after which a test has failed

Start = Callable[..., Any]
App = Callable[[dict[str, Any], Start], Iterable[bytes]]


def size_of_body(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    """An application that answers with the number of bytes it was sent."""
    size = len(environ["wsgi.input"].read())
    start("200 OK", [("Content-Type", "text/plain")])
    return [str(size).encode()]


class Gate:
    """An application that answers when it is let: `entered` counts who came, `open` lets all of them go."""

    def __init__(self, body: bytes = b"through") -> None:
        self.open = Event()
        self.entered = 0
        self._body = body

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/healthz":
            self.entered += 1
            assert self.open.wait(TIMEOUT_S)
        start("200 OK", [("Content-Type", "text/plain")])
        return [self._body]


class Running:
    """A server in a thread of its own, for the time of the `with`; it has begun to run then, unless told otherwise."""

    def __init__(
        self, app: App, *, threads: int = 2, queue: int = 8, limits: Limits | None = None, run: bool = True
    ) -> None:
        self.stop = Event()
        server = HttpServer(app, threads=threads, queue=queue, max_request_bytes=LIMIT, limits=limits)
        self.port = server.port
        self.url = f"http://127.0.0.1:{server.port}"
        self.thread = Thread(target=server.run, args=(self.stop,))
        self._run = run

    def __enter__(self) -> "Running":
        if self._run:
            self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        if not self.thread.is_alive() and self.thread.ident is None:
            self.thread.start()
        self.thread.join()

    def connect(self) -> socket.socket:
        """A connection of its own."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S)

    def post(self, body: bytes, path: str = "/") -> httpx.Response:
        """What is answered to this body, on a connection of its own."""
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        return speak(self.port, head.encode() + body)

    def raw(self, request: bytes) -> bytes:
        """What is answered to these bytes until the connection ends."""
        with self.connect() as connection:
            connection.sendall(request)
            return until_closed(connection)


def speak(port: int, request: bytes) -> httpx.Response:
    """What is answered to a request that ends its connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as connection:
        connection.sendall(request)
        return as_response(until_closed(connection))


def until_closed(connection: socket.socket) -> bytes:
    """All that comes until the other end closes."""
    answer = b""
    # a server that ends a connection with bytes unread resets it, after its answer
    with suppress(ConnectionResetError):
        while received := connection.recv(65536):
            answer += received
    return answer


def one_answer(connection: socket.socket, method: str = "POST") -> httpx.Response:
    """The next answer on a connection that goes on afterwards; only one may be on its way."""
    answer = HTTPResponse(connection, method=method)
    answer.begin()
    return httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read())


def as_response(raw: bytes) -> httpx.Response:
    """An answer's bytes as httpx has them."""
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return httpx.Response(int(first.split()[1]), headers=headers, content=body)


def until(true: Callable[[], bool]) -> None:
    """Waits for something to become true."""
    deadline = monotonic() + TIMEOUT_S
    while not true():
        assert monotonic() < deadline
        sleep(0.002)
