import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webui.page.doors import HEADERS, Doors, Message, Scope, is_open


class Inside:
    """An application that remembers what reached it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.after: list[str] = []

    async def __call__(self, scope: Scope, receive: object, send: object) -> None:
        self.bodies.append((await receive())["body"])
        self.after.append((await receive())["type"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b"inside"})


def ask(inside: Inside, method: str, path: str, *pieces: bytes, most: int = 10) -> list[Message]:
    """What is answered, a message each."""
    sent: list[Message] = []
    waiting = [
        {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
        for number, piece in enumerate(pieces, start=1)
    ] or [{"type": "http.request", "body": b"", "more_body": False}]
    waiting.append({"type": "http.disconnect"})

    async def receive() -> Message:
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    step = Doors(inside, most)({"type": "http", "method": method, "path": path}, receive, send)
    with pytest.raises(StopIteration):
        step.send(None)  # nothing in it waits for anything
    return sent


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("HEAD", "/"),
        ("GET", "/theme.css"),
        ("GET", "/favicon.ico"),
        ("GET", "/assets/index-Dx3.js"),
        ("GET", "/static/fonts/a/b.woff2"),
        ("GET", "/gradio_api/heartbeat/hb7zbxkz476"),
        ("GET", "/gradio_api/queue/data"),
        ("POST", "/gradio_api/queue/join"),
        ("GET", "/photos/17"),
    ],
)
def test_what_visitors_need_is_open(method: str, path: str) -> None:
    inside = Inside()
    start, body = ask(inside, method, path)
    assert start["status"] == 200
    assert (b"a", b"b") in start["headers"]
    assert {name.decode() for name, _ in start["headers"]} >= set(HEADERS)
    assert body["body"] == b"inside"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/gradio_api/upload"),
        ("POST", "/"),
        ("PUT", "/photos/1"),
        ("GET", "/gradio_api/file=/etc/passwd"),
        ("GET", "/assets/../config"),
        ("GET", "/photos/1/2"),
        ("GET", "/photos/x"),
        ("GET", "/config/secret"),
        ("GET", "/\n"),
        ("DELETE", "/"),
    ],
)
def test_all_else_is_shut(method: str, path: str) -> None:
    inside = Inside()
    assert ask(inside, method, path, b"abc")[0]["status"] == 404
    assert inside.bodies == []


@settings(deadline=None)
@given(st.lists(st.binary(max_size=6), min_size=1, max_size=5))
def test_a_body_goes_in_whole_or_not_at_all(pieces: list[bytes]) -> None:
    inside = Inside()
    status = ask(inside, "POST", "/gradio_api/queue/join", *pieces)[0]["status"]
    whole = b"".join(pieces)
    assert (status, inside.bodies) == ((200, [whole]) if len(whole) <= 10 else (413, []))
    assert inside.after == (["http.disconnect"] if status == 200 else [])


@settings(deadline=None)
@given(st.sampled_from(["GET", "HEAD", "POST", "PUT"]), st.text(st.sampled_from("/.%=\\:aé0_~"), max_size=12))
def test_no_path_that_climbs_is_open(method: str, path: str) -> None:
    if is_open(method, f"/static/{path}"):
        assert method in ("GET", "HEAD")
        assert ".." not in path
        assert not set(path) & set("%=\\:~")
