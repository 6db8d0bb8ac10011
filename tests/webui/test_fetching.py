"""Photos by URL: what must not be fetched is never connected to, what may be is fetched within its limits.

No test looks a name up or leaves this machine: names come from a table, and connections to public addresses end at a
server on loopback, or nowhere.
"""

import socket
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import BadUrl, Busy
from tests.webui.blocked_urls import BLOCKED, PRIVATE, PRIVATE_6
from tests.webui.networks import PHOTO, PUBLIC, PUBLIC_6, TLS, Names, Network, answering, fetcher, send
from webui.fetching import AT_ONCE, PhotoFetcher
from webui.public_addresses import is_public

# --- What is never connected to --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(0, len(BLOCKED), 25))
def test_two_hundred_urls_are_refused_without_a_connection(number: int) -> None:
    assert len(BLOCKED) >= 200
    for url in BLOCKED[number : number + 25]:
        network = Network()

        with pytest.raises(BadUrl) as raised:
            fetcher(network).fetch(url)

        assert network.connected == [], url
        assert str(raised.value).endswith("."), url
        assert "\n" not in str(raised.value), url


@pytest.mark.parametrize("address", [*PRIVATE, *PRIVATE_6])
def test_a_name_that_leads_to_a_private_address_is_refused_without_a_connection(address: str) -> None:
    for addresses in ([address], [PUBLIC, address], [address, PUBLIC]):
        network = Network()

        with pytest.raises(BadUrl, match="not found among public addresses"):
            fetcher(network, {"evil.com": [addresses]}).fetch("http://evil.com/a.jpg")

        assert network.connected == []


def test_unknown_and_private_names_are_told_alike() -> None:
    said = []
    for answers in ({"a.com": [["10.0.0.1"]]}, {"a.com": [[]]}, {}):
        with pytest.raises(BadUrl) as raised:
            fetcher(Network(), answers).fetch("http://a.com/a.jpg")
        said.append(str(raised.value))

    assert len(set(said)) == 1


def test_a_name_that_changes_its_address_is_asked_once_and_the_checked_address_is_connected_to() -> None:
    names = Names({"rebind.com": [[PUBLIC], ["127.0.0.1"]]})
    with answering(send()) as port:
        network = Network(port)

        assert (
            PhotoFetcher(resolve=names, network=network, timeout_s=60, tls=TLS).fetch("http://rebind.com/a.jpg")
            == PHOTO
        )

    assert names.asked == ["rebind.com"]
    assert network.connected == [(PUBLIC, 80)]


def test_a_name_that_changes_between_two_fetches_is_checked_again() -> None:
    network = Network()
    changing = fetcher(network, {"rebind.com": [["127.0.0.1"], [PUBLIC]]})

    with pytest.raises(BadUrl, match="not found among public"):
        changing.fetch("http://rebind.com/a.jpg")
    with pytest.raises(BadUrl, match="does not answer"):
        changing.fetch("http://rebind.com/a.jpg")

    assert network.connected == [(PUBLIC, 80)]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1/a.jpg",
        "http://169.254.169.254/latest/meta-data",
        "http://2130706433/",
        "http://[::ffff:127.0.0.1]/",
        "//localhost/a.jpg",
        "//10.0.0.1",
        "http://evil.com/",
        "http://shop.com:6379/",
        "http://user@shop.com/",
        "file:///etc/passwd",
        "\\\\127.0.0.1\\",
        "http://shop.com\\@127.0.0.1/",
    ],
)
def test_a_redirect_is_checked_as_a_new_url(status: int, location: str) -> None:
    with answering(send(status, b"", {"Location": location, "Content-Length": "0"})) as port:
        network = Network(port)

        with pytest.raises(BadUrl):
            fetcher(network, {"evil.com": [["192.168.0.1"]]}).fetch("http://shop.com/a.jpg")

    assert network.connected == [(PUBLIC, 80)]  # the first, and nothing after it


def test_a_redirect_back_to_a_name_that_has_changed_is_refused() -> None:
    with answering(send(302, b"", {"Location": "/again", "Content-Length": "0"})) as port:
        network = Network(port)

        with pytest.raises(BadUrl, match="not found among public"):
            fetcher(network, {"rebind.com": [[PUBLIC], ["127.0.0.1"]]}).fetch("http://rebind.com/a.jpg")

    assert network.connected == [(PUBLIC, 80)]


# --- Which addresses are public --------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", [PUBLIC, PUBLIC_6, "1.1.1.1", "8.8.8.8", "223.255.255.254", "2001:4860:4860::8888"])
def test_public_addresses_are(address: str) -> None:
    assert is_public(address)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_ipv4_address_is_public_inside_an_ipv6_address(number: int) -> None:
    inside = IPv4Address(number)
    high, low = number >> 16, number & 0xFFFF

    assert not is_public(f"::ffff:{inside}")
    assert not is_public(f"::{inside}")
    assert not is_public(f"64:ff9b::{inside}")
    assert not is_public(f"2002:{high:x}:{low:x}::1")
    assert not is_public(f"2001:0:{high:x}:{low:x}::1")
    assert not is_public(f"2606:2800::5efe:{inside}")


@settings(deadline=None)
@given(st.ip_addresses())
def test_what_python_knows_to_be_special_is_not_public(address: IPv4Address | IPv6Address) -> None:
    if address.is_private or address.is_multicast or address.is_reserved:
        assert not is_public(str(address))


@settings(deadline=None)
@given(st.text())
def test_what_is_no_address_is_not_public(text: str) -> None:
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except (OSError, ValueError):
        assert not is_public(text)


# --- What is fetched -------------------------------------------------------------------------------------------------


def test_a_photo_is_fetched_from_the_address_that_was_checked() -> None:
    asked: list[tuple[str, Mapping[str, str]]] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        asked.append((request.path, dict(request.headers)))
        send()(request)

    with answering(answer) as port:
        network = Network(port)
        assert fetcher(network).fetch("http://shop.com/b%20c/ä.jpg?size=1&x=%41#part") == PHOTO

    assert network.connected == [(PUBLIC, 80)]
    ((path, headers),) = asked
    assert path == "/b%20c/%C3%A4.jpg?size=1&x=%41"
    assert headers["Host"] == "shop.com"
    assert headers["Accept-Encoding"] == "identity"
    assert not {"Cookie", "Authorization", "Referer"} & set(headers)


def test_the_next_address_is_tried_where_one_does_not_answer() -> None:
    network = Network()

    with pytest.raises(BadUrl, match="does not answer"):
        fetcher(network, {"two.com": [[PUBLIC_6, PUBLIC]]}).fetch("https://two.com/")

    assert network.connected == [(PUBLIC_6, 443), (PUBLIC, 443)]


def test_names_in_other_letters_are_looked_up_in_ascii() -> None:
    names = Names({"xn--bcher-kva.com": [[PUBLIC]]})
    with answering(send()) as port:
        assert (
            PhotoFetcher(resolve=names, network=Network(port), timeout_s=60, tls=TLS).fetch("http://BÜCHER.com./")
            == PHOTO
        )

    assert names.asked == ["xn--bcher-kva.com"]


def test_redirects_are_followed_three_times() -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        left = int(request.path.strip("/"))
        if left:
            send(302, b"", {"Location": f"{left - 1}", "Content-Length": "0"})(request)
        else:
            send()(request)

    with answering(answer) as port:
        network = Network(port)
        assert fetcher(network).fetch("http://shop.com/3") == PHOTO
        with pytest.raises(BadUrl, match="redirects more than 3 times"):
            fetcher(network).fetch("http://shop.com/4")


@pytest.mark.parametrize("status", [204, 206, 300, 304, 400, 401, 404, 500])
def test_a_status_that_brings_no_photo_is_told(status: int) -> None:
    with answering(send(status, b"", {"Content-Length": "0"})) as port, pytest.raises(BadUrl, match=f"status {status}"):
        fetcher(Network(port)).fetch("http://shop.com/a.jpg")


@pytest.mark.parametrize("headers", [{"Content-Length": "100000"}, {"Connection": "close"}])
def test_no_more_is_read_than_a_photo_may_have(headers: Mapping[str, str]) -> None:
    with answering(send(200, bytes(100_000), headers)) as port:
        assert len(fetcher(Network(port), max_bytes=100_000).fetch("http://shop.com/a.jpg")) == 100_000
        with pytest.raises(BadUrl, match="more than the 99,999 bytes"):
            fetcher(Network(port), max_bytes=99_999).fetch("http://shop.com/a.jpg")


@pytest.mark.parametrize("prologue", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"])
def test_a_host_that_sends_a_byte_now_and_then_is_given_up(prologue: bytes) -> None:
    stop = threading.Event()

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(prologue)
        while not stop.wait(0.05):
            try:
                request.wfile.write(b"H")
            except OSError:
                return

    with answering(answer) as port:
        with pytest.raises(BadUrl, match=r"more than 0\.5 seconds|does not answer"):
            fetcher(Network(port), timeout_s=0.5).fetch("http://shop.com/a.jpg")
        stop.set()


def test_a_name_server_that_never_answers_is_given_up() -> None:
    never = threading.Event()

    def resolve(_: str) -> Sequence[str]:
        never.wait(60)
        return [PUBLIC]

    network = Network()
    with pytest.raises(BadUrl, match="not found among public"):
        PhotoFetcher(resolve=resolve, network=network, timeout_s=0.2, tls=TLS).fetch("http://shop.com/a.jpg")
    never.set()

    assert network.connected == []


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 100_000])
def test_what_is_no_web_server_is_told(answer: bytes) -> None:
    with (
        answering(lambda request: request.wfile.write(answer)) as port,
        pytest.raises(BadUrl, match="does not answer as a web server does"),
    ):
        fetcher(Network(port)).fetch("http://shop.com/a.jpg")


def test_too_many_at_once_are_told_to_come_again() -> None:
    going, done = threading.Semaphore(0), threading.Event()

    def resolve(_: str) -> Sequence[str]:
        going.release()
        done.wait(60)
        return []

    busy = PhotoFetcher(resolve=resolve, network=Network(), timeout_s=60, tls=TLS)
    threads = [threading.Thread(target=_refused, args=(busy,)) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for _ in threads:
        going.acquire()

    with pytest.raises(Busy):
        busy.fetch("http://a.com/")

    done.set()
    for thread in threads:
        thread.join()
    _refused(busy)


def _refused(fetching: PhotoFetcher) -> None:
    with pytest.raises(BadUrl):
        fetching.fetch("http://a.com/")


@settings(deadline=None)
@given(st.text(max_size=60) | st.text(max_size=40).map(lambda text: f"http://{text}/"))
def test_any_text_is_refused_or_goes_to_a_public_address(text: str) -> None:
    network = Network()

    with pytest.raises(BadUrl):
        fetcher(network).fetch(text)

    assert all(is_public(host) for host, _ in network.connected)
