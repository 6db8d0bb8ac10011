"""More requests than can be answered: the rest is refused at once, and the server goes on saying how it is."""

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from select import select

import httpx
import pytest

from tests.webui.running import (
    TIMEOUT_S,
    Gate,
    Running,
    as_response,
    one_answer,
    size_of_body,
    until,
    until_closed,
)
from tests.webui.shop import problem
from webui.api.channel import Limits


def refused(response: httpx.Response) -> None:
    assert "try again" in problem(response, 503, "busy")
    assert int(response.headers["retry-after"]) >= 1


def test_what_finds_no_room_is_refused_while_the_others_still_wait() -> None:
    gate = Gate()
    with Running(gate, threads=2, queue=3) as server, ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(server.post, b"photo") for _ in range(8)]
        until(lambda: sum(one.done() for one in asked) == 3)

        for one in asked:
            if one.done():
                refused(one.result())
        gate.open.set()
        answered = [one.result(TIMEOUT_S) for one in asked]

        assert sorted(one.status_code for one in answered) == [200] * 5 + [503] * 3
        assert server.post(b"photo").text == "through"


def test_a_refused_client_keeps_its_connection() -> None:
    gate = Gate()
    request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nphoto"
    with (
        Running(gate, threads=1, queue=0) as server,
        ThreadPoolExecutor() as pool,
        server.connect() as connection,
    ):
        first = pool.submit(server.post, b"")
        until(lambda: gate.entered == 1)
        for _ in range(3):
            connection.sendall(request)
            response = one_answer(connection)
            refused(response)
            assert "connection" not in response.headers
        gate.open.set()
        assert first.result(TIMEOUT_S).text == "through"
        connection.sendall(request)
        assert one_answer(connection).text == "through"


def test_a_saturated_server_says_that_it_is_alive() -> None:
    gate = Gate()
    with Running(gate, threads=1, queue=0) as server, ThreadPoolExecutor() as pool:
        first = pool.submit(server.post, b"")
        until(lambda: gate.entered == 1)
        assert server.post(b"", "/healthz").text == "through"
        gate.open.set()
        first.result(TIMEOUT_S)


def test_an_answer_to_head_has_no_body() -> None:
    gate = Gate()
    with (
        Running(gate, threads=1, queue=0) as server,
        ThreadPoolExecutor() as pool,
        server.connect() as connection,
    ):
        first = pool.submit(server.post, b"")
        until(lambda: gate.entered == 1)
        connection.sendall(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert one_answer(connection, "HEAD").status_code == 503
        connection.sendall(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert one_answer(connection, "HEAD").status_code == 503  # a body would have been taken for this answer
        gate.open.set()
        first.result(TIMEOUT_S)


def test_bodies_together_are_bounded() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 420000\r\n\r\n"
    with Running(size_of_body, limits=Limits(body_bytes=1_000_000)) as server, ExitStack() as stack:
        connections = [stack.enter_context(server.connect()) for _ in range(3)]
        for connection in connections:
            connection.sendall(head + bytes(400_000))
        (one_too_many,), _, _ = select(connections, [], [], TIMEOUT_S)
        refused(as_response(until_closed(one_too_many)))
        connections.remove(one_too_many)
        for connection in connections:
            connection.sendall(bytes(20_000))
            assert one_answer(connection).text == "420000"
        assert server.post(bytes(500_000)).text == "500000"


def test_the_log_tells_of_refusals_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    with (
        caplog.at_level(logging.WARNING),
        Running(gate, threads=1, queue=0) as server,
        ThreadPoolExecutor() as pool,
    ):
        first = pool.submit(server.post, b"")
        until(lambda: gate.entered == 1)
        for _ in range(5):
            refused(server.post(b""))
        gate.open.set()
        first.result(TIMEOUT_S)
    assert len(caplog.records) == 1
