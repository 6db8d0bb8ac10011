"""How long after an acknowledged change another process finds it: milliseconds for upserts, facet changes, deletions.

python benchmarks/live.py --index index/ --catalogue shop.db [--changes 200] [--json out.json]

A second process follows the catalogue as `lookalike serve --catalogue` does and searches without a pause. This one
upserts products with a drawn photo, changes their facet and deletes them again; the clock runs from the moment in which
the catalogue has acknowledged a change (its transaction is on the disk) to the end of the first search in the other
process that shows it. Both read the same monotonic clock. The catalogue is left as it was, but for its change number
and the facet `live_benchmark`.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from engine.catalogue.schema import Facet, FacetType
from engine.catalogue.store import Catalogue
from engine.errors import BadFilter
from engine.search.filters import Equal
from engine.search.query import Query
from engine.search.search_engine import SearchEngine
from engine.updates import Updates, Upsert
from engine.vision.encoder import Encoder, OpenVinoEncoder
from engine.vision.model import Model
from engine.vision.photo_vectors import vectors_of

FACET = Facet("live_benchmark", FacetType.NUMBER)
SEED = 0
PAUSE_S = 0.001  # between two searches of the follower, so that it does not take the cores from what is measured


def watch(index: str, catalogue: str) -> None:
    """The other process: for every line asked (what, product, vector, number), the moment in which it was true."""
    with SearchEngine.open(index, catalogue=catalogue) as engine:
        print("ready", flush=True)
        for line in sys.stdin:
            what, product_id, vector, number = json.loads(line)
            query = np.array(vector, np.float32)
            while not _shows(engine, what, product_id, query, number):
                time.sleep(PAUSE_S)
            print(json.dumps({"at": time.monotonic(), "delta_rows": len(engine.snapshot.delta.live)}), flush=True)


def _shows(engine: SearchEngine, what: str, product_id: str, vector: np.ndarray, number: float) -> bool:
    filter = Equal(FACET.name, number) if what == "set" else None
    try:
        answer = engine.search(Query(vector=vector, k=10, mode="exact", filter=filter))
    except BadFilter:  # the facet is as new as the change
        return False
    assert answer.exact is not None
    found = product_id in {hit.product_id for hit in answer.exact.hits}
    return found is (what != "delete")


def measure(index: str, catalogue: str, photos: Path, encoder: Encoder, changes: int) -> dict[str, Any]:
    """Asks the other process after every change; `photos` is the folder to keep the drawn ones in."""
    rng = np.random.default_rng(SEED)
    lags: dict[str, list[float]] = {"upsert": [], "set": [], "delete": []}
    write_ms: dict[str, list[float]] = {what: [] for what in lags}
    command = [sys.executable, "-c", "import sys; from benchmarks.live import watch; watch(*sys.argv[1:])"]
    with (
        Catalogue.open(catalogue, upgrade=True) as opened,
        subprocess.Popen(
            [*command, index, catalogue], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        ) as other,
    ):
        assert other.stdin is not None and other.stdout is not None
        assert other.stdout.readline() == "ready\n", "the other process could not open the index"
        updates = Updates(opened, encoder, photos)
        for number in range(changes):
            product_id, data = f"live-benchmark-{number}", _drawn(rng)
            vector = vectors_of([(product_id, data)], encoder)[0].tolist()
            steps: dict[str, Callable[[], object]] = {
                "upsert": partial(updates.upsert, Upsert(product_id, None, {}, [data])),
                "set": partial(updates.set_facets, product_id, {FACET.name: float(number)}, declare=[FACET]),
                "delete": partial(updates.delete, [product_id]),
            }
            for what, change in steps.items():
                start = time.monotonic()
                change()
                acknowledged = time.monotonic()
                other.stdin.write(json.dumps([what, product_id, vector, float(number)]) + "\n")
                told = json.loads(other.stdout.readline())
                lags[what].append((told["at"] - acknowledged) * 1000)
                write_ms[what].append((acknowledged - start) * 1000)
        other.stdin.close()
    everything = [lag for several in lags.values() for lag in several]
    return {
        "changes": len(everything),
        "visible_after_ms": {"all": _percentiles(everything), **{what: _percentiles(lags[what]) for what in lags}},
        "write_ms": {what: _percentiles(write_ms[what]) for what in write_ms},
    }


def _drawn(rng: np.random.Generator) -> bytes:
    """A PNG of random patches: a photo that nothing else is like."""
    patches = rng.integers(0, 256, (8, 8, 3), np.uint8).repeat(16, axis=0).repeat(16, axis=1)
    file = BytesIO()
    Image.fromarray(patches).save(file, "PNG")
    return file.getvalue()


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    return {f"p{share}": round(float(np.percentile(values, share)), 1) for share in (50, 95, 99, 100)}


def main() -> None:
    """Measures, prints JSON and writes it where asked."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--index", required=True)
    options.add_argument("--catalogue", required=True)
    options.add_argument("--photos", type=Path, help="folder for the drawn photos; by default photos beside FILE")
    options.add_argument("--changes", type=int, default=200, help="products; each is upserted, changed and deleted")
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    with SearchEngine.open(given.index) as engine:
        products, photos, model = engine.products, engine.photos, engine.model.path
    folder = given.photos or Path(given.catalogue).parent / "photos"
    figures = {
        "products": products,
        "photos": photos,
        **measure(given.index, given.catalogue, folder, OpenVinoEncoder(Model.open(model)), given.changes),
    }
    text = json.dumps(figures, indent=2)
    print(text)
    if given.json:
        given.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
