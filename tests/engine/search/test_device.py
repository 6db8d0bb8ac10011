"""Searching on a GPU. What there is to decide is tested with a processor's index in its place, the GPU itself only
where there is one."""

from collections.abc import Iterable
from pathlib import Path

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.catalogue.schema import Facet, FacetType, Product
from engine.errors import Unavailable
from engine.search.query import Query
from engine.search.scan import Scan
from engine.search.search_engine import SearchEngine
from engine.storage.gpu import MOST, DeviceRows
from engine.telemetry import Stopwatch
from tests.engine.search.small_index import Contents, clustered, unit, write_index
from tests.fakes import tiny_model

DIM = 16
Halves = NDArray[np.float16]


def in_its_place(dim: int, shards: Iterable[Halves]) -> DeviceRows:
    return DeviceRows(faiss.IndexFlatIP(dim), shards)


def made(root: Path, products: int, photos: int, shards: int = 1) -> tuple[Contents, SearchEngine]:
    """An index whose codes visit one list and find next to nothing: what is found comes from the device."""
    owners, vectors = clustered(np.random.default_rng(0), products, photos, DIM, clusters=20)
    named = [Product(f"p{number:04}", None, {}) for number in range(products)]
    contents = Contents((Facet("share", FacetType.NUMBER),), named, owners, vectors)
    write_index(root, contents, tiny_model(root / "m", dim=DIM), lists=30, shards=shards, nprobe=1, depth=1).close()
    return contents, SearchEngine.open(root, gpu=True)


def check(contents: Contents, engine: SearchEngine) -> None:
    queries = unit(np.random.default_rng(1).standard_normal((40, DIM))).astype(np.float32)
    many = engine.nearest(queries, 10)
    for query, found in zip(queries, many, strict=True):
        best = contents.best(query[None], None)
        answer = engine.search(Query(vector=query, k=10, mode="exact"))
        assert answer.exact is not None and answer.plan.expected_recall == 1.0
        scores = [hit.score for hit in answer.exact.hits]
        assert np.allclose(scores, list(best.values())[:10], atol=1e-5)
        assert [hit.product_id for hit in answer.exact.hits] == list(best)[:10] == [each.product_id for each in found]


@pytest.mark.parametrize("shards", [1, 3])
def test_every_row_is_compared_whatever_the_codes_would_find(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shards: int
) -> None:
    monkeypatch.setattr(DeviceRows, "on_gpu", in_its_place)
    contents, engine = made(tmp_path, 400, 1500, shards)
    with engine:
        check(contents, engine)


def test_a_real_gpu_finds_what_comparing_everything_finds(tmp_path: Path) -> None:
    if not faiss.get_num_gpus():
        pytest.skip("NO GPU, OR FAISS WITHOUT GPU SUPPORT: searching on a GPU was NOT tested")
    contents, engine = made(tmp_path, 400, 1500, 3)
    with engine:
        check(contents, engine)


def test_deleted_photos_are_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DeviceRows, "on_gpu", in_its_place)
    contents, engine = made(tmp_path, 400, 1500)
    with engine:
        whole = engine.snapshot.gallery
        gone = np.isin(whole.ordinals, np.arange(0, 400, 2))
        gallery = whole.with_alive(~gone, 200)
        for query in unit(np.random.default_rng(2).standard_normal((20, DIM))).astype(np.float32):
            found = Scan(gallery, query[None], 10, 10, Stopwatch()).find(None)
            best = [name for name in contents.best(query[None], None) if int(name[1:]) % 2][:10]
            assert [f"p{number:04}" for number in found.ranking.ordinals[:10].tolist()] == best


def test_where_more_photos_crowd_the_first_places_than_a_gpu_tells_of_the_codes_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DeviceRows, "on_gpu", in_its_place)
    rng = np.random.default_rng(0)
    near = np.eye(DIM)[0] + 0.05 * rng.standard_normal((2 * MOST, DIM))
    vectors = unit(np.concatenate([near, rng.standard_normal((50, DIM))])).astype(np.float16)
    owners = np.concatenate([np.zeros(2 * MOST, np.int64), np.arange(1, 51)])
    contents = Contents((), [Product(f"p{number:02}", None, {}) for number in range(51)], owners, vectors)
    write_index(tmp_path, contents, tiny_model(tmp_path / "m", dim=DIM), lists=2, nprobe=2).close()
    query = np.eye(DIM, dtype=np.float32)[0]
    with SearchEngine.open(tmp_path, gpu=True) as engine:
        answer = engine.search(Query(vector=query, k=5, mode="exact"))
    assert answer.exact is not None
    assert [hit.product_id for hit in answer.exact.hits] == list(contents.best(query[None], None))[:5]


def test_an_engine_that_is_to_use_a_gpu_says_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    with pytest.raises(Unavailable, match=r"FAISS sees no GPU; install lookalike\[gpu\]"):
        made(tmp_path, 20, 40)
