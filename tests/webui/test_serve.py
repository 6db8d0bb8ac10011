"""The API and the page started, asked and stopped together."""

import os
import signal
import socket
import subprocess
import sys
from ast import literal_eval
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import faiss
import httpx
import pytest

from engine.errors import BadCall, TooManyRequests, Unavailable
from engine.updates import Updates, Upsert
from lookalike.main import main
from tests.indexer.shop import Shop, draw, shop
from tests.webui.shop import open_shop
from webui.client import Client
from webui.serve import Addresses, serve
from webui.service import SearchService
from webui.state.keys import Scope, new_secret
from webui.state.state import Policy, State

PAGE = """
import argparse, http.server
parser = argparse.ArgumentParser()
for name in ("--api", "--port"):
    parser.add_argument(name)
wishes = parser.parse_args()
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(wishes.api.encode())
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", int(wishes.port)), Page).serve_forever()
"""


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def run(
    announce: Callable[[Addresses], None],
    *,
    page: str | None = None,
    page_port: int | None = None,
    state: State | None = None,
) -> None:
    """Serves the fake shop in this process, with a page that is this Python program."""
    command = [sys.executable, "-c", page or PAGE]
    service = SearchService(open_shop())
    serve(
        service,
        state=state,
        port=0,
        page_port=page_port,
        page_command=command,
        page_key=None if state is None else state.policy.page_key,
        threads=2,
        announce=announce,
    )


def gone(address: str) -> bool:
    try:
        httpx.get(address, timeout=5)
    except httpx.ConnectError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_both_answer_when_they_are_announced_and_are_gone_after_a_signal(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    told: list[Addresses] = []

    def announce(addresses: Addresses) -> None:
        told.append(addresses)
        try:
            assert addresses.page is not None
            assert httpx.get(f"{addresses.api}/healthz").json()["products"] == 5
            assert httpx.get(addresses.page).text == addresses.api
        finally:
            os.kill(os.getpid(), number)

    run(announce, page_port=free_port())

    (addresses,) = told
    assert gone(addresses.api)
    assert addresses.page is not None
    assert gone(addresses.page)
    assert signal.getsignal(number) == before


def test_the_api_alone_needs_no_page() -> None:
    told: list[Addresses] = []

    def announce(addresses: Addresses) -> None:
        told.append(addresses)
        os.kill(os.getpid(), signal.SIGTERM)

    run(announce)

    assert told[0].page is None
    assert gone(told[0].api)


def test_a_page_that_ends_by_itself_ends_the_api_and_is_told() -> None:
    with pytest.raises(Unavailable, match=r"ended by itself \(exit code 7\)"):
        run(lambda _: None, page="raise SystemExit(7)", page_port=free_port())


def test_a_page_that_ends_later_ends_the_api_too() -> None:
    told: list[Addresses] = []
    # answers once, which is when it is announced
    page = PAGE.replace("serve_forever", "handle_request")

    with pytest.raises(Unavailable, match="ended by itself"):
        run(told.append, page=page, page_port=free_port())

    assert gone(told[0].api)


def test_a_page_that_will_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webui.serve.STOP_S", 0.5)
    stubborn = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + PAGE
    told: list[Addresses] = []

    def announce(addresses: Addresses) -> None:
        told.append(addresses)
        os.kill(os.getpid(), signal.SIGTERM)

    run(announce, page=stubborn, page_port=free_port())

    assert told[0].page is not None
    assert gone(told[0].page)


def test_one_port_cannot_serve_both() -> None:
    with pytest.raises(BadCall, match="--page-port"):
        serve(SearchService(open_shop()), port=8000, page_port=8000, announce=lambda _: None)


# --- The command -----------------------------------------------------------------------------------------------------


def test_the_command_serves_an_index_and_its_page(built_shop: Shop) -> None:
    pytest.importorskip("gradio", reason="the page needs gradio")
    command = [sys.executable, "-c", "from lookalike.main import main; main()", "serve", "--index"]
    ports = ["--port", "0", "--page-port", str(free_port())]

    with subprocess.Popen([*command, str(built_shop.index), *ports], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        api, page = (process.stdout.readline().split()[-1] for _ in range(2))
        with Client(api) as client:
            answer = client.search(photo=draw(4, 8), mode="exact", k=1)
        shown = httpx.get(page).text
        process.terminate()

        assert process.wait(30) == 0

    assert answer.exact is not None
    assert answer.exact.products[0].product_id == "p0004"
    assert "Lookalike" in shown
    assert gone(api)
    assert gone(page)


def test_a_server_that_follows_its_catalogue_finds_what_others_write(tmp_path: Path) -> None:
    with shop(tmp_path, products=4) as opened:
        opened.build()
        program = [sys.executable, "-c", "from lookalike.main import main; main()", "serve", "--no-page", "--port", "0"]
        arguments = ["--index", str(opened.index), "--catalogue", str(tmp_path / "shop.db")]
        with subprocess.Popen([*program, *arguments], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            with Client(process.stdout.readline().split()[-1]) as client:
                done = Updates(opened.catalogue, opened.encoder).upsert(Upsert("new", "New", {}, [draw(40, 0)]))
                deadline = monotonic() + 30
                while client.health().change_number < done.change_number:
                    assert monotonic() < deadline
                answer = client.search(photo=draw(40, 0), mode="exact", k=1)
                health = client.health()
            process.terminate()
            assert process.wait(30) == 0
    assert answer.exact is not None
    assert [card.title for card in answer.exact.products] == ["New"]
    assert answer.plan.delta_rows == 1
    assert (health.products, health.stale) == (5, False)


def test_an_index_that_is_not_there_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["serve", "--index", str(tmp_path / "none"), "--no-page"])

    assert left.value.code == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert "lookalike index" in said.err


def test_a_gpu_that_is_not_there_is_one_sentence(
    built_shop: Shop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    with pytest.raises(SystemExit) as left:
        main(["serve", "--index", str(built_shop.index), "--no-page", "--gpu"])
    assert left.value.code == 1
    assert capsys.readouterr().err == (
        "Error: FAISS sees no GPU; install lookalike[gpu] in place of [cpu] on a machine that has one, or go without.\n"
    )


# --- Keys ------------------------------------------------------------------------------------------------------------

ASKING_PAGE = PAGE.replace(
    "wishes.api.encode()", "repr((__import__('os').environ.get('LOOKALIKE_API_KEY'), __import__('sys').argv)).encode()"
)


def test_the_page_has_a_read_key_in_its_environment_and_not_on_its_command_line(tmp_path: Path) -> None:
    key = new_secret().text
    told: list[tuple[str | None, list[str]]] = []

    def announce(addresses: Addresses) -> None:
        try:
            assert addresses.page is not None
            told.append(literal_eval(httpx.get(addresses.page).text))
            assert httpx.get(f"{addresses.api}/facets").status_code == 401
            with Client(addresses.api, key=key) as client:
                assert client.facets().products == 5
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    with State.open(tmp_path / "state.db", create=True, policy=Policy(page_key=key)) as state:
        state.keys.create("shop", Scope.READ)
        run(announce, page=ASKING_PAGE, page_port=free_port(), state=state)

    ((known, line),) = told
    assert known == key
    assert key not in str(line)


def test_two_workers_serve_a_shop_beyond_loopback_to_who_has_a_key(built_shop: Shop, tmp_path: Path) -> None:
    where = str(tmp_path / "state.db")
    with State.open(where, create=True) as state:
        key = state.keys.create("shop", Scope.READ).text
    command = [sys.executable, "-c", "from lookalike.main import main; main()", "serve", "--index"]
    wishes = ["--host", "0.0.0.0", "--port", "0", "--no-page", "--workers", "2", "--state", where]
    wishes += ["--rate", "1", "--burst", "2"]
    with subprocess.Popen(
        [*command, str(built_shop.index), *wishes], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1].replace("0.0.0.0", "127.0.0.1")
        assert httpx.get(f"{address}/facets").status_code == 401
        began, passed, waits = monotonic(), 0, []
        with Client(address, key=key, timeout_s=120) as client:
            assert client.search(photo=draw(4, 8), mode="exact", k=1).exact is not None
            client.feedback("not_found", "r-1")
        for _ in range(6):  # on connections of their own, so that either worker may answer
            with Client(address, key=key, timeout_s=120) as client:
                try:
                    client.facets()
                    passed += 1
                except TooManyRequests as early:
                    waits.append(early.retry_after_s)
        assert passed <= (monotonic() - began) // 60
        assert all(wait is not None and 1 <= wait <= 60 for wait in waits)
        process.terminate()
        _, words = process.communicate(timeout=180)
        assert process.returncode == 0
    with State.open(where) as state:
        assert [(one.kind, one.key) for one in state.feedback.read()] == [("not_found", "shop")]
    assert key.split("_")[2] not in words
