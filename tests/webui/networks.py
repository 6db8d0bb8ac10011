"""Names from a table, connections that are written down, and web servers on loopback: a network that leaves nothing."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpcore

from tests.fakes import photo_bytes
from webui.fetching import PhotoFetcher

PHOTO = photo_bytes((200, 30, 30))
TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody; to read whom to trust takes longer than most tests
PUBLIC, PUBLIC_6 = "93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"


class Names:
    """A resolver: every answer is used once, the last one for ever. Names it lacks are read as the C library reads
    them, numbers in any base included."""

    def __init__(self, answers: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self._answers = {name: list(lists) for name, lists in answers.items()}
        self.asked: list[str] = []

    def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        if host in self._answers:
            lists = self._answers[host]
            return lists.pop(0) if len(lists) > 1 else lists[0]
        return [socket.inet_ntoa(socket.inet_aton(host))]  # OSError for what is no number


class Network(httpcore.NetworkBackend):
    """Connections that are written down; they lead to a server on loopback, or to nobody."""

    def __init__(self, port: int | None = None) -> None:
        self.connected: list[tuple[str, int]] = []
        self._port = port

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: object = None,
    ) -> httpcore.NetworkStream:
        self.connected.append((host, port))
        if self._port is None:
            raise httpcore.ConnectError("nobody")
        return httpcore.SyncBackend().connect_tcp("127.0.0.1", self._port, timeout)


@contextmanager
def answering(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[int]:
    """A web server on loopback that answers every GET so; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def send(
    status: int = 200, body: bytes = PHOTO, headers: Mapping[str, str] | None = None
) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in (headers or {"Content-Length": str(len(body))}).items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    return answer


def fetcher(
    network: Network,
    answers: Mapping[str, Sequence[Sequence[str]]] | None = None,
    *,
    timeout_s: float = 60,
    max_bytes: int = 1_000_000,
) -> PhotoFetcher:
    names = Names({"shop.com": [[PUBLIC]], **(answers or {})})
    return PhotoFetcher(resolve=names, network=network, timeout_s=timeout_s, max_bytes=max_bytes, tls=TLS)
