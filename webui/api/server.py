"""The HTTP server round the application: waitress, with bodies kept in memory, errors as problems, and a calm end.

Waitress would write bodies above half a megabyte, so most photos, into temporary files, would answer what it refuses
by itself in plain text, and would drop the answers that are on their way when it is stopped.
"""

from collections.abc import Callable
from threading import Event
from time import monotonic
from typing import Any

from waitress import create_server, wasyncore
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer
from waitress.task import ErrorTask

from engine.errors import BadCall
from webui.problems import MEDIA_TYPE, of_status

GRACE_S = 5.0  # seconds that running requests are given to end
ANSWER_BYTES = 64 * 1024 * 1024  # more than any answer has


class _ProblemTask(ErrorTask):  # type: ignore[misc]  # waitress has no types
    """Answers a request that never reaches the application: too large, or no HTTP."""

    def execute(self) -> None:
        problem = of_status(self.request.error.code)
        body = problem.model_dump_json().encode()
        self.status = f"{problem.status} {problem.title}"
        self.response_headers.append(("Content-Type", MEDIA_TYPE))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Channel(HTTPChannel):  # type: ignore[misc]
    error_task_class = _ProblemTask


class HttpServer:
    """Listens from the moment it is made, answers while `run` runs.

    `threads` requests are answered at once, others wait. Raises BadCall where it cannot listen; `port` 0 takes a free
    one.
    """

    def __init__(self, app: Callable[..., Any], *, host: str, port: int, threads: int, max_request_bytes: int) -> None:
        self._sockets: dict[int, Any] = {}
        try:
            self._server = create_server(
                app,
                map=self._sockets,
                host=host,
                port=port,
                threads=threads,
                ident="lookalike",
                max_request_body_size=max_request_bytes,
                inbuf_overflow=max_request_bytes + 1,  # beyond it, bodies would go to a file
                outbuf_overflow=ANSWER_BYTES,  # and answers, which are in memory already
            )
        except (OSError, ValueError) as error:
            wasyncore.close_all(self._sockets)
            raise BadCall(f"Cannot listen on {host}:{port} ({error}); choose another address or port.") from None
        for listener in self._listeners():
            listener.channel_class = _Channel
        self.port = int(self._listeners()[0].effective_port)

    def run(self, stop: Event) -> None:
        """Answers until `stop` is set, then ends: no new connections, and `GRACE_S` for what is being answered."""
        while not stop.is_set():
            self._turn()
        for listener in self._listeners():
            # only its socket: the answering threads still need what else it has
            wasyncore.dispatcher.close(listener)
        deadline = monotonic() + GRACE_S
        while self._busy() and monotonic() < deadline:
            self._turn()
        self._server.task_dispatcher.shutdown(timeout=max(deadline - monotonic(), 0.1))
        wasyncore.close_all(self._sockets)

    def _turn(self) -> None:
        wasyncore.loop(timeout=0.25, use_poll=True, map=self._sockets, count=1)

    def _listeners(self) -> list[Any]:
        return [one for one in self._sockets.values() if isinstance(one, BaseWSGIServer)]

    def _busy(self) -> bool:
        channels = [one for one in self._sockets.values() if isinstance(one, HTTPChannel)]
        return any(channel.requests or channel.total_outbufs_len for channel in channels)
