"""Photos by URL, for servers that allow it: only from public addresses, and never more than a photo.

A URL from a stranger is a request that this server makes for him, from where it stands. So a name is looked up once,
every address it has must be public, and the connection goes to that very address, whatever the name says a moment
later; a redirect is a new URL and checked from the beginning. What is refused is refused before anything is connected
to. Proxies named by the environment are not used: they would look names up themselves.
"""

import re
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from queue import Empty, SimpleQueue
from threading import Semaphore, Thread
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx

from engine.errors import BadUrl, Busy
from engine.settings import settings
from webui.public_addresses import is_public

MAX_URL = 2048  # characters
PORTS = {"http": 80, "https": 443}  # others are rarely a shop's, and often somebody's service
AT_ONCE = 4  # URLs fetched at the same time: a slow host must not take all threads of the server
LOOKUPS = 16  # names looked up at the same time: a lookup cannot be broken off, only no longer waited for

_SPOILT = re.compile(r"[\x00-\x20\x7f\\]")  # browsers and libraries disagree about what these mean
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
# Names that mean something on a machine or in a house, and nothing outside (RFC 6761, 6762, 8375, 9476).
_PRIVATE_SUFFIXES = ("localhost", "local", "localdomain", "internal", "intranet", "lan", "home", "corp", "arpa", "alt")
_HEADERS = [
    (b"User-Agent", b"lookalike"),
    (b"Accept", b"image/jpeg, image/png, image/webp"),
    (b"Accept-Encoding", b"identity"),  # a photo is compressed already, and a bomb would be too
]
_REDIRECTS = (301, 302, 303, 307, 308)

Resolve = Callable[[str], Sequence[str]]
"""A host's name -> its addresses in digits. Raises OSError where it has none."""


def system_resolve(host: str) -> Sequence[str]:
    """What the system says the addresses of `host` are."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


class PhotoFetcher:
    """Fetches photos from the public internet; safe to share between threads."""

    def __init__(
        self,
        *,
        max_bytes: int | None = None,
        timeout_s: float = 5.0,
        max_redirects: int = 3,
        resolve: Resolve = system_resolve,
        network: httpcore.NetworkBackend | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`max_bytes` is by default what the settings allow a photo; `timeout_s` is for all of it, redirects included.

        `resolve` looks names up, `network` connects to addresses; `tls` says whom to trust, by default what certifi
        does.
        """
        self._max_bytes = settings().max_photo_bytes if max_bytes is None else max_bytes
        self._timeout_s = timeout_s
        self._max_redirects = max_redirects
        self._resolve = resolve
        self._network = network or httpcore.SyncBackend()
        self._tls = tls or httpcore.default_ssl_context()
        self._fetches, self._lookups = Semaphore(AT_ONCE), Semaphore(LOOKUPS)

    def fetch(self, url: str) -> bytes:
        """The bytes at a URL, which may or may not be a photo.

        Raises BadUrl where it must not be fetched or cannot be, Busy where too many others are being fetched.
        """
        if not self._fetches.acquire(blocking=False):
            raise Busy(f"{AT_ONCE} photos are being fetched already; try again in a moment, or send the photo itself.")
        try:
            return self._follow(url, monotonic() + self._timeout_s)
        except httpcore.TimeoutException:
            raise BadUrl(
                f"The photo's URL takes more than {self._timeout_s:g} seconds to answer; send the photo itself."
            ) from None
        except (httpcore.NetworkError, httpcore.ProtocolError):
            raise BadUrl("The photo's URL does not answer as a web server does; send the photo itself.") from None
        finally:
            self._fetches.release()

    def _follow(self, url: str, deadline: float) -> bytes:
        for _ in range(self._max_redirects + 1):
            place = _Place.of(url)
            with self._opened(place, deadline) as response:
                location = {name.lower(): value for name, value in response.headers}.get(b"location")
                if response.status not in _REDIRECTS or location is None:
                    return self._body(response)
            url = _joined(url, location.decode("latin-1"))
        raise BadUrl(f"The photo's URL redirects more than {self._max_redirects} times; send the last address itself.")

    @contextmanager
    def _opened(self, place: "_Place", deadline: float) -> Iterator[httpcore.Response]:
        network = _Pinned(self._network, self._public_addresses(place.host, deadline), deadline)
        url = httpcore.URL(
            scheme=place.scheme.encode(), host=place.host.encode(), port=PORTS[place.scheme], target=place.target
        )
        with (
            httpcore.ConnectionPool(ssl_context=self._tls, network_backend=network) as connections,
            connections.stream("GET", url, headers=_HEADERS) as response,
        ):
            yield response

    def _body(self, response: httpcore.Response) -> bytes:
        if response.status != httpx.codes.OK:
            raise BadUrl(f"The photo's URL answers with status {response.status}; check it, or send the photo itself.")
        body = bytearray()
        for part in response.iter_stream():
            body += part
            if len(body) > self._max_bytes:
                raise BadUrl(
                    f"The photo's URL has more than the {self._max_bytes:,} bytes allowed; send a smaller one."
                )
        return bytes(body)

    def _public_addresses(self, host: str, deadline: float) -> Sequence[str]:
        """The addresses of a host, all of them public."""
        addresses = [host] if _is_address(host) else self._look_up(host, deadline)
        # one sentence for unknown and for private names: the difference would tell what a network has
        if not addresses or not all(map(is_public, addresses)):
            raise BadUrl(f"The host {host!r} is not found among public addresses; send the photo itself.")
        return addresses

    def _look_up(self, host: str, deadline: float) -> Sequence[str]:
        """The addresses of a name, none where it has none or the answer takes too long."""
        if not self._lookups.acquire(blocking=False):
            raise Busy("Too many names are being looked up; try again in a moment, or send the photo itself.")
        found: SimpleQueue[Sequence[str]] = SimpleQueue()

        def look_up() -> None:
            try:
                found.put(self._resolve(host))
            except (OSError, UnicodeError):  # a name can be too long for the system's own rules
                found.put([])
            finally:
                self._lookups.release()

        Thread(target=look_up, name="look up", daemon=True).start()
        try:
            return found.get(timeout=max(deadline - monotonic(), 0))
        except Empty:
            return []


@dataclass(frozen=True, slots=True)
class _Place:
    """A URL that may be asked for, taken apart: what is connected to is what was checked, never a text read twice."""

    scheme: str
    host: str
    target: bytes

    @classmethod
    def of(cls, url: str) -> "_Place":
        """Raises BadUrl."""
        if len(url) > MAX_URL or _SPOILT.search(url):
            raise BadUrl(f"The photo's URL is longer than {MAX_URL} characters or has spaces in it; send another.")
        try:
            authority, parsed = urlsplit(url).netloc, httpx.URL(url)
            host = parsed.raw_host.decode("ascii").removesuffix(".")
        except (httpx.InvalidURL, ValueError):
            raise BadUrl("The photo's URL cannot be read; send one such as https://shop.com/photo.jpg.") from None
        if parsed.scheme not in PORTS or parsed.port not in (None, PORTS[parsed.scheme]) or "@" in authority:
            raise BadUrl("The photo's URL must be http or https, on its own port and without a user; send another.")
        if not _is_address(host) and not _is_public_name(host):
            raise BadUrl("The photo's URL has no public host; send one such as https://shop.com/photo.jpg.")
        return cls(parsed.scheme, host, parsed.raw_path)


class _Pinned(httpcore.NetworkBackend):
    """Connects to addresses that were checked, whatever host is asked for, and does nothing after `deadline`."""

    def __init__(self, network: httpcore.NetworkBackend, addresses: Sequence[str], deadline: float) -> None:
        self._network = network
        self._addresses = addresses
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError("no address")
        for number, address in enumerate(self._addresses):
            patience = _left(self._deadline) / (len(self._addresses) - number)
            try:
                stream = self._network.connect_tcp(address, port, patience, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _Bounded(stream, self._deadline)
        raise failure


class _Bounded(httpcore.NetworkStream):
    """A connection on which every wait ends at `deadline`; a host that sends a byte now and then cannot stretch it."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._deadline))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Bounded(self._stream.start_tls(ssl_context, server_hostname, _left(self._deadline)), self._deadline)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(deadline: float) -> float:
    left = deadline - monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("out of time")
    return left


def _joined(url: str, location: str) -> str:
    """Where a redirect leads, as a whole URL. Raises BadUrl."""
    if _SPOILT.search(location):
        raise BadUrl("The photo's URL redirects to what is no URL; send the photo itself.")
    try:
        return str(httpx.URL(url).join(location))
    except (httpx.InvalidURL, ValueError):
        raise BadUrl("The photo's URL redirects to what is no URL; send the photo itself.") from None


def _is_address(host: str) -> bool:
    """Whether a host is an address in the one usual way of writing it."""
    try:
        IPv6Address(host) if ":" in host else IPv4Address(host)
    except AddressValueError:
        return False
    return "%" not in host


def _is_public_name(host: str) -> bool:
    """Whether a host is a name that can be public; addresses as one number, in octal or in hex are none."""
    labels = host.split(".")
    return (
        len(labels) > 1
        and all(map(_LABEL.fullmatch, labels))
        and not _NUMBER.fullmatch(labels[-1])
        and labels[-1] not in _PRIVATE_SUFFIXES
    )
