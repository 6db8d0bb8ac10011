"""The API beside the same work in one process: what HTTP adds to a search, and how many photos a second it leaves.

python benchmarks/api.py --index index/ --photos folder/ [--workers 1] [--json benchmarks/results/api.json]

A photo's way is the same on both sides: decoded, preprocessed, encoded, searched for. One at a time, each photo goes
through this process and through the API in turn, so that what else the machine does falls on both. Then sixteen at a
time, for some seconds each in turn: in this process with one thread, with one for each core and with sixteen, by the
model's own encoder and by the one that shares batches; the fastest of these is what the API is compared with.

The server is `lookalike serve` as users have it. Whoever asks it runs on the same cores.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from select import select
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from benchmarks.measuring import machine, write_json
from engine.search.query import Query
from engine.search.search_engine import SearchEngine
from engine.vision.encoder import OpenVinoEncoder
from webui.batching import BatchingEncoder

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
K = 10
BOUNDARY = "a-boundary"
CONCURRENCY = 16

Work = Callable[[bytes], object]


class Client:
    """One connection, with as little work for each request as can be."""

    def __init__(self, address: str, path: str) -> None:
        parts = urlsplit(address)
        assert parts.hostname is not None and parts.port is not None
        self._place = (parts.hostname, parts.port)
        self._socket = self._connect()
        self._head = f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n".encode()

    def ask(self, photo: bytes) -> bytes:
        """The JSON of the answer to a search for a photo. Raises RuntimeError where it is none."""
        if select([self._socket], [], [], 0)[0]:  # ended by the server, as a connection that was quiet for long is
            self._socket = self._connect()
        self._socket.sendall(self._request(photo))
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._receive(65536)
        head, _, body = received.partition(b"\r\n\r\n")
        start = head.lower().index(b"content-length:") + len(b"content-length:")
        length = int(head[start:].split(b"\r\n", 1)[0])
        while len(body) < length:
            body += self._receive(length - len(body))
        if b" 200 " not in head[:20]:
            raise RuntimeError(f"{head[:100]!r}: {body[:500]!r}")
        return body

    def close(self) -> None:
        self._socket.close()

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(self._place)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _request(self, photo: bytes) -> bytes:
        part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{{}}"{{}}\r\n\r\n'
        body = b"".join(
            (
                part.format("k", "").encode() + str(K).encode() + b"\r\n",
                part.format("photo", '; filename="photo"').encode() + photo + b"\r\n",
                f"--{BOUNDARY}--\r\n".encode(),
            )
        )
        kind = f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {len(body)}\r\n\r\n"
        return self._head + kind.encode() + body

    def _receive(self, most: int) -> bytes:
        received = self._socket.recv(most)
        if not received:
            raise RuntimeError("the server ended the connection")
        return received


@contextmanager
def served(index: Path, options: Sequence[str]) -> Iterator[str]:
    """The address of a server of its own."""
    program = [sys.executable, "-c", "from lookalike.main import main; main()", "serve", "--index", str(index)]
    with subprocess.Popen(
        [*program, "--no-page", "--port", "0", *options], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


def one_at_a_time(inside: Work, outside: Work, photos: Sequence[bytes], rounds: int) -> dict[str, Any]:
    """Milliseconds of each photo in this process and through the API, in turn, and who is first in turn as well."""
    spent: dict[str, list[float]] = {"in_process": [], "api": []}
    for photo in photos[:20]:  # warms both
        inside(photo)
        outside(photo)
    turns = [("in_process", inside), ("api", outside)]
    for number, photo in enumerate(photo for _ in range(rounds) for photo in photos):
        for name, work in turns if number % 2 else turns[::-1]:
            start = time.perf_counter()
            work(photo)
            spent[name].append((time.perf_counter() - start) * 1000)
    figures: dict[str, Any] = {name: _percentiles(times) for name, times in spent.items()}
    figures["added_p50_ms"] = round(figures["api"]["p50"] - figures["in_process"]["p50"], 2)
    figures["searches"] = len(spent["api"])
    return figures


def rates(ways: dict[str, Sequence[Work]], photos: Sequence[bytes], seconds: float, rounds: int) -> dict[str, Any]:
    """Photos a second of every way, each a list of what its threads do: the median over rounds, taken in turn.

    `cpu_share` is the part of the machine that this process took meanwhile: of the API's figure, what asking costs.
    """
    found: dict[str, list[float]] = {name: [] for name in ways}
    shares: dict[str, list[float]] = {name: [] for name in ways}
    for works in ways.values():
        _rate(works, photos, min(seconds, 3.0))
    for _ in range(rounds):
        for name, works in ways.items():
            before, start = time.process_time(), time.perf_counter()
            found[name].append(_rate(works, photos, seconds))
            spent = (time.process_time() - before) / (time.perf_counter() - start)
            shares[name].append(spent / len(os.sched_getaffinity(0)))
    return {
        name: {
            "median": round(float(np.median(several)), 1),
            "rounds": [round(one, 1) for one in several],
            "cpu_share": round(float(np.median(shares[name])), 3),
        }
        for name, several in found.items()
    }


def _rate(works: Sequence[Work], photos: Sequence[bytes], seconds: float) -> float:
    """Photos a second while as many threads as there are works take one photo after the other."""
    turn = count()  # `next` of it is safe between threads
    start = time.perf_counter()

    def run(work: Work) -> int:
        done = 0
        while time.perf_counter() - start < seconds:
            work(photos[next(turn) % len(photos)])
            done += 1
        return done

    with ThreadPoolExecutor(len(works)) as pool:
        done = sum(pool.map(run, works))
    return done / (time.perf_counter() - start)


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Opens both sides and measures them."""
    photos = _photos(given.photos, given.count)
    cores = len(os.sched_getaffinity(0))
    with (
        SearchEngine.open(given.index) as plain,
        SearchEngine.open(given.index, encoder=lambda model: BatchingEncoder(OpenVinoEncoder(model))) as batching,
        served(given.index, ["--workers", str(given.workers), "--threads", str(CONCURRENCY)]) as address,
    ):
        clients = [Client(address, given.path) for _ in range(CONCURRENCY)]
        _check_equal(plain, clients[0], photos[:5])
        inside = partial(_search, plain)
        sequential = one_at_a_time(inside, clients[0].ask, photos, given.rounds)
        ways: dict[str, Sequence[Work]] = {
            **{f"in_process_{threads}_threads": [inside] * threads for threads in sorted({1, cores, CONCURRENCY})},
            f"in_process_{CONCURRENCY}_threads_batching": [partial(_search, batching)] * CONCURRENCY,
            "api": [client.ask for client in clients],
        }
        found = rates(ways, photos, given.seconds, given.rounds)
        for client in clients:
            client.close()
        best = max((name for name in found if name != "api"), key=lambda name: float(found[name]["median"]))
        return {
            "products": plain.products,
            "photos_indexed": plain.photos,
            "photos": len(photos),
            "bytes_per_photo": round(float(np.mean([len(photo) for photo in photos]))),
            "workers": given.workers,
            "one_at_a_time_ms": sequential,
            "sixteen_at_a_time": {
                "photos_a_second": found,
                "fastest_in_process": best,
                "ratio": round(found["api"]["median"] / found[best]["median"], 3),
            },
            "machine": machine(),
        }


def _search(engine: SearchEngine, photo: bytes) -> None:
    engine.search(Query(photo=photo, k=K))


def _check_equal(engine: SearchEngine, client: Client, photos: Sequence[bytes]) -> None:
    """Both sides find the same products, or there is nothing to compare."""
    for photo in photos:
        found = engine.search(Query(photo=photo, k=K))
        answer = json.loads(client.ask(photo))
        assert found.exact is not None
        ours = [hit.product_id for hit in found.exact.hits]
        theirs = [card["product_id"] for card in answer["exact"]["products"]]
        if ours != theirs:
            raise RuntimeError(f"the API found {theirs}, this process {ours}")


def _photos(folder: Path, count: int) -> list[bytes]:
    """So many photos, evenly from the sorted files of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise SystemExit(f"There is no photo in {folder}; name a folder with JPEG, PNG or WebP files.")
    chosen = np.linspace(0, len(files) - 1, min(count, len(files))).astype(int)
    return [files[number].read_bytes() for number in chosen]


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    return {f"p{share}": round(float(np.percentile(values, share)), 2) for share in (50, 95, 99)}


def main() -> None:
    """Measures, prints JSON and writes it where asked."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--index", type=Path, required=True)
    options.add_argument("--photos", type=Path, required=True, help="folder of photos to search for")
    options.add_argument("--count", type=int, default=200, help="photos taken from it")
    options.add_argument("--workers", type=int, default=1, help="processes of the server")
    options.add_argument("--seconds", type=float, default=10.0, help="of every round at sixteen at a time")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--path", default="/v1/search")
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    figures = measure(given)
    print(json.dumps(figures, indent=1))
    if given.json:
        write_json(given.json, figures)


if __name__ == "__main__":
    main()
