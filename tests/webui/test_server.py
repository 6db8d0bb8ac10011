"""The server round the application: its own refusals are problems too, bodies stay in memory, its end is calm."""

import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from engine.errors import BadCall
from tests.webui.running import LIMIT, Running, as_response, size_of_body
from tests.webui.shop import problem
from webui.api.server import HttpServer

LARGE = 20_000_000  # bytes of an answer: more than a connection takes at once


def test_bodies_up_to_the_limit_arrive_whole_and_touch_no_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    chunks = [bytes(1000)] * 900

    with Running(size_of_body) as server:
        assert httpx.post(server.url, content=bytes(LIMIT - 1)).text == str(LIMIT - 1)
        assert httpx.post(server.url, content=iter(chunks)).text == "900000"  # without a Content-Length


def test_larger_bodies_are_refused_before_they_are_read_and_the_refusal_arrives() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n"

    with Running(size_of_body) as server:
        problem(as_response(server.raw(head)), 413, "too_large")
        # sent to the end all the same, as many clients do, and whatever length they said
        problem(as_response(server.raw(head + bytes(10_000_000))), 413, "too_large")
        problem(httpx.post(server.url, content=bytes(LIMIT + 1)), 413, "too_large")
        problem(httpx.post(server.url, content=iter([bytes(LIMIT // 4)] * 5)), 413, "too_large")


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"GARBAGE\r\n\r\n", 400, "malformed_request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: many\r\n\r\n", 400, "malformed_request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + b"x" * 300_000 + b"\r\n\r\n", 431, "headers_too_large"),
    ],
)
def test_what_is_no_http_is_a_problem(request_bytes: bytes, status: int, code: str) -> None:
    with Running(size_of_body) as server:
        problem(as_response(server.raw(request_bytes)), status, code)


def test_a_request_that_is_being_answered_is_answered_before_the_end() -> None:
    began, go_on = Event(), Event()

    def slow(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        began.set()
        go_on.wait(10)
        start("200 OK", [("Content-Type", "text/plain")])
        return [b"x" * LARGE]

    with Running(slow) as server, ThreadPoolExecutor() as pool:
        answer = pool.submit(httpx.get, server.url)
        assert began.wait(10)
        server.stop.set()
        go_on.set()
        assert len(answer.result(10).content) == LARGE
        server.thread.join(10)
        with pytest.raises(httpx.ConnectError):
            httpx.get(server.url)


def test_a_port_that_is_taken_is_told() -> None:
    with Running(size_of_body) as server, pytest.raises(BadCall, match=f"{server.port}.*choose another"):
        HttpServer(size_of_body, host="127.0.0.1", port=server.port, threads=1, max_request_bytes=LIMIT)


def test_a_host_that_is_not_ours_is_told() -> None:
    with pytest.raises(BadCall, match="no such host"):
        HttpServer(size_of_body, host="no such host", port=0, threads=1, max_request_bytes=LIMIT)


def test_an_answer_comes_whole_whatever_it_consists_of() -> None:
    answers: list[tuple[str, list[bytes], dict[str, str], bytes]] = [
        ("200 OK", [b"one"], {}, b"one"),
        ("200 OK", [b"one", b"", b"two"], {"Content-Length": "6"}, b"onetwo"),
        ("200 OK", [], {"Content-Length": "0"}, b""),
        ("200 OK", [b"too much"], {"Content-Length": "3"}, b"too"),
        ("304 Not Modified", [b"ignored"], {}, b""),
        ("204 No Content", [], {}, b""),
    ]

    def said(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        status, chunks, headers, _ = answers[int(environ["PATH_INFO"][1:])]
        start(status, list(headers.items()))
        return chunks

    with Running(said) as server:
        for number, (status, _, _, body) in enumerate(answers):
            response = server.post(b"", f"/{number}")
            assert (f"{response.status_code} {response.reason_phrase}", response.content) == (status, body)
