"""Searches by photo under filters, encoding apart: milliseconds, products returned, and whether each passes.

python benchmarks/filtered_search.py --index index/ --filter colour=Red --filter gender=Women [--queries 200] [--json F]

The photos of randomly drawn products of the index are the queries. Each is searched without and with the filter, in
turn, so that a busy moment of the machine falls on both.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from engine.search.filter_syntax import parse
from engine.search.filters import Filter, bind, matches
from engine.search.query import Query, SearchResult
from engine.search.search_engine import SearchEngine
from engine.storage.generation import open_index

ENCODING = ("decode", "encode")  # stages that no filter changes


def searching_ms(answer: SearchResult) -> float:
    """Milliseconds of an answer without those of decoding and encoding the photo."""
    return sum(value for stage, value in answer.plan.milliseconds.items() if stage not in ENCODING)


def percentiles(values: list[float]) -> dict[str, float]:
    """p50, p95 and p99 of the values."""
    return {f"p{share}": round(float(np.percentile(values, share)), 2) for share in (50, 95, 99)}


def measure(engine: SearchEngine, product_ids: list[str], condition: Filter | None, k: int) -> dict[str, Any]:
    """Asks every product's first photo with and without the filter."""
    check = None if condition is None else bind(condition, engine.facets)
    times: dict[str, list[float]] = {"unfiltered": [], "filtered": []}
    fewest, failing, matching = k, 0, 0
    for product_id in product_ids:
        photo = engine.photo(engine.product(product_id).photo_ids[0])
        times["unfiltered"].append(searching_ms(engine.search(Query(photo=photo, k=k))))
        answer = engine.search(Query(photo=photo, k=k, filter=condition))
        times["filtered"].append(searching_ms(answer))
        hits = answer.exact.hits if answer.exact else ()
        fewest, matching = min(fewest, len(hits)), answer.matching
        failing += sum(1 for hit in hits if check is not None and not matches(check, hit.facets))
    return {
        "queries": len(product_ids),
        "k": k,
        "products": engine.products,
        "products_matching": matching,
        "fewest_products_returned": fewest,
        "returned_products_failing_the_filter": failing,
        "milliseconds_encoding_apart": {name: percentiles(values) for name, values in times.items()},
    }


def main() -> None:
    """Measures, prints JSON and writes it where asked."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--index", type=Path, required=True)
    options.add_argument("--filter", action="append", default=[])
    options.add_argument("--queries", type=int, default=200)
    options.add_argument("-k", type=int, default=10)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    generation = open_index(given.index)
    rng = np.random.default_rng(given.seed)
    count = min(given.queries, generation.products.count)
    ordinals = rng.choice(generation.products.count, count, replace=False).tolist()
    product_ids = [generation.products.product_id(ordinal) for ordinal in ordinals]
    with SearchEngine.open(given.index) as engine:
        figures = {"filter": given.filter, **measure(engine, product_ids, parse(given.filter), given.k)}
    text = json.dumps(figures, indent=2)
    print(text)
    if given.json:
        given.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
