"""Load on a server, and what became of every request: answered, refused before it began, or lost."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from itertools import count
from select import select
from threading import Event, Lock, Thread
from urllib.parse import urlsplit

BOUNDARY = "photo-boundary"
TIMEOUT_S = 120.0


def form(photo: bytes, **fields: str) -> tuple[bytes, dict[str, str]]:
    """A search as browsers send it: body and headers."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="photo"; filename="photo"\r\n\r\n'
    body = b"".join((*parts, head.encode(), photo, f"\r\n--{BOUNDARY}--\r\n".encode()))
    return body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


@dataclass
class Seen:
    """What became of requests. `lost` has those that a server took and did not answer, in words."""

    statuses: Counter[int] = field(default_factory=Counter)
    refused: int = 0  # connections that nobody listened for
    lost: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)  # 503 without Retry-After, answers that were not whole


@dataclass(frozen=True)
class Request:
    """A request to send again and again."""

    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    method: str = "POST"
    path: str = "/v1/search"


class Load:
    """Threads that each send one request after the other on a connection of their own, for the time of the `with`.

    `request_of` gives the n-th request of a thread; `told` hears the status of each answer, in the thread that asked.
    After a 503 a thread waits `pause_s`.
    """

    def __init__(
        self,
        address: str,
        request_of: Callable[[int, int], Request],
        *,
        threads: int = 8,
        pause_s: float = 0.02,
        told: Callable[[Request, int], None] = lambda request, status: None,
    ) -> None:
        parts = urlsplit(address)
        assert parts.hostname is not None and parts.port is not None
        self._host, self._port = parts.hostname, parts.port
        self._request_of = request_of
        self._pause_s = pause_s
        self._told = told
        self._stop = Event()
        self._lock = Lock()
        self.seen = Seen()
        self._threads = [Thread(target=self._run, args=(number,)) for number in range(threads)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def finish(self) -> Seen:
        """Ends the threads, each after its last answer."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return self.seen

    def answered(self) -> int:
        """How many requests have had an answer so far, whatever it was."""
        with self._lock:
            return self.seen.statuses.total()

    def _run(self, thread: int) -> None:
        connection: HTTPConnection | None = None
        for number in count():
            if self._stop.is_set():
                break
            if connection is not None and _was_closed(connection):
                connection = None
            if connection is None:
                connection = self._connect()
                if connection is None:
                    continue
            if not self._ask(connection, self._request_of(thread, number)):
                connection = None
        if connection is not None:
            connection.close()

    def _connect(self) -> HTTPConnection | None:
        connection = HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        try:
            connection.connect()
        except OSError:
            with self._lock:
                self.seen.refused += 1
            self._stop.wait(self._pause_s)
            return None
        return connection

    def _ask(self, connection: HTTPConnection, request: Request) -> bool:
        """Whether the connection may be used again."""
        try:
            connection.request(request.method, request.path, request.body, request.headers)
            response = connection.getresponse()
            body = response.read()
        except (OSError, HTTPException) as error:
            with self._lock:
                self.seen.lost.append(repr(error))
            with suppress(OSError):
                connection.close()
            return False
        with self._lock:
            self.seen.statuses[response.status] += 1
            self._check(response, body)
        self._told(request, response.status)
        if response.status == 503:
            self._stop.wait(self._pause_s)
        return not response.will_close

    def _check(self, response: HTTPResponse, body: bytes) -> None:
        if response.status == 503 and response.getheader("Retry-After") is None:
            self.seen.strange.append(f"503 without Retry-After: {body[:200]!r}")
        if response.status not in (304, 204) and not body.endswith(b"}"):
            self.seen.strange.append(f"{response.status} ends with {body[-50:]!r}")


def searches(photos: Sequence[bytes], **fields: str) -> Callable[[int, int], Request]:
    """Searches for these photos in turn."""
    requests = [Request(*form(photo, **fields)) for photo in photos]
    return lambda thread, number: requests[(thread + number) % len(requests)]


def _was_closed(connection: HTTPConnection) -> bool:
    """Whether the server ended it while nothing was asked: that loses no request, if one looks first."""
    return connection.sock is None or bool(select([connection.sock], [], [], 0)[0])
