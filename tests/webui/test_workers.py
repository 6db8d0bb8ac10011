"""Workers: they share a port, are started again when they die, and end with the one that started them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event, Thread
from time import sleep

import httpx
import pytest

from engine.errors import IndexMissing, LookalikeError, Unavailable
from tests.indexer.shop import Shop, draw
from tests.webui import worker_apps
from tests.webui.running import TIMEOUT_S, speak, until
from tests.webui.test_serve import gone
from webui.api.server import listen, port_of
from webui.client import Client
from webui.workers import OpenApp, Order, Workers


class Gang:
    """Workers in the care of a thread of this process."""

    def __init__(self, open_app: OpenApp, count: int) -> None:
        sockets = listen("127.0.0.1", 0)
        self.port = port_of(sockets[0])
        self.ended: list[int] = []
        self.failure: LookalikeError | None = None
        self.ready, self.stop = Event(), Event()
        order = Order(open_app, threads=2, queue=8, max_request_bytes=1000)  # all that a test asks at once
        self.workers = Workers(order, sockets, count, environment={"GANG": "yes"}, ended=self.ended.append)
        self._thread = Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.workers.run(self.stop, self.ready)
        except LookalikeError as error:
            self.failure = error

    def ask(self) -> int:
        """The process id of the worker that answers."""
        response = speak(self.port, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert response.status_code == 200
        return int(response.text)

    def join(self) -> None:
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive()


@contextmanager
def gang(open_app: OpenApp, count: int = 2) -> Iterator[Gang]:
    opened = Gang(open_app, count)
    try:
        yield opened
    finally:
        opened.stop.set()
        opened.join()


def test_they_answer_on_one_port_and_end_when_told(tmp_path: Path) -> None:
    with gang(partial(worker_apps.open_and_note, tmp_path)) as workers:
        assert workers.ready.wait(TIMEOUT_S)
        pids = set(workers.workers.process_ids)
        assert {int(note.name) for note in tmp_path.iterdir()} == pids
        seen: set[int] = set()

        def all_were_seen() -> bool:
            threads = [Thread(target=lambda: seen.add(workers.ask())) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return seen == pids

        until(all_were_seen)
    assert list(tmp_path.iterdir()) == []  # each left calmly
    assert set(workers.ended) == pids
    assert gone(f"http://127.0.0.1:{workers.port}")


def test_one_that_dies_is_replaced_while_others_answer() -> None:
    with gang(worker_apps.open_plain) as workers:
        assert workers.ready.wait(TIMEOUT_S)
        first, second = workers.workers.process_ids
        os.kill(first, signal.SIGKILL)
        until(lambda: workers.ended == [first])
        assert workers.ask() != first
        until(lambda: len(workers.workers.process_ids) == 2)
        assert second in workers.workers.process_ids
        os.kill(second, signal.SIGKILL)
        until(lambda: workers.ask() not in (first, second))


def test_what_keeps_them_from_starting_is_told_as_it_is() -> None:
    with gang(worker_apps.open_nothing) as workers:
        workers.join()
    assert isinstance(workers.failure, IndexMissing)
    assert str(workers.failure) == "There is no index here; build one."
    assert not workers.ready.is_set()


def test_when_all_die_again_and_again_it_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webui.workers.MOST_RECENT", 2)
    with gang(worker_apps.open_and_die, 1) as workers:
        workers.join()
    assert isinstance(workers.failure, Unavailable)
    assert "exit code 7" in str(workers.failure)


def test_one_that_will_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webui.workers.GRACE_S", 0.2)
    monkeypatch.setattr("webui.workers.AFTER_GRACE_S", 0.2)
    with gang(worker_apps.open_deaf, 1) as workers:
        assert workers.ready.wait(TIMEOUT_S)
        (pid,) = workers.workers.process_ids
    assert workers.ended == [pid]
    assert gone(f"http://127.0.0.1:{workers.port}")


PARENT = """
import sys
from threading import Event, Thread
from tests.webui.test_workers import Gang
from tests.webui import worker_apps
gang = Gang(worker_apps.open_plain, 2)
gang.ready.wait()
print(gang.port, flush=True)
gang.join()
"""


def test_they_do_not_outlive_the_one_that_started_them() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline())
        parent.kill()
    until(lambda: gone(f"http://127.0.0.1:{port}"))


# --- The command -----------------------------------------------------------------------------------------------------


def serve(*options: str) -> "subprocess.Popen[str]":
    program = [sys.executable, "-c", "from lookalike.main import main; main()", "serve", "--no-page", "--port", "0"]
    return subprocess.Popen([*program, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_command_serves_with_workers_and_survives_the_death_of_one(built_shop: Shop) -> None:
    with serve("--index", str(built_shop.index), "--workers", "2") as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]

        def found() -> str:
            with Client(address) as client:
                answer = client.search(photo=draw(4, 8), mode="exact", k=1)
            assert answer.exact is not None
            return answer.exact.products[0].product_id

        assert found() == "p0004"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        if children.exists():
            os.kill(int(children.read_text().split()[0]), signal.SIGKILL)
            sleep(0.1)
        assert found() == "p0004"
        # whoever is asked tells of both, and of what the dead one counted
        assert 'lookalike_searches_total{mode="exact"} 2.0' in httpx.get(f"{address}/metrics").text
        process.terminate()
        assert process.wait(TIMEOUT_S) == 0
    assert gone(address)


def test_an_index_that_is_not_there_is_one_sentence_with_workers_too(tmp_path: Path) -> None:
    with serve("--index", str(tmp_path), "--workers", "2") as process:
        _, said = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert [line for line in said.splitlines() if line.startswith("Error: ")] == said.splitlines()[-1:]
    assert "Traceback" not in said
    assert "lookalike index" in said
