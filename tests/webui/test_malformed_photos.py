"""Malformed and hostile photos through the whole API: a real index, real decoders, a real server."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import BadImage, UnknownPhoto
from engine.search.query import Query
from engine.search.search_engine import SearchEngine
from engine.updates import Updates, Upsert
from engine.vision.preprocess import Corners, Preprocess
from tests.indexer.shop import Shop, draw, shop
from tests.webui.hostile_jobs import Die
from tests.webui.malformed import Malformed, corpus, spread
from tests.webui.networks import PUBLIC, Network, answering, fetcher, send
from tests.webui.shop import address_of, problem
from webui.api.app import create_app
from webui.decoding import DecodingPool
from webui.service import SearchService

GENEROUS_S = 60.0  # for a photo where the machine may be busy
SHORT_S = 3.0  # where something never ends


@dataclass(frozen=True)
class Served:
    pool: DecodingPool
    engine: SearchEngine
    http: httpx.Client

    def search(self, photo: bytes) -> httpx.Response:
        return self.http.post("/search", files={"photo": ("photo", photo)}, data={"k": "1", "mode": "exact"})

    def answers_on(self) -> bool:
        """Whether a sound photo still finds its product; a decoder may have to be started first."""
        deadline = monotonic() + GENEROUS_S
        while (answer := self.search(draw(4, 8))).status_code != 200:
            assert monotonic() < deadline, answer.text
            sleep(0.05)
        return bool(answer.json()["exact"]["products"][0]["product_id"] == "p0004")


@contextmanager
def serving(stocked: Shop, *, processes: int, timeout_s: float | None) -> Iterator[Served]:
    with (
        DecodingPool(processes=processes, timeout_s=timeout_s) as pool,
        SearchEngine.open(stocked.index, encoder=stocked.encoder, loader=pool) as engine,
        address_of(engine) as address,
        httpx.Client(base_url=address, timeout=2 * GENEROUS_S) as http,
    ):
        yield Served(pool, engine, http)


@pytest.fixture(scope="module")
def patient(built_shop: Shop) -> Iterator[Served]:
    with serving(built_shop, processes=2, timeout_s=GENEROUS_S) as served:
        yield served


@pytest.fixture(scope="module")
def impatient(built_shop: Shop) -> Iterator[Served]:
    with serving(built_shop, processes=1, timeout_s=SHORT_S) as served:
        yield served


def checked(served: Served, file: Malformed) -> int:
    """The status of a search with a file, which is an answer or a problem, and never the server's mistake."""
    response = served.search(file.data)
    if response.status_code != 200:
        problem(response, 422, "bad_image")
    assert not (file.refused and response.status_code == 200), file.name
    return response.status_code


def test_malformed_files_are_answered(patient: Served) -> None:
    files = spread(corpus("truncated", "flipped", "mislabelled", "other magic", "lying header", "polyglot"), 48)

    statuses = Counter(checked(patient, file) for file in files)

    assert len(files) >= 48
    assert statuses[422] >= 24
    assert patient.answers_on()


# --- Decoders that end while a request waits for them ----------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_decoder_that_crashes_is_422_and_the_server_answers_on(impatient: Served, number: signal.Signals) -> None:
    assert impatient.answers_on()
    (decoder,) = impatient.pool.pids
    os.kill(decoder, signal.SIGSTOP)  # so that the request waits for it
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(impatient.search, draw(3, 9))
        sleep(0.3)
        os.kill(decoder, number)
        os.kill(decoder, signal.SIGCONT)
        response = waiting.result()

    # a machine so busy that the request came after the signal finds a fresh decoder
    assert response.status_code == 200 or "decode" in problem(response, 422, "bad_image")
    assert impatient.answers_on()
    assert decoder not in impatient.pool.pids


def test_a_decoder_that_hangs_is_422_and_the_server_answers_on(impatient: Served) -> None:
    assert impatient.answers_on()
    (decoder,) = impatient.pool.pids
    os.kill(decoder, signal.SIGSTOP)

    assert "takes more than 3 seconds" in problem(impatient.search(draw(3, 9)), 422, "bad_image")
    assert impatient.answers_on()


# --- Photos that do not come with a search ---------------------------------------------------------------------------


def test_upserts_and_imports_are_decoded_by_the_loader(tmp_path: Path) -> None:
    with shop(tmp_path, products=4) as opened, DecodingPool(processes=1, timeout_s=GENEROUS_S) as pool:
        opened.build()
        updates = Updates(opened.catalogue, opened.encoder, tmp_path / "photos", loader=pool)
        with SearchEngine.open(opened.index, catalogue=opened.catalogue, encoder=opened.encoder, loader=pool) as engine:
            done = updates.upsert(Upsert("new", photos=[draw(40, 0)]))
            assert engine.caught_up(done.change_number, timeout_s=GENEROUS_S)
            found = engine.search(Query(photo=draw(40, 0), k=1)).exact
            before = opened.catalogue.change_number()
            with pytest.raises(BadImage, match="photo 2 of 'worse'"):
                updates.upsert(Upsert("worse", photos=[draw(41, 0), draw(42, 0)[:300]]))
            opened.stock(range(50, 51))  # as an import: no vectors, so the engine decodes
            assert engine.caught_up(opened.catalogue.change_number(), timeout_s=GENEROUS_S)
            imported = engine.search(Query(photo=draw(50, 0), k=1)).exact
    assert found is not None
    assert found.hits[0].product_id == "new"
    assert before == done.change_number  # nothing of what failed was kept
    assert imported is not None
    assert imported.hits[0].product_id == "p0050"


def test_thumbnails_are_made_by_the_decoders(built_shop: Shop) -> None:
    with (
        SearchEngine.open(built_shop.index, encoder=built_shop.encoder) as engine,
        DecodingPool(processes=1, timeout_s=GENEROUS_S) as pool,
    ):
        service = SearchService(engine, thumbnailer=pool.thumbnail)
        source = service.photo(1)
        assert service.thumbnail(source, 64).startswith(b"\xff\xd8\xff")
        pool.close()
        with pytest.raises(UnknownPhoto):
            SearchService(engine).thumbnail(type(source)(1, b"text", "tag"), 64)


# --- Photos by URL ---------------------------------------------------------------------------------------------------


def test_a_photo_by_url_is_searched_for_where_that_is_allowed(built_shop: Shop) -> None:
    with (
        answering(send(body=draw(4, 8))) as port,
        SearchEngine.open(built_shop.index, encoder=built_shop.encoder) as engine,
    ):
        network = Network(port)
        app = create_app(SearchService(engine, fetcher=fetcher(network)))
        ask = app.test_client().post

        found = ask("/v1/search", json={"url": "http://shop.com/mug.png", "k": 1, "mode": "exact"})
        refused = ask("/v1/search", json={"url": "http://127.0.0.1/mug.png"})
        closed = create_app(SearchService(engine)).test_client().post("/v1/search", json={"url": "http://shop.com/"})

    assert found.json is not None
    assert found.json["exact"]["products"][0]["product_id"] == "p0004"
    assert refused.json is not None
    assert (refused.status_code, refused.json["code"]) == (422, "bad_url")
    assert network.connected == [(PUBLIC, 80)]
    assert 400 <= closed.status_code < 500


def test_a_photo_that_crashes_every_decoder_is_422(built_shop: Shop) -> None:
    crashing = draw(3, 9)
    with DecodingPool(processes=2, timeout_s=GENEROUS_S) as pool:

        def loader(data: bytes, name: str, preprocess: Preprocess, box: Corners | None = None) -> NDArray[np.float32]:
            if data == crashing:
                pool.run(Die(number=signal.SIGSEGV), data, name)
            return pool(data, name, preprocess, box)

        with (
            SearchEngine.open(built_shop.index, encoder=built_shop.encoder, loader=loader) as engine,
            address_of(engine) as address,
            httpx.Client(base_url=address, timeout=2 * GENEROUS_S) as http,
        ):
            served = Served(pool, engine, http)
            for _ in range(3):
                assert "ends its decoder" in problem(served.search(crashing), 422, "bad_image")
            assert served.answers_on()
