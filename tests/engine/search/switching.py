"""Searching threads, a writer and new generations, all at once: every answer is searched for what must never be."""

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from engine.search.filters import Range
from engine.search.query import Query
from engine.search.search_engine import SearchEngine
from engine.storage.generation import generation_names, generation_path, move_current, read_current
from engine.updates import Updates, Upsert
from tests.indexer.shop import Shop, draw

TWINS = ("twin-a", "twin-b")  # always written together, with the same price: an answer that shows two prices is a mix


class Searchers:
    """Threads that search without a pause until stopped; what went wrong is kept."""

    def __init__(self, engine: SearchEngine, threads: int) -> None:
        self.engine = engine
        self.searches = 0
        self.generations: set[str] = set()
        self.wrong: list[BaseException] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(threads)]

    def __enter__(self) -> "Searchers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        latest = 0
        try:
            while not self._stop.is_set():
                latest = self._search(rng, latest)
                self.searches += 1
        except BaseException as error:
            self.wrong.append(error)

    def _search(self, rng: np.random.Generator, latest: int) -> int:
        vector = rng.standard_normal(self.engine.manifest.dim).astype(np.float32)
        filter = Range("price", low=0.0) if rng.random() < 0.5 else None
        answer = self.engine.search(Query(vector=vector, k=1000, mode="exact", filter=filter))
        assert answer.exact is not None
        shown = {hit.product_id: hit for hit in answer.exact.hits}
        assert len(shown) == len(answer.exact.hits) == answer.matching
        prices = {shown[twin].facets["price"] for twin in TWINS}
        assert len(prices) == 1, f"two moments in one answer: {prices}"
        assert not any(product_id.startswith("gone") for product_id in shown)
        assert answer.plan.change_number >= latest, "what was found is found no more"
        self.generations.add(answer.plan.generation)
        return answer.plan.change_number


def switch(index: Path) -> None:
    """Another generation of the same contents as the one that answers; two are kept."""
    name = read_current(index)
    later = f"{int(name) + 1:06d}"
    shutil.copytree(generation_path(index, name), generation_path(index, later))
    move_current(index, later)
    for old in generation_names(index)[:-2]:
        shutil.rmtree(generation_path(index, old))


def switches_under_load(
    opened: Shop, switches: int, threads: int, *, build_every: int, note: Callable[[dict[str, int]], None]
) -> Searchers:
    """Switches generations while threads search and the catalogue changes; `note` gets what the process holds after
    each."""
    updates = Updates(opened.catalogue, opened.encoder)
    updates.upsert_many([Upsert(twin, None, {"price": 0.0}, [draw(900 + at, 0)]) for at, twin in enumerate(TWINS)])
    opened.build()
    first = int(read_current(opened.index))
    with (
        SearchEngine.open(opened.index, catalogue=opened.catalogue, encoder=opened.encoder) as engine,
        Searchers(engine, threads) as searchers,
    ):
        for number in range(switches):
            updates.upsert_many([Upsert(twin, None, {"price": float(number)}) for twin in TWINS])
            updates.upsert(Upsert(f"gone{number}", photos=[]))  # without a photo nothing shows it
            updates.upsert(Upsert(f"new{number % 10}", None, {}, [draw(number % 10 + 500, number // 10)]))
            if number % 3 == 0:
                updates.delete([f"new{number % 10}"])
            if (number + 1) % build_every == 0:
                opened.build()
            else:
                switch(opened.index)
            wanted = f"{first + number + 1:06d}"
            deadline = time.monotonic() + 120
            while engine.generation != wanted and not searchers.wrong:
                assert time.monotonic() < deadline, (engine.generation, wanted, engine.problem)
                time.sleep(0.01)
            note(held(opened.index))
        assert engine.caught_up(opened.catalogue.change_number(), timeout_s=60)
        assert engine.problem is None
    return searchers


def held(index: Path) -> dict[str, int]:
    """What this process holds: memory in KiB, open files, and generations of which files are mapped."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    maps = [line.split("/generations/")[1][:6] for line in _maps() if f"{index}/generations/" in line]
    return {
        "anonymous_kib": int(status["RssAnon"].split()[0]),
        "open_files": sum(1 for _ in Path("/proc/self/fd").iterdir()),
        "mapped_generations": len(set(maps)),
    }


def _maps() -> list[str]:
    return Path("/proc/self/maps").read_text().splitlines()
