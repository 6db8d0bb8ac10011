"""Keys, scopes and rates over HTTP."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep

import httpx
import psycopg
import pytest

from lookalike.main import main
from tests.webui.shop import RED_PHOTO, open_shop, problem
from webui.api.app import create_app, max_request_bytes
from webui.api.guard import OPEN
from webui.api.server import HttpServer
from webui.client import Client
from webui.service import SearchService
from webui.state.key_store import KNOWN_FOR_S
from webui.state.keys import Scope, new_secret
from webui.state.rates import Rate
from webui.state.state import Policy, State


@contextmanager
def guarded(state: State) -> Iterator[httpx.Client]:
    """A client of the fake shop's API, which lets through what `state` admits."""
    app = create_app(SearchService(open_shop(), feedback=state), state)
    server = HttpServer(app, host="127.0.0.1", port=0, threads=4, max_request_bytes=max_request_bytes())
    stop = Event()
    thread = Thread(target=server.run, args=(stop,))
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as client:
            yield client
    finally:
        stop.set()
        thread.join()


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    """With a key or two, so closed."""
    with State.open(tmp_path_factory.mktemp("state") / "state.db", create=True, policy=Policy(rate=None)) as opened:
        yield opened


@pytest.fixture(scope="module")
def reader(state: State) -> str:
    return state.keys.create("reader", Scope.READ).text


@pytest.fixture(scope="module")
def writer(state: State) -> str:
    return state.keys.create("writer", Scope.WRITE).text


@pytest.fixture(scope="module")
def http(state: State, reader: str, writer: str) -> Iterator[httpx.Client]:
    with guarded(state) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


READING = [
    ("GET", "/v1/facets"),
    ("POST", "/v1/search"),
    ("POST", "/v1/search:batch"),
    ("POST", "/v1/predict"),
    ("POST", "/v1/feedback"),
    ("GET", "/facets"),
    ("GET", "/products/mug-1"),
    ("GET", "/photos/1"),
    ("HEAD", "/facets"),
    ("POST", "/search"),
    ("GET", "/metrics"),
    ("GET", "/nowhere"),
    ("GET", "//healthz"),
    ("GET", "/healthz/"),
    ("GET", "/docs/../facets"),
    ("GET", "/static/x"),
]
WRITING = [
    ("PUT", "/v1/products/mug-1"),
    ("DELETE", "/v1/products/mug-1"),
    ("DELETE", "/v1/products/mug-1/photos/1"),
    ("PUT", "/products/mug-1"),
    ("DELETE", "/products/mug-1"),
    ("PATCH", "/products/mug-1"),
    ("DELETE", "/x"),
]


@pytest.mark.parametrize(("method", "path"), READING + WRITING)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer " + new_secret().text},
        {"X-API-Key": new_secret().text},
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"Authorization": b"Bearer \xff\xfe"},
    ],
    ids=["none", "empty", "unknown", "unknown-x", "basic", "bytes"],
)
def test_no_or_a_bad_key_is_401_whatever_is_asked(
    http: httpx.Client, method: str, path: str, headers: dict[str, str]
) -> None:
    response = http.request(method, path, headers=headers)

    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer ")
    if method != "HEAD":
        problem(response, 401, "unauthorized")


@pytest.mark.parametrize(("method", "path"), WRITING)
def test_a_read_key_that_writes_is_403(http: httpx.Client, reader: str, method: str, path: str) -> None:
    assert "--scope write" in problem(http.request(method, path, headers=bearer(reader)), 403, "forbidden")


@pytest.mark.parametrize(("method", "path"), READING + WRITING)
def test_a_write_key_goes_everywhere(http: httpx.Client, writer: str, method: str, path: str) -> None:
    response = http.request(method, path, headers=bearer(writer))

    # what this shop does not offer at all is another 403, told to those alone who may ask for it
    assert response.status_code not in (401, 429)
    assert response.status_code != 403 or response.json()["code"] == "not_offered"


def test_both_headers_do(http: httpx.Client, reader: str) -> None:
    for headers in (
        bearer(reader),
        {"Authorization": f"bearer  {reader}"},
        {"X-API-Key": reader},
        {"X-API-Key": reader, "Authorization": "Basic dXNlcjpwYXNz"},  # a proxy's own
    ):
        found = http.post("/search", files={"photo": RED_PHOTO}, headers=headers)
        assert found.status_code == 200, headers


@pytest.mark.parametrize("path", sorted({*OPEN, "/v1/healthz", "/docs/search", "/problems/bad_filter"}))
def test_what_tells_nothing_of_the_shop_needs_no_key(http: httpx.Client, path: str) -> None:
    assert http.get(path).status_code in (200, 404)  # 404: not every server has each of them


def test_the_body_of_a_stranger_is_not_even_read(http: httpx.Client) -> None:
    problem(http.post("/search", content=b"{", headers={"Content-Type": "application/json"}), 401, "unauthorized")


def test_feedback_is_kept_with_the_name_of_the_key(http: httpx.Client, state: State, reader: str) -> None:
    with Client(str(http.base_url), key=reader) as client:
        client.feedback("click", "r-1", product_id="mug-1", position=2)

    (kept,) = state.feedback.read()
    assert (kept.kind, kept.request_id, kept.product_id, kept.position) == ("click", "r-1", "mug-1", 2)
    assert kept.key == "reader"


def test_the_client_brings_a_key(http: httpx.Client, reader: str) -> None:
    with Client(str(http.base_url), key=reader) as client:
        assert client.facets().products == 5


def test_too_many_requests_are_429_and_told_how_long_to_wait(tmp_path: Path) -> None:
    policy = Policy(rate=Rate(per_minute=1, burst=3))
    with State.open(tmp_path / "state.db", create=True, policy=policy) as state, guarded(state) as http:
        key, other = (state.keys.create("k", Scope.READ).text for _ in range(2))
        for _ in range(3):
            assert http.get("/facets", headers=bearer(key)).status_code == 200

        refused = http.get("/facets", headers=bearer(key))

        assert "1 requests a minute" in problem(refused, 429, "too_many_requests")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert http.get("/facets", headers=bearer(other)).status_code == 200
        assert http.get("/healthz", headers=bearer(key)).status_code == 200


def test_a_state_that_does_not_answer_is_503_and_lets_nobody_through(postgres_url: str) -> None:
    with State.open(postgres_url, create=True) as state, guarded(state) as http:
        key = state.keys.create("k", Scope.READ).text
        assert http.get("/facets", headers=bearer(key)).status_code == 200
        with psycopg.connect(postgres_url) as other:
            other.execute("LOCK TABLE api_keys")  # every statement hangs from now on
            sleep(KNOWN_FOR_S)
            problem(http.get("/facets", headers=bearer(key), timeout=60), 503, "unavailable")
            problem(http.get("/facets", timeout=60), 503, "unavailable")
            assert http.get("/healthz").status_code == 200
        sleep(KNOWN_FOR_S)
        assert http.get("/facets", headers=bearer(key)).status_code == 200


def test_a_key_is_in_no_log(state: State, reader: str, http: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    stranger = new_secret().text
    with caplog.at_level(logging.DEBUG):
        for key in (reader, stranger):
            http.get("/facets", headers=bearer(key))
            http.put("/products/mug-1", headers=bearer(key))
            http.get("/products/nobody", headers={"X-API-Key": key})
    for key in (reader, stranger):
        assert key not in caplog.text
        assert key.split("_")[2] not in caplog.text


# --- Several servers on one state ------------------------------------------------------------------------------------

SERVER = """
import sys
from threading import Event
from tests.webui.shop import open_shop
from webui.api.app import create_app, max_request_bytes
from webui.api.server import HttpServer
from webui.service import SearchService
from webui.state.rates import Rate
from webui.state.state import Policy, State

with State.open(sys.argv[1], policy=Policy(rate=Rate(per_minute=1, burst=int(sys.argv[2])))) as state:
    app = create_app(SearchService(open_shop(), feedback=state), state)
    server = HttpServer(app, host="127.0.0.1", port=0, threads=4, max_request_bytes=max_request_bytes())
    print(server.port, flush=True)
    server.run(Event())
"""


@contextmanager
def servers(where: str, *, number: int, burst: int) -> Iterator[list[httpx.Client]]:
    """Clients of this many servers, each a process, on one state."""
    command = [sys.executable, "-c", SERVER, where, str(burst)]
    with ExitStack() as stack:
        running = []
        for _ in range(number):
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            running.append(process)
        clients = []
        for process in running:
            assert process.stdout is not None
            address = f"http://127.0.0.1:{int(process.stdout.readline())}"
            clients.append(stack.enter_context(httpx.Client(base_url=address, timeout=60)))
        yield clients


def test_servers_share_rates_and_a_key_revoked_by_one_process_is_refused_by_all_within_a_second(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = str(tmp_path / "state.db")
    with State.open(where, create=True) as state, servers(where, number=2, burst=5) as clients:
        limited = state.keys.create("limited", Scope.READ)
        watched = state.keys.create("watched", Scope.READ, per_minute=600)
        began = monotonic()
        statuses = [clients[turn % 2].get("/facets", headers=bearer(limited.text)).status_code for turn in range(12)]
        assert set(statuses) == {200, 429}
        assert 5 <= statuses.count(200) <= 5 + (monotonic() - began) // 60  # five at once, one a minute

        assert [one.get("/facets", headers=bearer(watched.text)).status_code for one in clients] == [200, 200]
        with pytest.raises(SystemExit) as left:
            main(["keys", "revoke", watched.key_id, "--state", where])
        assert left.value.code == 0
        revoked = monotonic()
        counted = 0
        while (asked := monotonic()) < revoked + 3:
            for one in clients:
                status = one.get("/facets", headers=bearer(watched.text)).status_code
                if asked >= revoked + 1:
                    assert status == 401
                    counted += 1
        assert counted > 0
        capsys.readouterr()
