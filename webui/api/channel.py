"""One connection: what it may hold, how long each step may take, and how it ends.

Waitress reads a request whole before a thread sees it, so a slow client costs a connection and no thread. What it lacks
is here: an end to connections that only trickle, a bound on the bytes of all bodies together, errors as problems, and
endings in which the client gets to read the answer: closing a socket with unread bytes would reset it.
"""

import socket
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from time import monotonic
from typing import Any

from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.task import ErrorTask, WSGITask

from webui.problems import MEDIA_TYPE, RETRY_AFTER_S, of_saturation, of_status

LINGER_S = 2.0  # seconds in which a client may still send what nobody reads, so that it gets to read its answer


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients may take: seconds of each step, and bytes of bodies that are held at the same time."""

    header_s: float = 10.0  # from a request's first byte, or from connecting, to the end of its headers
    body_s: float = 60.0  # from there to the end of the body
    idle_s: float = 75.0  # between two requests of a connection; more than proxies keep theirs
    answer_s: float = 60.0  # in which an answer must be fetched
    body_bytes: int = 512 * 1024 * 1024  # of all bodies together; what comes on top of it is refused


class Step(Enum):
    """What a connection is doing."""

    IDLE = "idle"
    HEADER = "header"
    BODY = "body"
    ANSWERING = "answering"
    SENDING = "sending"
    LINGERING = "lingering"


class _Failed:
    """Why a request is not for the application, by its status; stands where waitress has its own errors."""

    def __init__(self, status: HTTPStatus) -> None:
        self.code = int(status)


class _ProblemTask(ErrorTask):  # type: ignore[misc]  # waitress has no types
    """Answers a request that never reaches the application: too large, too slow, too many, or no HTTP."""

    def execute(self) -> None:
        code = self.request.error.code
        busy = code == HTTPStatus.SERVICE_UNAVAILABLE
        problem = of_saturation() if busy else of_status(code)
        body = problem.model_dump_json().encode()
        self.status = f"{problem.status} {problem.title}"
        self.response_headers.append(("Content-Type", MEDIA_TYPE))
        if busy:
            self.response_headers.append(("Retry-After", str(RETRY_AFTER_S)))
        if not (busy and self.channel.read_whole(self.request)):
            self.channel.lingers = True
            self.set_close_on_finish()
        self.content_length = len(body)
        self.write(b"" if self.request_is_head() else body)

    def request_is_head(self) -> bool:
        return getattr(self.request, "command", "") == "HEAD"

    def build_response_header(self) -> bytes:
        return _header(self, super().build_response_header)


class _AnswerTask(WSGITask):  # type: ignore[misc]
    """Answers from the application; says goodbye where the server is about to end."""

    def write(self, data: bytes) -> None:
        # waitress would send the headers by themselves: another call of the system, after which others have the GIL
        self.channel.holding = bool(data) and not self.wrote_header
        super().write(data)
        self.channel.let_go()

    def build_response_header(self) -> bytes:
        return _header(self, super().build_response_header)


def _header(task: Any, build: Any) -> bytes:
    if task.channel.ending:
        task.set_close_on_finish()
    header: bytes = build()
    return header


class Channel(HTTPChannel):  # type: ignore[misc]
    """A connection; all but `service` happens in the event loop's thread."""

    request: Any  # that is arriving, or None
    requests: list[Any]  # that arrived: the first is being answered
    task_class = _AnswerTask
    error_task_class = _ProblemTask
    limits = Limits()  # a server's own are set on a class of its own
    holding = False  # what is written next is for the same packet as what follows it
    ending = False  # the server ends: no further request on this connection
    lingers = False  # close only when the client has had a moment to read its answer

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._answers = 0  # given on this connection, or about to be
        self._lingering = False
        self._held_back = b""
        self._state: tuple[Step, object] = (Step.IDLE, 0)
        self._since = monotonic()

    # --- Time ------------------------------------------------------------------------------------------------------

    def step(self) -> Step:
        """What it is doing now."""
        if self._lingering:
            return Step.LINGERING
        if self.requests:
            return Step.ANSWERING
        if self.total_outbufs_len:
            return Step.SENDING
        if self.request is None:
            return Step.IDLE
        return Step.BODY if self.request.headers_finished else Step.HEADER

    def lasting(self, now: float) -> tuple[Step, float]:
        """What it is doing, and for how many seconds: for the same request, as far as asking this often can tell."""
        step = self.step()
        state = (step, self.request if step in (Step.HEADER, Step.BODY) else self._answers)
        if state != self._state:
            self._state, self._since = state, now
        return step, now - self._since

    def expire(self, now: float) -> None:
        """Ends what has lasted too long."""
        (step, lasted), limits = self.lasting(now), self.limits
        allowed = {
            Step.IDLE: limits.idle_s if self._answers else limits.header_s,
            Step.HEADER: limits.header_s,
            Step.BODY: limits.body_s,
            Step.SENDING: limits.answer_s,
            Step.LINGERING: LINGER_S,
        }.get(step)
        if allowed is None or lasted <= allowed:
            return
        if step in (Step.HEADER, Step.BODY):
            self._fail(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self.abandon()

    def abandon(self) -> None:
        """Ends the connection now, whatever is on its way."""
        self._lingering, self.lingers = True, False
        self.handle_close()

    # --- Reading ---------------------------------------------------------------------------------------------------

    def readable(self) -> bool:
        return self._lingering or bool(super().readable())

    def handle_read(self) -> None:
        if not self._lingering:
            super().handle_read()
            return
        try:
            more = self.recv(self.adj.recv_bytes)
        except OSError:
            more = b""
        if not more:
            self.handle_close()

    def received(self, data: bytes) -> bool:
        answer = bool(super().received(data))
        if self.step() is Step.BODY and self._too_much_is_held():
            self._fail(HTTPStatus.SERVICE_UNAVAILABLE)
        return answer

    def held(self) -> int:
        """Bytes of bodies that this connection holds."""
        parts = [self.request, *self.requests]
        return sum(part.body_bytes_received for part in parts if part is not None)

    def read_whole(self, request: Any) -> bool:
        """Whether all of a request's body was read, so that another request may follow it."""
        return bool(request.headers_finished and (request.body_rcv is None or request.body_rcv.completed))

    def _too_much_is_held(self) -> bool:
        # a small body cannot be what fills the memory, and the sum is over all connections
        if self.held() < self.limits.body_bytes // 256:
            return False
        together: int = sum(channel.held() for channel in self.server.active_channels.values())
        return together > self.limits.body_bytes

    def _fail(self, status: HTTPStatus) -> None:
        """Answers the request that is arriving with an error, as if it had come to its end."""
        with self.requests_lock:
            failed, self.request = self.request, None
            if not failed.headers_finished:
                failed.parse_header(b"GET / HTTP/1.0\r\n")
            failed.error, failed.completed = _Failed(status), True
            if failed.body_rcv is not None:  # nobody will read it: its memory now, not when it was answered
                failed.body_rcv.getbuf().close()
                failed.body_bytes_received = 0
            self.requests.append(failed)
            if len(self.requests) == 1:
                self.server.add_task(self)

    # --- Answering -------------------------------------------------------------------------------------------------

    def refuse(self) -> None:
        """Turns the request that is to be answered into one that is refused, since too many wait."""
        self.requests[0].error = _Failed(HTTPStatus.SERVICE_UNAVAILABLE)

    def service(self) -> None:
        self._answers += 1  # before it is idle again, which this is told from
        super().service()

    def write_soon(self, data: Any) -> int:
        if self.holding:
            self._held_back, self.holding = data, False
            return len(data)
        if self._held_back and isinstance(data, bytes):
            data, self._held_back = self._held_back + data, b""
        self.let_go()
        return int(super().write_soon(data))

    def let_go(self) -> None:
        """Sends what was held back, if anything was."""
        held_back, self._held_back = self._held_back, b""
        if held_back:
            super().write_soon(held_back)

    # --- Ending ----------------------------------------------------------------------------------------------------

    def writable(self) -> bool:
        return not self._lingering and bool(super().writable())

    def handle_close(self) -> None:
        if self.lingers and not self._lingering and self.connected:
            self._lingering = True
            self.will_close = self.close_when_flushed = False
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
                return
        super().handle_close()


def channels_of(sockets: dict[int, Any]) -> list[Channel]:
    """The connections among waitress's sockets."""
    return [one for one in sockets.values() if isinstance(one, Channel)]


def close_listener(listener: Any) -> None:
    """Closes only its socket: the answering threads still need what else it has."""
    wasyncore.dispatcher.close(listener)
