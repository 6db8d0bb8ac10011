"""Engines to compare, each behind the same few methods. Importing this module loads none of them.

Every engine is built from float16 rows, given as float32 where it takes nothing else, in the order of the products,
with all cores. `knobs` are the settings that are swept; whatever else an engine can be told is its own default, or what
its makers recommend for vectors of this kind, and stands in `build`.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Halves = NDArray[np.float16]
Ints = NDArray[np.int64]
Knob = tuple[int, ...]

BLOCK = 65536
EF = tuple((ef,) for ef in (10, 14, 20, 28, 40, 56, 80, 112, 160, 240, 400))
GRAPH_DEGREE, EF_CONSTRUCTION = 16, 200


class Engine(Protocol):
    """One engine. `build` writes into a directory, `open` reads from it."""

    name: str
    knobs: tuple[Knob, ...]

    def build(self, rows: Halves, directory: Path) -> None: ...
    def open(self, directory: Path) -> None: ...
    def turn(self, knob: Knob) -> None: ...
    def search(self, queries: Floats, k: int) -> Ints: ...


class Lookalike:
    """IVF with PQ codes and float16 rows on disk; nprobe lists, `depth` rows compared exactly."""

    name = "lookalike"
    knobs = tuple((n, d) for n in (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64) for d in (16, 24, 32, 48, 64, 96, 128, 192))

    def build(self, rows: Halves, directory: Path) -> None:
        from benchmarks.model import bare_model
        from indexer.build import build_from_vectors

        report = build_from_vectors(
            rows, np.arange(len(rows)), bare_model(directory, rows.shape[1]), directory / "index"
        )
        self.seconds = {stage: round(seconds, 2) for stage, seconds in report.seconds.items()}
        self.codec = report.manifest.codec

    def open(self, directory: Path) -> None:
        from engine.search.gallery import Gallery
        from engine.storage.generation import open_index

        self._gallery = Gallery(open_index(directory / "index"))
        self.codec = self._gallery.generation.manifest.codec

    def turn(self, knob: Knob) -> None:
        self._nprobe, self._depth = knob

    def search(self, queries: Floats, k: int) -> Ints:
        from engine.search.batch import nearest_photos

        _, found = nearest_photos(self._gallery, queries, k, nprobe=self._nprobe, depth=self._depth)
        return self._photo_ids()[found]

    def _photo_ids(self) -> Ints:
        if not hasattr(self, "_ids"):
            self._ids = np.concatenate([shard.photo_ids for shard, _ in self._gallery.shards])
        return self._ids


class Hnswlib:
    name = "hnswlib"
    knobs = EF

    def build(self, rows: Halves, directory: Path) -> None:
        import hnswlib

        index = hnswlib.Index("ip", rows.shape[1])
        index.init_index(len(rows), M=GRAPH_DEGREE, ef_construction=EF_CONSTRUCTION, random_seed=1)
        for start, block in blocks(rows):
            index.add_items(block, np.arange(start, start + len(block)))
        index.save_index(str(directory / "hnswlib.bin"))
        (directory / "dim").write_text(str(rows.shape[1]))

    def open(self, directory: Path) -> None:
        import hnswlib

        self._index = hnswlib.Index("ip", int((directory / "dim").read_text()))
        self._index.load_index(str(directory / "hnswlib.bin"))

    def turn(self, knob: Knob) -> None:
        self._index.set_ef(knob[0])

    def search(self, queries: Floats, k: int) -> Ints:
        return self._index.knn_query(queries, k)[0].astype(np.int64)


class Usearch:
    name = "usearch"
    knobs = EF

    def build(self, rows: Halves, directory: Path) -> None:
        from usearch.index import Index

        index = Index(
            ndim=rows.shape[1],
            metric="ip",
            dtype="f16",
            connectivity=GRAPH_DEGREE,
            expansion_add=EF_CONSTRUCTION,
        )
        for start, block in blocks(rows):
            index.add(np.arange(start, start + len(block)), block)
        index.save(str(directory / "usearch.bin"))

    def open(self, directory: Path) -> None:
        from usearch.index import Index

        self._index = Index.restore(str(directory / "usearch.bin"), view=False)

    def turn(self, knob: Knob) -> None:
        self._index.expansion_search = knob[0]

    def search(self, queries: Floats, k: int) -> Ints:
        keys = self._index.search(queries, k).keys
        return np.asarray(keys, np.int64).reshape(len(queries), k)


class Voyager:
    name = "voyager"
    knobs = EF

    def build(self, rows: Halves, directory: Path) -> None:
        import voyager

        index = voyager.Index(
            voyager.Space.InnerProduct, rows.shape[1], M=GRAPH_DEGREE, ef_construction=EF_CONSTRUCTION
        )
        for start, block in blocks(rows):
            index.add_items(block, np.arange(start, start + len(block)))
        index.save(str(directory / "voyager.bin"))

    def open(self, directory: Path) -> None:
        import voyager

        self._index = voyager.Index.load(str(directory / "voyager.bin"))

    def turn(self, knob: Knob) -> None:
        self._ef = knob[0]

    def search(self, queries: Floats, k: int) -> Ints:
        return self._index.query(queries, k, query_ef=max(self._ef, k))[0].astype(np.int64)


class Scann:
    """Tree and anisotropic hashing with exact re-ordering, sized as its documentation advises."""

    name = "scann"
    knobs = tuple((n, d) for n in (4, 8, 12, 16, 24, 32, 48, 64, 96) for d in (30, 60, 100, 200))

    def build(self, rows: Halves, directory: Path) -> None:
        import scann

        leaves = max(1, round(math.sqrt(len(rows))))
        searcher = (
            scann.scann_ops_pybind.builder(np.asarray(rows, np.float32), 10, "dot_product")
            .tree(leaves, 32, training_sample_size=min(len(rows), 250_000))
            .score_ah(2, anisotropic_quantization_threshold=0.2)
            .reorder(100)
            .build()
        )
        (directory / "scann").mkdir()
        searcher.serialize(str(directory / "scann"))

    def open(self, directory: Path) -> None:
        import scann

        self._index = scann.scann_ops_pybind.load_searcher(str(directory / "scann"))

    def turn(self, knob: Knob) -> None:
        self._leaves, self._depth = knob

    def search(self, queries: Floats, k: int) -> Ints:
        given = {"pre_reorder_num_neighbors": self._depth, "leaves_to_search": self._leaves}
        if len(queries) == 1:
            return np.asarray(self._index.search(queries[0], k, **given)[0], np.int64)[None]
        return np.asarray(self._index.search_batched_parallel(queries, k, **given)[0], np.int64)


class Faiss:
    """A FAISS index as its factory makes it."""

    knobs: tuple[Knob, ...]

    def __init__(self, name: str, factory: Callable[[int, int], str], knobs: tuple[Knob, ...]) -> None:
        self.name, self._factory, self.knobs = name, factory, knobs

    def build(self, rows: Halves, directory: Path) -> None:
        import faiss

        dim = rows.shape[1]
        index = faiss.index_factory(dim, self._factory(len(rows), dim), faiss.METRIC_INNER_PRODUCT)
        if not index.is_trained:
            rng = np.random.default_rng(0)
            sample = np.sort(rng.choice(len(rows), min(len(rows), 64 * _lists(len(rows))), replace=False))
            index.train(np.asarray(rows[sample], np.float32))
        if isinstance(index, faiss.IndexHNSW):
            index.hnsw.efConstruction = EF_CONSTRUCTION
        for _, block in blocks(rows):
            index.add(block)
        faiss.write_index(index, str(directory / "faiss.bin"))

    def open(self, directory: Path) -> None:
        import faiss

        self._index = faiss.read_index(str(directory / "faiss.bin"))

    def turn(self, knob: Knob) -> None:
        import faiss

        if self.name == "faiss HNSW":
            faiss.ParameterSpace().set_index_parameter(self._index, "efSearch", knob[0])
        elif self.name == "faiss IVFPQ":
            faiss.ParameterSpace().set_index_parameters(self._index, f"nprobe={knob[0]},k_factor_rf={knob[1]}")

    def search(self, queries: Floats, k: int) -> Ints:
        return self._index.search(queries, k)[1]


def _lists(rows: int) -> int:
    return max(1, min(round(2 * math.sqrt(rows)), rows // 39))


def _flat() -> Engine:
    return Faiss("faiss Flat", lambda _rows, _dim: "Flat", ((0,),))


def _ivfpq() -> Engine:
    # no polysemous training ("np"), which is slow, and rows to re-rank with: without them it reaches neither recall
    knobs = tuple((n, d) for n in (4, 8, 16, 32, 64, 128) for d in (4, 8, 16, 32))
    return Faiss("faiss IVFPQ", lambda rows, dim: f"IVF{_lists(rows)},PQ{dim // 8}np,Refine(SQfp16)", knobs)


def _hnsw() -> Engine:
    return Faiss("faiss HNSW", lambda _rows, _dim: f"HNSW{GRAPH_DEGREE},SQfp16", EF)


ENGINES: dict[str, Callable[[], Engine]] = {
    "lookalike": Lookalike,
    "hnswlib": Hnswlib,
    "usearch": Usearch,
    "voyager": Voyager,
    "scann": Scann,
    "faiss Flat": _flat,
    "faiss IVFPQ": _ivfpq,
    "faiss HNSW": _hnsw,
}


def blocks(rows: Halves) -> Iterator[tuple[int, Floats]]:
    """Rows as float32, a block at a time, so that no engine is charged for a copy it did not make."""
    for start in range(0, len(rows), BLOCK):
        yield start, np.asarray(rows[start : start + BLOCK], np.float32)


def about(engine: Any) -> dict[str, Any]:
    """What an engine tells about itself beside the figures."""
    return {key: getattr(engine, key) for key in ("codec", "seconds") if hasattr(engine, key)}
