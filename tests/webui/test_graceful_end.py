"""The end of a server: what was asked is answered, with a goodbye; what cannot be is refused; nothing hangs."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

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

REQUEST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nfour"


def test_a_connection_that_nobody_has_seen_yet_is_answered() -> None:
    with Running(size_of_body, run=False) as server:
        connections = [server.connect() for _ in range(5)]
        for connection in connections:
            connection.sendall(REQUEST)
        server.stop.set()
        server.thread.start()
        for connection in connections:
            response = as_response(until_closed(connection))
            assert (response.status_code, response.text) == (200, "4")
            assert response.headers["connection"] == "close"
            connection.close()


def test_a_request_that_is_arriving_is_answered() -> None:
    with Running(size_of_body) as server, server.connect() as connection:
        connection.sendall(REQUEST[:-2])
        server.post(b"")  # so those bytes have been read
        server.stop.set()
        until(lambda: refuses(server))
        connection.sendall(REQUEST[-2:])
        assert as_response(until_closed(connection)).text == "4"
        server.thread.join(TIMEOUT_S)
        assert not server.thread.is_alive()


def test_a_request_on_an_open_connection_is_answered_if_it_comes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webui.api.server.QUIET_S", TIMEOUT_S)  # "at once" however slow this machine is
    with Running(size_of_body) as server, server.connect() as connection:
        connection.sendall(REQUEST)
        assert one_answer(connection).text == "4"
        server.stop.set()
        until(lambda: refuses(server))  # an answer before the server has heard says no goodbye
        connection.sendall(REQUEST)
        response = as_response(until_closed(connection))
        assert (response.text, response.headers["connection"]) == ("4", "close")


def test_quiet_connections_are_closed_soon() -> None:
    with Running(size_of_body) as server, server.connect() as connection:
        connection.sendall(REQUEST)
        assert one_answer(connection).text == "4"
        server.stop.set()
        assert until_closed(connection) == b""


def test_what_waits_for_too_long_is_refused_and_what_hangs_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webui.api.server.REFUSE_AFTER_S", 0.3)
    monkeypatch.setattr("webui.api.server.GRACE_S", 1.5)
    gate = Gate()
    with Running(gate, threads=1, queue=3) as server, ThreadPoolExecutor(4) as pool:
        hanging = pool.submit(server.raw, REQUEST)
        until(lambda: gate.entered == 1)
        waiting = [pool.submit(server.raw, REQUEST) for _ in range(3)]
        Event().wait(0.2)
        server.stop.set()
        for one in waiting:
            response = as_response(one.result(TIMEOUT_S))
            problem(response, 503, "busy")
            assert response.headers["retry-after"]
        server.thread.join(TIMEOUT_S)
        assert not server.thread.is_alive()
        gate.open.set()
        assert hanging.result(TIMEOUT_S) == b""


def refuses(server: Running) -> bool:
    """Whether nobody listens any more."""
    try:
        server.connect().close()
    except ConnectionError:  # refused, or let go at the moment of the end
        return True
    return False
