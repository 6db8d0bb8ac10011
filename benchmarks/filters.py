"""Search under filters of every width, end to end: what is found, and how long it takes.

python -m benchmarks.filters [--rows 500000] [--queries 40] [--only lookalike] [--seconds 5]

Every product has a number `share`, drawn evenly from [0, 1) and so independent of its photos, and for each query j a
number `far_j`: the share of the products that are nearer to the query. `share < s` is a filter that has nothing to do
with the query; `far_j >= 1 - s` is the worst of its width, which excludes everything near to it. Recall is of the ten
best products that pass (ties with the tenth count), against exact search; every engine answers one query at a time,
under filters it has seen before. Lookalike also says how long it took under a filter that it had not.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.measuring import machine, write_json
from benchmarks.model import bare_model
from benchmarks.picture import Curve, draw
from benchmarks.vectors import Floats, Ints, Vectors, made

if TYPE_CHECKING:
    from engine.search.query import Query

HERE = Path(__file__).parent
K = 10
SELECTIVITIES = (1.0, 0.5, 0.1, 0.01, 0.001, 0.0001)
KINDS = ("independent", "worst")
ROWS_FOR_PRODUCTS = 60  # photos asked of engines that know no products: six of each, and as good as certain
TIE = 1e-5
EXACT_QUERIES = 20


@dataclass(frozen=True, slots=True, eq=False)
class Shop:
    """Vectors and the products' numbers: `columns` [products] by name."""

    vectors: Vectors
    columns: Mapping[str, NDArray[np.float64]]

    def passing(self, condition: "Condition") -> NDArray[np.bool_]:
        """[products] which pass."""
        column = self.columns[condition.column]
        return column >= condition.low if condition.high is None else column < condition.high


@dataclass(frozen=True, slots=True)
class Condition:
    """`column >= low`, or `column < high`."""

    column: str
    low: float | None = None
    high: float | None = None


class Filtered(Protocol):
    """An engine that searches under a condition: rows (photos) or products, best first."""

    name: str

    def build(self, shop: Shop, directory: Path) -> None: ...
    def search(self, query: Floats, condition: Condition | None) -> Ints: ...


def make_shop(rows: int, queries: int, dim: int, seed: int = 0) -> Shop:
    """A gallery with the numbers that filters are made of."""
    vectors = made(rows, queries, dim, seed=seed)
    columns = {"share": np.random.default_rng(seed + 1).random(vectors.products)}
    for number, query in enumerate(vectors.queries):
        best = best_by_product(vectors, query)
        columns[f"far_{number}"] = np.argsort(np.argsort(-best)) / vectors.products
    return Shop(vectors, columns)


def best_by_product(vectors: Vectors, query: Floats) -> Floats:
    """[products] the cosine of each one's best photo."""
    cosines = np.concatenate(
        [vectors.rows[start : start + 65536].astype(np.float32) @ query for start in range(0, len(vectors.rows), 65536)]
    )
    first = np.searchsorted(vectors.owners, np.arange(vectors.products))
    best: Floats = np.maximum.reduceat(cosines, first)
    return best


class Lookalike:
    name = "lookalike"

    def build(self, shop: Shop, directory: Path) -> None:
        from engine.catalogue.schema import Facet, FacetType, Product
        from engine.search.search_engine import SearchEngine
        from indexer.build import build_from_vectors
        from indexer.stock import product_name

        facets = [Facet(name, FacetType.NUMBER) for name in shop.columns]
        table = {name: column.tolist() for name, column in shop.columns.items()}
        products = [
            Product(product_name(number), None, {name: values[number] for name, values in table.items()})
            for number in range(shop.vectors.products)
        ]
        build_from_vectors(
            shop.vectors.rows,
            shop.vectors.owners,
            bare_model(directory, shop.vectors.rows.shape[1]),
            directory / "index",
            products=products,
            facets=facets,
        )
        self.engine = SearchEngine.open(directory / "index")
        self.exact = SearchEngine.open(directory / "index")
        self.exact.snapshot.gallery.misses = None  # without a calibration it compares every photo that passes
        self.plans: list[Any] = []

    def search(self, query: Floats, condition: Condition | None) -> Ints:
        answer = self.engine.search(self.query(query, condition))
        self.plans.append(answer.plan)
        assert answer.exact is not None
        return np.array([int(hit.product_id) for hit in answer.exact.hits], np.int64)

    def query(self, query: Floats, condition: Condition | None) -> "Query":
        """The question as the engine takes it."""
        from engine.search.filters import Range
        from engine.search.query import Query

        found = condition and Range(condition.column, low=condition.low, high=condition.high, high_in=False)
        return Query(vector=query, k=K, mode="exact", filter=found)


class FaissSelector:
    """FAISS's IVF with the codes and re-ranking that reach .98 without a filter, and a selector for the filter."""

    name = "faiss IVF + selector"

    def build(self, shop: Shop, directory: Path) -> None:
        import faiss

        rows = shop.vectors.rows.astype(np.float32)
        lists = max(1, min(round(2 * len(rows) ** 0.5), len(rows) // 39))
        factory = f"IVF{lists},PQ{rows.shape[1] // 2}x4fsr,Refine(SQfp16)"
        self._index = faiss.index_factory(rows.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
        self._index.train(rows[np.random.default_rng(0).choice(len(rows), min(len(rows), 64 * lists), replace=False)])
        self._index.add(rows)
        self._shop = shop

    def search(self, query: Floats, condition: Condition | None) -> Ints:
        import faiss

        inner: dict[str, Any] = {"nprobe": 16}
        if condition is not None:
            bits = np.packbits(self._shop.passing(condition)[self._shop.vectors.owners], bitorder="little")
            inner["sel"] = faiss.IDSelectorBitmap(bits)
        parameters = faiss.IndexRefineSearchParameters(k_factor=4, base_index_params=faiss.SearchParametersIVF(**inner))
        rows = self._index.search(query[None], ROWS_FOR_PRODUCTS, params=parameters)[1][0]
        return _products(self._shop, rows[rows >= 0])


class PostFilter:
    """hnswlib's best thousand, of which those are kept that pass."""

    name = "post-filter (hnswlib, 1,000)"

    def build(self, shop: Shop, directory: Path) -> None:
        import hnswlib

        self._shop = shop
        self._index = hnswlib.Index("ip", shop.vectors.rows.shape[1])
        self._index.init_index(len(shop.vectors.rows), M=16, ef_construction=200, random_seed=1)
        self._index.add_items(shop.vectors.rows.astype(np.float32))
        self._index.set_ef(1000)

    def search(self, query: Floats, condition: Condition | None) -> Ints:
        asked = min(1000, len(self._shop.vectors.rows))
        rows = self._index.knn_query(query[None], asked)[0][0].astype(np.int64)
        if condition is not None:
            rows = rows[self._shop.passing(condition)[self._shop.vectors.owners[rows]]]
        return _products(self._shop, rows)


class LanceDb:
    """IVF_PQ with the filter first, re-ranking as its documentation advises."""

    name = "lancedb"

    def build(self, shop: Shop, directory: Path) -> None:
        import lancedb
        import pyarrow as pa

        rows, dim = len(shop.vectors.rows), shop.vectors.rows.shape[1]
        flat = pa.array(shop.vectors.rows.astype(np.float32).ravel())
        columns = {"row": pa.array(np.arange(rows)), "vector": pa.FixedSizeListArray.from_arrays(flat, dim)}
        columns |= {name: pa.array(column[shop.vectors.owners]) for name, column in shop.columns.items()}
        self._table = lancedb.connect(directory / "lance").create_table("photos", pa.table(columns))
        self._table.create_index(metric="dot", num_partitions=max(1, round(rows**0.5)), num_sub_vectors=dim // 8)
        self._shop = shop

    def search(self, query: Floats, condition: Condition | None) -> Ints:
        asked = self._table.search(query).limit(ROWS_FOR_PRODUCTS).nprobes(20).refine_factor(10)
        asked = asked.select(["row", "_distance"])
        if condition is not None:
            sign, end = (">=", condition.low) if condition.high is None else ("<", condition.high)
            asked = asked.where(f"{condition.column} {sign} {end}", prefilter=True)
        return _products(self._shop, asked.to_arrow()["row"].to_numpy())


class QdrantLocal:
    """qdrant-client without a server: it compares everything, in numpy."""

    name = "qdrant-client local"

    def build(self, shop: Shop, directory: Path) -> None:
        from qdrant_client import QdrantClient, models

        self._client, self._shop = QdrantClient(":memory:"), shop
        size = shop.vectors.rows.shape[1]
        self._client.create_collection("photos", models.VectorParams(size=size, distance=models.Distance.DOT))
        table = {name: column[shop.vectors.owners].tolist() for name, column in shop.columns.items()}
        for start in range(0, len(shop.vectors.rows), 10_000):
            numbers = range(start, min(start + 10_000, len(shop.vectors.rows)))
            payload = [{name: values[number] for name, values in table.items()} for number in numbers]
            vectors = shop.vectors.rows[numbers.start : numbers.stop].astype(np.float32)
            self._client.upload_collection("photos", vectors, payload, ids=numbers)

    def search(self, query: Floats, condition: Condition | None) -> Ints:
        from qdrant_client import models

        found = None
        if condition is not None:
            between = models.Range(gte=condition.low, lt=condition.high)
            found = models.Filter(must=[models.FieldCondition(key=condition.column, range=between)])
        points = self._client.query_points(
            "photos", query=query, query_filter=found, limit=ROWS_FOR_PRODUCTS, with_payload=False
        ).points
        return _products(self._shop, np.array([point.id for point in points], np.int64))


ENGINES: dict[str, Callable[[], Filtered]] = {
    "lookalike": Lookalike,
    "faiss IVF + selector": FaissSelector,
    "post-filter (hnswlib, 1,000)": PostFilter,
    "lancedb": LanceDb,
    "qdrant-client local": QdrantLocal,
}


def _products(shop: Shop, rows: Ints) -> Ints:
    """The first K distinct products of some rows, best first."""
    owners = shop.vectors.owners[rows]
    first = np.sort(np.unique(owners, return_index=True)[1])
    return owners[first[:K]]


def condition_of(kind: str, share: float, query: int) -> Condition:
    """A filter that passes this share of the products."""
    if kind == "independent":
        return Condition("share", high=share if share < 1 else 2.0)
    return Condition(f"far_{query}", low=1 - share)


def measure(engine: Filtered, shop: Shop, seconds: float) -> dict[str, Any]:
    """Recall and milliseconds by kind and selectivity, and without a filter."""
    best = [best_by_product(shop.vectors, query) for query in shop.vectors.queries]
    for query in shop.vectors.queries:
        engine.search(query, None)  # warms up
    figures: dict[str, Any] = {"unfiltered": _ask(engine, shop, best, None, seconds)}
    for kind in KINDS:
        figures[kind] = {str(share): _ask(engine, shop, best, (kind, share), seconds) for share in SELECTIVITIES}
    return figures


def _ask(
    engine: Filtered, shop: Shop, best: Sequence[Floats], filter: tuple[str, float] | None, seconds: float
) -> dict[str, Any]:
    """All queries under one kind and width of filter, again and again for so many seconds; at least once."""
    recalls: list[float] = []
    times: list[float] = []
    first_times: list[float] = []
    fewest = 0
    begin = perf_counter()
    for number, query in enumerate(shop.vectors.queries):
        condition = None if filter is None else condition_of(*filter, number)
        start = perf_counter()
        found = engine.search(query, condition)
        first_times.append(perf_counter() - start)
        passing = np.ones(shop.vectors.products, np.bool_) if condition is None else shop.passing(condition)
        scores = np.where(passing, best[number], -np.inf)
        wanted = min(K, int(passing.sum()))
        assert passing[found].all(), f"{engine.name} returned products that fail the filter"
        recalls.append(_recall(scores, found, wanted))
        fewest = min(fewest, len(found) - wanted)
        start = perf_counter()
        engine.search(query, condition)
        times.append(perf_counter() - start)
        if perf_counter() - begin > seconds and number >= 4:
            break
    while perf_counter() - begin < seconds:
        for number in range(len(recalls)):
            condition = None if filter is None else condition_of(*filter, number)
            start = perf_counter()
            engine.search(shop.vectors.queries[number], condition)
            times.append(perf_counter() - start)
    figures = {
        "queries": len(recalls),
        "recall": round(float(np.mean(recalls)), 4),
        "products_missing_at_worst": max(0, -fewest),
        "p50_ms": round(1000 * float(np.percentile(times, 50)), 3),
        "p95_ms": round(1000 * float(np.percentile(times, 95)), 3),
        "first_time_p50_ms": round(1000 * float(np.median(first_times)), 3),
    }
    if isinstance(engine, Lookalike):
        plan = engine.plans[-1]
        expected = [each.expected_recall for each in engine.plans[-len(times) :] if each.expected_recall is not None]
        figures |= {"path": plan.path, "expected_recall": round(float(np.mean(expected)), 4) if expected else None}
        figures |= {"rows_scanned": plan.rows_scanned, "rows_reranked": plan.rows_reranked}
        if filter is not None:
            figures |= _exact_scan(engine, shop, *filter)
    return figures


def _recall(scores: Floats, found: Ints, wanted: int) -> float:
    if not wanted:
        return 1.0
    floor = -np.partition(-scores, wanted - 1)[wanted - 1]
    return min(wanted, int((scores[found] >= floor - TIE).sum())) / wanted


def _exact_scan(engine: Lookalike, shop: Shop, kind: str, share: float) -> dict[str, float]:
    """Comparing every photo that passes, which is never wrong: what the planner must not be slower than."""
    times = []
    for _ in range(2):
        for number, query in enumerate(shop.vectors.queries[:EXACT_QUERIES]):
            asked = engine.query(query, condition_of(kind, share, number))
            engine.exact.search(asked)  # the filter has been seen before, as in the times it is compared with
            start = perf_counter()
            engine.exact.search(asked)
            times.append(perf_counter() - start)
    p50, p95 = (round(1000 * float(np.percentile(times, share)), 3) for share in (50, 95))
    return {"exact_scan_p50_ms": p50, "exact_scan_p95_ms": p95}


def main() -> None:
    """Measures, prints a table, writes JSON and a picture."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=500_000)
    options.add_argument("--dim", type=int, default=256)
    options.add_argument("--queries", type=int, default=40)
    options.add_argument("--seconds", type=float, default=5.0, help="for every filter")
    options.add_argument("--only", action="append", choices=[*ENGINES], default=[])
    options.add_argument("--work", type=Path, help="for files, removed at the end")
    options.add_argument("--json", type=Path)
    options.add_argument("--picture", type=Path)
    given = options.parse_args()
    shop = make_shop(given.rows, given.queries, given.dim)
    figures: dict[str, Any] = {
        "what": shop.vectors.what,
        "k": K,
        "machine": machine(),
        "load_average": os.getloadavg()[0],
        "engines": {},
    }
    for name in given.only or [*ENGINES]:
        print(f"{name}:", flush=True)
        engine = ENGINES[name]()
        with tempfile.TemporaryDirectory(dir=given.work) as work:
            start = perf_counter()
            engine.build(shop, Path(work))
            built = round(perf_counter() - start, 1)
            figures["engines"][name] = {"build_seconds": built, **measure(engine, shop, given.seconds)}
        print(table(name, figures["engines"][name]))
        write_json(given.json or HERE / "results" / f"filters-{given.rows}.json", figures)
    _picture(figures, given.picture or HERE.parent / "docs" / f"filters-{given.rows}.png")


def table(name: str, figures: dict[str, Any]) -> str:
    """One engine's figures, a line a filter."""
    lines = [f"  {name}, no filter: {_line(figures['unfiltered'])}"]
    for kind in KINDS:
        lines += [f"  {kind:12} {float(share):8.2%}: {_line(each)}" for share, each in figures[kind].items()]
    return "\n".join(lines)


def _line(figures: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in figures.items() if key != "queries")


def _picture(figures: dict[str, Any], path: Path) -> None:
    panels = {}
    for kind in KINDS:
        for what, heading in (("recall", "recall@10"), ("p95_ms", "p95, ms")):
            panels[f"{heading}: {kind} filter"] = [
                Curve(name, [(100 * float(share), max(each[what], 1e-3)) for share, each in engine[kind].items()])
                for name, engine in figures["engines"].items()
            ]
    linear = {heading for heading in panels if heading.startswith("recall")}
    draw(path, figures["what"], panels, x="% of the products pass", y="", log_x=True, linear=linear)


if __name__ == "__main__":
    main()
