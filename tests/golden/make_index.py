"""Makes `tests/golden/index/format-1`: a small index, and what it answered when it was made.

Run once per format number, with the version that brings the format, and never again for an old one:

    python -m tests.golden.make_index
"""

import json
import shutil
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from engine.catalogue.schema import Facet, FacetType
from engine.storage.generation import open_index
from engine.storage.manifest import FORMAT
from tests.indexer.shop import Shop, shop

GOLDEN = Path(__file__).parent / "index" / f"format-{FORMAT}"
FACETS = (Facet("tags", FacetType.KEYWORDS), Facet("sale", FacetType.BOOLEAN), Facet("since", FacetType.TIME))
WORDS = ("cotton", "linen", "wool")
PRODUCTS, PHOTOS, SHARDS = 80, 2, 2
QUERIES = 12


def main() -> None:
    # the photos' addresses are part of the index, so they must not be somebody's home
    folder = Path(tempfile.gettempdir()) / "lookalike-golden"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with shop(folder, PRODUCTS, PHOTOS) as opened:
        add_facets(opened)
        opened.build(shards=SHARDS)
        shutil.rmtree(GOLDEN, ignore_errors=True)
        shutil.copytree(opened.index, GOLDEN / "index", ignore=shutil.ignore_patterns("LOCK"))
        (GOLDEN / "answers.json").write_text(json.dumps(answers(opened), indent=1) + "\n")
    shutil.rmtree(folder)


def add_facets(shop: Shop) -> None:
    """Gives the products values of every type, and leaves some out."""
    with shop.catalogue.snapshot() as view:
        products = list(view.products())
    with shop.catalogue.transaction() as writer:
        writer.declare_facets(FACETS)
        for number, product in enumerate(products):
            since = datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=UTC) + timedelta(days=number)
            values = {"tags": WORDS[: number % 4], "sale": number % 2 == 0, "since": since}
            kept = {name: value for name, value in values.items() if value != () and number % 7}
            writer.upsert_product(replace(product, facets={**product.facets, **kept}))


def answers(shop: Shop) -> list[dict[str, object]]:
    """Queries near to photos of the index, with the ten best products by exact search in float64."""
    generation = open_index(shop.index)
    vectors = np.concatenate([shard.vectors for shard in generation.shards]).astype(np.float64)
    ordinals = np.concatenate([shard.ordinals for shard in generation.shards])
    rng = np.random.default_rng(1)
    found: list[dict[str, object]] = []
    for row in rng.permutation(len(vectors))[:QUERIES]:
        query = vectors[row] + 0.1 * rng.standard_normal(vectors.shape[1])
        query = np.round(query / np.linalg.norm(query), 6)
        query /= np.linalg.norm(query)
        cosines = vectors @ query
        best = np.full(generation.products.count, -np.inf)
        np.maximum.at(best, ordinals, cosines)
        order = np.argsort(-best)[:10].tolist()
        scores = {generation.products.product_id(at): round(best[at], 6) for at in order}
        found.append({"query": query.tolist(), "scores": scores})
    return found


if __name__ == "__main__":
    main()
