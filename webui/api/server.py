"""The HTTP server round the application: waitress, with bodies kept in memory, errors as problems, and a calm end.

Waitress would write bodies above half a megabyte, so most photos, into temporary files, would answer what it refuses
by itself in plain text, would let any number of requests wait, and would drop the answers that are on their way when it
is stopped.
"""

import socket
from collections.abc import Callable, Sequence
from threading import Event
from time import monotonic
from typing import Any

from waitress import create_server, wasyncore
from waitress.server import BaseWSGIServer

from engine.errors import BadCall
from webui.api.channel import Channel, Limits, Step, channels_of, close_listener
from webui.api.dispatch import Dispatcher

QUEUE = 32  # requests that may wait for a thread
GRACE_S = 7.0  # seconds that running requests are given to end
REFUSE_AFTER_S = 5.0  # of these, after which requests that no thread has begun are refused
QUIET_S = 0.5  # of these, in which a connection may still bring a request that was on its way
TURN_S = 0.25  # seconds between two looks at the time
ANSWER_BYTES = 64 * 1024 * 1024  # more than any answer has
AT_ONCE_BYTES = 64 * 1024  # read from a connection at a time
CONNECTIONS = 1000  # at the same time; more wait until one of them has ended
BACKLOG = 1024  # connections that the kernel keeps meanwhile
URGENT = frozenset({"/healthz", "/readyz", "/metrics"})  # questions that a busy server answers before all others


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on `host`, one for each of its addresses; `port` 0 takes a free one, the same for all.

    Raises BadCall where that cannot be.
    """
    listening: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, address in dict.fromkeys(found):
            one = socket.socket(family, socket.SOCK_STREAM)
            listening.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind((address[0], port_of(listening[0]) or port, *address[2:]))
            one.listen(BACKLOG)
    except (OSError, ValueError, OverflowError) as error:
        for one in listening:
            one.close()
        raise BadCall(f"Cannot listen on {host}:{port} ({error}); choose another address or port.") from None
    return listening


def port_of(listening: socket.socket) -> int:
    """The port that a socket is bound to; 0 where it is to none yet."""
    return int(listening.getsockname()[1])


class HttpServer:
    """Listens from the moment it is made, answers while `run` runs.

    `threads` requests are answered at once, `queue` wait; others are refused with 503 and Retry-After, at once. Raises
    BadCall where it cannot listen; `port` 0 takes a free one. `sockets` that listen already are used instead of `host`
    and `port`, and are the server's own from then on.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        sockets: Sequence[socket.socket] = (),
        threads: int,
        queue: int = QUEUE,
        max_request_bytes: int,
        limits: Limits | None = None,
    ) -> None:
        listening = list(sockets) or listen(host, port)
        self.port = port_of(listening[0])
        self._sockets: dict[int, Any] = {}
        self._dispatcher = Dispatcher(threads, queue, URGENT.__contains__)
        self._channel: Any = type("Channel", (Channel,), {"limits": limits or Limits()})
        create_server(
            app,
            map=self._sockets,
            sockets=listening,
            threads=0,  # its own; ours follow
            ident="lookalike",
            backlog=BACKLOG,
            recv_bytes=AT_ONCE_BYTES,
            connection_limit=CONNECTIONS,
            channel_timeout=24 * 3600,  # what takes too long is ended here
            max_request_body_size=max_request_bytes,
            inbuf_overflow=max_request_bytes + 1,  # beyond it, bodies would go to a file
            outbuf_overflow=ANSWER_BYTES,  # and answers, which are in memory already
        )
        for listener in self._listeners():
            listener.task_dispatcher = self._dispatcher
            listener.channel_class = self._channel

    def run(self, stop: Event) -> None:
        """Answers until `stop` is set, then ends: no new connections, and `GRACE_S` for what is being answered."""
        looked = monotonic()
        while not stop.is_set():
            self._turn()
            if monotonic() - looked >= TURN_S:
                looked = monotonic()
                for channel in channels_of(self._sockets):
                    channel.expire(looked)
        self._end()

    def _turn(self) -> None:
        wasyncore.loop(timeout=TURN_S, use_poll=True, map=self._sockets, count=1)

    def _listeners(self) -> list[Any]:
        return [one for one in self._sockets.values() if isinstance(one, BaseWSGIServer)]

    # --- The end ---------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        self._channel.ending = True
        self._let_in_who_waits()
        for listener in self._listeners():
            close_listener(listener)
        began, refused = monotonic(), False
        while (lasted := monotonic() - began) < GRACE_S and self._is_needed(lasted):
            if lasted >= REFUSE_AFTER_S and not refused:
                refused = True
                self._dispatcher.refuse_waiting()
            self._turn()
        self._dispatcher.shutdown(max(GRACE_S - lasted, 0.1))
        wasyncore.close_all(self._sockets)

    def _let_in_who_waits(self) -> None:
        """Takes the connections that the kernel has made and nobody has seen: to close now would reset them."""
        for listener in self._listeners():
            before = -1
            while before < len(self._sockets) < CONNECTIONS:
                before = len(self._sockets)
                listener.handle_accept()

    def _is_needed(self, lasted: float) -> bool:
        """Whether a connection still brings a request or takes an answer; those that are quiet are ended."""
        now = monotonic()
        for channel in channels_of(self._sockets):
            step, quiet = channel.lasting(now)
            if step is Step.IDLE and min(lasted, quiet) >= QUIET_S:
                channel.abandon()
            else:
                channel.expire(now)
        return bool(channels_of(self._sockets))


def close_all(sockets: Sequence[socket.socket]) -> None:
    """Closes sockets that `listen` made."""
    for one in sockets:
        one.close()
