"""The API in this process and the page in one of its own, started and stopped together.

The page is a child process since Gradio is heavy, is not needed to search, and talks to the API like anybody else.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from threading import Event, Thread
from time import monotonic
from types import FrameType

import httpx

from engine.errors import BadCall, LookalikeError, MissingPackage, Unavailable
from webui.api.app import create_app, max_request_bytes
from webui.api.server import HttpServer
from webui.service import SearchService
from webui.state.state import State

START_S = 300.0  # seconds until both must answer: Gradio alone can take minutes on a machine that is busy
STOP_S = 5.0  # seconds the page has to end before it is killed
PAGE = (sys.executable, "-m", "webui.page")
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
    threads: int = 8,
    announce: Callable[[Addresses], None],
) -> None:
    """Serves until SIGINT or SIGTERM, then ends both calmly; to be called in the main thread.

    `state` says who may ask, None: everybody. `page_port` None serves no page; `page_command` is run with `--api`,
    `--host` and `--port`, and with the page's key, if there is one, in its environment. `announce` is called once, when
    both answer. Raises BadCall before anything starts, Unavailable when the page ends by itself or never answers.
    """
    if page_port is not None and page_port == port:
        raise BadCall(f"The API and the page cannot share port {port}; give the page another with --page-port.")
    stop = Event()
    with _stopping(stop):
        server = HttpServer(
            create_app(service, state), host=host, port=port, threads=threads, max_request_bytes=max_request_bytes()
        )
        page = None
        if page_port is not None:
            key = None if state is None else state.policy.page_key
            api = _url(_reachable(host), server.port)
            page = _start_page(page_command, api=api, host=host, port=page_port, key=key)
        watch = _Watch(Addresses(_url(host, server.port), None if page_port is None else _url(host, page_port)), page)
        watcher = Thread(target=watch.run, args=(stop, announce), daemon=True)
        watcher.start()
        try:
            server.run(stop)
        finally:
            stop.set()
            if page is not None:
                _end(page)
            watcher.join()
    if watch.failure is not None:
        raise watch.failure


class _Watch:
    """Waits until everything answers, tells, and from then on looks after the page."""

    def __init__(self, addresses: Addresses, page: "subprocess.Popen[bytes] | None") -> None:
        self.failure: LookalikeError | None = None
        self._addresses = addresses
        self._page = page

    def run(self, stop: Event, announce: Callable[[Addresses], None]) -> None:
        """Ends when `stop` is set; sets it, and `failure`, when the page fails."""
        try:
            self._await_answers(stop)
            if not stop.is_set():
                announce(self._addresses)
            while not stop.wait(0.2):
                self._check_page()
        except LookalikeError as error:
            self.failure = error
            stop.set()

    def _await_answers(self, stop: Event) -> None:
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


def _start_page(
    command: Sequence[str], *, api: str, host: str, port: int, key: str | None
) -> "subprocess.Popen[bytes]":
    # A session of its own: Ctrl-C in a terminal reaches only this process, which then ends the page.
    arguments = ["--api", api, "--host", host, "--port", str(port)]
    environment = os.environ if key is None else {**os.environ, PAGE_KEY: key}
    return subprocess.Popen([*command, *arguments], start_new_session=True, env=environment)


def _end(page: "subprocess.Popen[bytes]") -> None:
    page.terminate()
    try:
        page.wait(STOP_S)
    except subprocess.TimeoutExpired:
        page.kill()
        page.wait()


@contextmanager
def _stopping(stop: Event) -> Iterator[None]:
    """SIGINT and SIGTERM set `stop` for the time of the `with`; a second one ends the process as usual."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, _: FrameType | None) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _reachable(host: str) -> str:
    """An address that connects to what listens on `host`."""
    return _EVERYWHERE.get(host, host)


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
