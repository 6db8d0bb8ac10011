"""What /metrics tells is what happened, also where several workers share the work."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from math import inf
from pathlib import Path

import httpx
import pytest

from engine import errors
from tests.fakes import FakeEngine
from tests.webui.hostile_jobs import Die
from tests.webui.live_shop import FakeFeedback
from tests.webui.shop import RED_PHOTO, address_of, open_shop
from webui.decoding import DecodingPool
from webui.metrics import Metrics
from webui.service import SearchService


@pytest.fixture
def shop() -> Iterator[tuple[FakeEngine, httpx.Client]]:
    engine = open_shop()
    with (
        address_of(SearchService(engine, feedback=FakeFeedback())) as address,
        httpx.Client(base_url=address) as client,
    ):
        yield engine, client


def told(text: str) -> dict[str, float]:
    """Every sample by its name with labels, in Prometheus's text format."""
    return {
        name: float(value)
        for name, value in re.findall(r"^(\w+(?:\{.*\})?) (\S+)$", text, re.MULTILINE)
        if not name.partition("{")[0].endswith(("_created", "_bucket"))
    }


def read(client: httpx.Client) -> dict[str, float]:
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    return told(response.text)


def test_searches_their_stages_and_empty_answers_are_counted(shop: tuple[FakeEngine, httpx.Client]) -> None:
    _, client = shop
    for _ in range(3):
        client.post("/v1/search", files={"photo": RED_PHOTO})
    client.post("/v1/search", json={"product_id": "mug-1", "mode": "exact", "filter": {"eq": {"colour": "Purple"}}})
    client.post("/v1/search", json={"product_id": "mug-1", "mode": "exact"})
    client.post("/v1/search", json={"product_id": "nobody"})

    found = read(client)
    assert found['lookalike_searches_total{mode="both"}'] == 3
    assert found['lookalike_searches_total{mode="exact"}'] == 2
    assert found['lookalike_empty_results_total{mode="exact"}'] == 1
    assert 'lookalike_empty_results_total{mode="both"}' not in found
    assert found['lookalike_stage_seconds_count{stage="encode"}'] == 5
    assert found['lookalike_stage_seconds_sum{stage="encode"}'] == pytest.approx(5 * 0.0015)


def test_requests_are_told_by_pattern_and_status(shop: tuple[FakeEngine, httpx.Client]) -> None:
    _, client = shop
    for path in ("/v1/products/mug-1", "/v1/products/nobody", "/v1/products/nobody2", "/a", "/b", "/photos/1"):
        client.get(path)
    client.post("/v1/search", content=b"{", headers={"Content-Type": "application/json"})

    found = read(client)

    def requests(method: str, address: str, status: int) -> float:
        labels = f'address="{address}",method="{method}",status="{status}"'
        return found[f"lookalike_request_seconds_count{{{labels}}}"]

    assert requests("GET", "/v1/products/<product_id>", 200) == 1
    assert requests("GET", "/v1/products/<product_id>", 404) == 2
    assert requests("GET", "/photos/<int:photo_id>", 200) == 1
    assert requests("none", "none", 404) == 2
    assert requests("POST", "/v1/search", 400) == 1


def test_gauges_are_those_of_the_engine(shop: tuple[FakeEngine, httpx.Client]) -> None:
    engine, client = shop
    engine.live_photos, engine.deleted_photos, engine.unreadable_photos = 7, 3, 2  # type: ignore[misc]
    engine.change_number, engine.generation, engine.visibility_lag_s = 42, "000017", 0.25  # type: ignore[misc]

    found = read(client)

    names = ("products", "photos", "delta_photos", "tombstones", "unreadable_photos", "change_number", "generation")
    assert [found[f"lookalike_{name}"] for name in names] == [5, 6, 7, 3, 2, 42, 17]
    assert (found["lookalike_visibility_lag_seconds"], found["lookalike_stale"], found["lookalike_up"]) == (0.25, 0, 1)

    engine.problem, engine.visibility_lag_s = "The catalogue is away.", inf
    found = read(client)
    assert (found["lookalike_visibility_lag_seconds"], found["lookalike_stale"]) == (inf, 1)


def test_feedback_is_counted(shop: tuple[FakeEngine, httpx.Client]) -> None:
    _, client = shop
    client.post("/v1/feedback", json={"kind": "not_found", "request_id": "r"})
    client.post("/v1/feedback", json={"kind": "click", "request_id": "r"})  # refused

    assert {name for name in read(client) if "feedback_total" in name} == {'lookalike_feedback_total{kind="not_found"}'}


def test_photos_that_end_their_decoder_are_counted() -> None:
    metrics = Metrics()
    service = SearchService(open_shop(), metrics=metrics)
    with (
        DecodingPool(processes=1, on_death=metrics.decoder_died) as pool,
        address_of(service) as address,
        httpx.Client(base_url=address) as client,
    ):
        assert read(client)["lookalike_decoder_deaths_total"] == 0
        with pytest.raises(errors.BadImage):
            pool.run(Die(), RED_PHOTO, "a photo")

        assert read(client)["lookalike_decoder_deaths_total"] == 1


WORKER = """
import os
import sys
from types import SimpleNamespace
from webui.metrics import Metrics, forget_worker
delta, lag, searches, forget = (int(one) for one in sys.argv[1:])
engine = SimpleNamespace(products=5, photos=6, generation="000002", change_number=9, live_photos=delta,
                         deleted_photos=0, unreadable_photos=0, visibility_lag_s=lag, problem=None)
metrics = Metrics()
result = SimpleNamespace(exact=None, similar=(), plan=SimpleNamespace(milliseconds={"encode": 2.0}))
for _ in range(searches):
    metrics.searched("similar", result)
with metrics.watching(engine):
    if forget:
        forget_worker(forget, os.environ["PROMETHEUS_MULTIPROC_DIR"])
    print(metrics.exposition(engine).decode(), flush=True)
"""


def test_whichever_worker_is_asked_tells_for_all(tmp_path: Path) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}

    def work(*wishes: int) -> tuple[int, dict[str, float]]:
        command = [sys.executable, "-c", WORKER, *map(str, wishes)]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as worker:
            out, _ = worker.communicate(timeout=300)
        assert worker.returncode == 0
        return worker.pid, told(out)

    first, alone = work(100, 9, 3, 0)
    _, together = work(20, 1, 4, 0)
    _, after = work(10, 2, 0, first)

    assert alone['lookalike_searches_total{mode="similar"}'] == 3
    assert together['lookalike_searches_total{mode="similar"}'] == 7
    assert together['lookalike_stage_seconds_sum{stage="encode"}'] == pytest.approx(0.014)
    assert (together["lookalike_delta_photos"], together["lookalike_visibility_lag_seconds"]) == (100, 9)
    # a worker that ended takes along what it saw, not what it counted
    assert after['lookalike_searches_total{mode="similar"}'] == 7
    assert (after["lookalike_delta_photos"], after["lookalike_visibility_lag_seconds"]) == (20, 2)


def test_an_index_that_cannot_be_asked_is_told_as_down() -> None:
    class Closed(FakeEngine):
        @property
        def products(self) -> int:
            raise errors.Unavailable("This search engine was closed; open the index again.")

    shop = open_shop()
    service = SearchService(Closed(shop.facets, (), ()))
    found = told(service.exposition().decode())

    assert (found["lookalike_up"], found["lookalike_visibility_lag_seconds"]) == (0, inf)
