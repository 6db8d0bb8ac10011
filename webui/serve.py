"""The API in this process or in workers, and the page in one of its own, started and stopped together.

The page is a child process since Gradio is heavy, is not needed to search, and talks to the API like anybody else.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from socket import socket
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import monotonic
from typing import Any

import httpx

from engine.errors import BadCall, LookalikeError, MissingPackage, Unavailable
from webui.api.app import create_app, max_request_bytes
from webui.api.server import QUEUE, HttpServer, listen, port_of
from webui.metrics import SHARED_FOLDER, forget_worker
from webui.service import SearchService
from webui.state.state import State
from webui.stopping import stopping
from webui.workers import OpenApp, Order, Workers

START_S = 300.0  # seconds until both must answer: Gradio alone can take minutes on a machine that is busy
STOP_S = 1.5  # seconds the page has to end, after the API has, before it is killed
PAGE = (sys.executable, "-m", "webui.page")
PAGE_HOST = "127.0.0.1"  # whatever the API listens on: the page has a key of its own and asks nobody for one
PAGE_KEY = "LOOKALIKE_API_KEY"  # variable of the page's process; command lines are there for everybody to read
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where to find what is served; `page` is None without a page."""

    api: str
    page: str | None


def require_page() -> None:
    """Raises MissingPackage where the page cannot be shown; asks without importing Gradio."""
    if find_spec("gradio") is None:
        raise MissingPackage(
            "The page needs gradio, which is not installed; install lookalike[page], or serve the API alone with "
            "--no-page."
        )


def serve(
    service: SearchService,
    *,
    state: State | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    page_port: int | None = 8001,
    page_command: Sequence[str] = PAGE,
    page_key: str | None = None,
    threads: int = 8,
    queue: int = QUEUE,
    announce: Callable[[Addresses], None],
) -> None:
    """Serves until SIGINT or SIGTERM, then ends both calmly; to be called in the main thread.

    `state` says who may ask, None: everybody. `threads` requests are answered at once and `queue` wait. `page_port`
    None serves no page; `page_command` is run with `--api` and `--port`, and with `page_key`, if there is one, in its
    environment, and listens on this machine only. `announce` is called once, when both answer. Raises BadCall before
    anything starts, Unavailable when the page ends by itself or never answers.
    """
    app = create_app(service, state)

    def answer(sockets: Sequence[socket], stop: Event, ready: Event) -> None:
        server = HttpServer(app, sockets=sockets, threads=threads, queue=queue, max_request_bytes=max_request_bytes())
        ready.set()
        server.run(stop)

    page: dict[str, Any] = {"page_port": page_port, "page_command": page_command, "page_key": page_key}
    _serve(answer, host=host, port=port, announce=announce, **page)


def serve_with_workers(
    open_app: OpenApp,
    *,
    workers: int,
    host: str = "127.0.0.1",
    port: int = 8000,
    page_port: int | None = 8001,
    page_command: Sequence[str] = PAGE,
    page_key: str | None = None,
    threads: int = 8,
    queue: int = QUEUE,
    announce: Callable[[Addresses], None],
) -> None:
    """`serve` by so many processes on the same port, each with threads and a queue of its own.

    `open_app`, which must be picklable, opens what answers in each of them. Raises what that raises, too.
    """
    order = Order(open_app, threads, queue, max_request_bytes())

    def answer(sockets: Sequence[socket], stop: Event, ready: Event) -> None:
        with TemporaryDirectory(prefix="lookalike-metrics-") as folder:
            environment, ended = {SHARED_FOLDER: folder}, partial(forget_worker, folder=folder)
            Workers(order, sockets, workers, environment=environment, ended=ended).run(stop, ready)

    page: dict[str, Any] = {"page_port": page_port, "page_command": page_command, "page_key": page_key}
    _serve(answer, host=host, port=port, announce=announce, **page)


def _serve(
    answer: Callable[[Sequence[socket], Event, Event], None],
    *,
    host: str,
    port: int,
    page_port: int | None,
    page_command: Sequence[str],
    page_key: str | None,
    announce: Callable[[Addresses], None],
) -> None:
    """`answer` is given listening sockets, which it closes, the event that ends it, and one to set when it is ready."""
    if page_port is not None and page_port == port:
        raise BadCall(f"The API and the page cannot share port {port}; give the page another with --page-port.")
    stop, ready = Event(), Event()
    with stopping(stop):
        sockets = listen(host, port)
        port = port_of(sockets[0])
        page = None
        if page_port is not None:
            page = _start_page(page_command, api=_url(_reachable(host), port), port=page_port, key=page_key)
        watch = _Watch(Addresses(_url(host, port), None if page_port is None else _url(PAGE_HOST, page_port)), page)
        watcher = Thread(target=watch.run, args=(ready, stop, announce), daemon=True)
        watcher.start()
        try:
            answer(sockets, stop, ready)
        finally:
            stop.set()
            watcher.join()
            if page is not None:
                _end(page, STOP_S)
    if watch.failure is not None:
        raise watch.failure


class _Watch:
    """Waits until everything answers, tells, and from then on looks after the page."""

    def __init__(self, addresses: Addresses, page: "subprocess.Popen[bytes] | None") -> None:
        self.failure: LookalikeError | None = None
        self._addresses = addresses
        self._page = page

    def run(self, ready: Event, stop: Event, announce: Callable[[Addresses], None]) -> None:
        """Ends when `stop` is set; sets it, and `failure`, when the page fails."""
        try:
            self._await_answers(ready, stop)
            if not stop.is_set():
                announce(self._addresses)
            while not stop.wait(0.2):
                self._check_page()
        except LookalikeError as error:
            self.failure = error
            stop.set()
        finally:
            if self._page is not None:
                self._page.terminate()  # it ends while the API answers its last requests

    def _await_answers(self, ready: Event, stop: Event) -> None:
        while not ready.wait(0.1):
            if stop.is_set():
                return
            self._check_page()
        deadline = monotonic() + START_S
        wanted = [f"{self._addresses.api}/healthz"]
        if self._addresses.page is not None:
            wanted.append(self._addresses.page)
        while wanted and not stop.is_set():
            self._check_page()
            if _answers(wanted[0]):
                wanted.pop(0)
            elif monotonic() > deadline:
                raise Unavailable(f"{wanted[0]} did not answer within {START_S:.0f} s; see the lines above for why.")
            else:
                stop.wait(0.1)

    def _check_page(self) -> None:
        if self._page is not None and (code := self._page.poll()) is not None:
            raise Unavailable(
                f"The page ended by itself (exit code {code}); see the lines above for why, or serve the API alone "
                "with --no-page."
            )


def _answers(url: str) -> bool:
    parts = httpx.URL(url)
    try:
        return httpx.get(parts.copy_with(host=_reachable(parts.host)), timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _start_page(command: Sequence[str], *, api: str, port: int, key: str | None) -> "subprocess.Popen[bytes]":
    # A session of its own: Ctrl-C in a terminal reaches only this process, which then ends the page.
    arguments = ["--api", api, "--port", str(port)]
    environment = os.environ if key is None else {**os.environ, PAGE_KEY: key}
    return subprocess.Popen([*command, *arguments], start_new_session=True, env=environment)


def _end(page: "subprocess.Popen[bytes]", timeout_s: float) -> None:
    """Waits for a page that was told to end, and kills it where it does not."""
    try:
        page.wait(timeout_s)
    except subprocess.TimeoutExpired:
        page.kill()
        page.wait()


def _reachable(host: str) -> str:
    """An address that connects to what listens on `host`."""
    return _EVERYWHERE.get(host, host)


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
