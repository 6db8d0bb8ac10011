"""Clients that take their time: each step of a request has an end, and nobody else waits for it."""

import socket
from collections.abc import Iterable
from contextlib import suppress
from threading import Event, Thread
from typing import Any

import pytest

from tests.webui.running import TIMEOUT_S, Running, Start, as_response, one_answer, size_of_body, until_closed
from tests.webui.shop import problem
from webui.api.channel import Limits

SHORT_S = 0.4


def trickle(connection: socket.socket, data: bytes, stop: Event) -> None:
    """A byte every now and then."""
    with suppress(OSError):
        for byte in data:
            connection.sendall(bytes([byte]))
            if stop.wait(0.03):
                return


@pytest.mark.parametrize(
    ("begin", "rest", "limits"),
    [
        (b"POST / HTTP/1.1\r\nHost: a\r\nX: ", b"x" * 5000, Limits(header_s=SHORT_S)),
        (b"POST / HTTP/1.1\r\nContent-Length: 9000\r\n\r\n", b"x" * 5000, Limits(body_s=SHORT_S)),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 5000, Limits(body_s=SHORT_S)),
    ],
    ids=["headers", "body", "chunks"],
)
def test_who_trickles_is_told_that_it_took_too_long(begin: bytes, rest: bytes, limits: Limits) -> None:
    stop = Event()
    with Running(size_of_body, limits=limits) as server, server.connect() as connection:
        connection.sendall(begin)
        thread = Thread(target=trickle, args=(connection, rest, stop))
        thread.start()
        try:
            response = as_response(until_closed(connection))
        finally:
            stop.set()
            thread.join()
        problem(response, 408, "request_timeout")
        assert response.headers["connection"] == "close"
        assert server.post(b"four").text == "4"


def test_a_hundred_tricklers_hold_nobody_up() -> None:
    with Running(size_of_body, threads=1, queue=0, limits=Limits(header_s=TIMEOUT_S)) as server:
        connections = [server.connect() for _ in range(100)]
        try:
            for connection in connections:
                connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nx")
            assert server.post(b"four").text == "4"
        finally:
            for connection in connections:
                connection.close()


def test_a_connection_that_says_nothing_is_closed() -> None:
    with Running(size_of_body, limits=Limits(header_s=SHORT_S)) as server, server.connect() as connection:
        assert until_closed(connection) == b""


def test_a_connection_may_be_quiet_between_two_requests_but_not_for_ever() -> None:
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    limits = Limits(header_s=SHORT_S, idle_s=3 * SHORT_S)
    with Running(size_of_body, limits=limits) as server, server.connect() as connection:
        for _ in range(2):
            connection.sendall(request)
            assert one_answer(connection).text == "0"
            Event().wait(1.5 * SHORT_S)
        assert until_closed(connection) == b""


def test_who_does_not_fetch_an_answer_is_left() -> None:
    def large(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        start("200 OK", [("Content-Type", "text/plain")])
        return [bytes(16_000_000)]

    with Running(large, threads=1, queue=0, limits=Limits(answer_s=SHORT_S)) as server, server.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        connection.recv(1)
        Event().wait(4 * SHORT_S)
        fetched = len(until_closed(connection))
    assert fetched < 16_000_000


def test_the_time_of_an_answer_is_not_the_clients() -> None:
    def slow(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        Event().wait(4 * SHORT_S)
        return size_of_body(environ, start)

    limits = Limits(header_s=SHORT_S, body_s=SHORT_S, answer_s=SHORT_S)
    with Running(slow, limits=limits) as server, server.connect() as connection:
        for _ in range(2):
            connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nfour")
            assert one_answer(connection).text == "4"
