"""A catalogue from which everything was deleted becomes a generation without photos, and fills again."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.catalogue.schema import Product
from engine.errors import EmptyCatalogue, UnknownProduct
from engine.search.filters import Equal, Filter, Range
from engine.search.query import Query
from engine.search.search_engine import SearchEngine
from engine.storage.generation import generation_names, open_index
from engine.updates import Updates, Upsert
from indexer.prune import prune_index
from indexer.verify import verify_index
from tests.indexer.shop import Shop, draw, shop

FILTERS: tuple[Filter | None, ...] = (None, Equal("colour", "Red"), Range("price", low=0.0))


@pytest.fixture
def emptied(tmp_path: Path) -> Iterator[Shop]:
    """An index of 12 products, all of which were deleted since, and merged."""
    with shop(tmp_path, products=12) as opened:
        opened.build(shards=2)
        delete_everything(opened)
        assert opened.merge() is not None
        yield opened


def delete_everything(opened: Shop) -> None:
    with opened.catalogue.snapshot() as view:
        ids = [product.product_id for product in view.products()]
    with opened.catalogue.transaction() as writer:
        writer.delete_products(ids)


def found(engine: SearchEngine, filter: Filter | None = None) -> set[str]:
    answer = engine.search(Query(vector=np.ones(16, np.float32), k=100, filter=filter))
    assert answer.exact is not None and answer.similar is not None
    assert answer.matching == len(answer.exact.hits)
    return {hit.product_id for hit in answer.exact.hits}


def test_after_the_last_deletion_whoever_follows_nothing_finds_nothing(emptied: Shop) -> None:
    manifest = open_index(emptied.index).manifest
    assert (manifest.products, manifest.photos, manifest.shards) == (0, 0, 2)
    assert manifest.change_number == emptied.catalogue.change_number()
    assert verify_index(emptied.index) == []
    with SearchEngine.open(emptied.index) as engine:
        assert (engine.products, engine.photos, engine.generation) == (0, 0, "000002")
        for filter in FILTERS:
            assert found(engine, filter) == set()
            assert not engine.matching(filter).any()
        assert engine.nearest(np.ones((3, 16))) == [(), (), ()]
        assert {(summary.distinct, summary.missing) for summary in engine.facet_counts()} == {(0, 0)}
        with pytest.raises(UnknownProduct):
            engine.product("p0000")


def test_what_comes_later_is_found_live_and_after_a_merge(emptied: Shop) -> None:
    with SearchEngine.open(emptied.index, catalogue=emptied.catalogue, encoder=emptied.encoder) as engine:
        updates = Updates(emptied.catalogue, emptied.encoder, emptied.folder / "photos")
        done = updates.upsert(Upsert("new", "New", {"colour": "Red", "price": 1.0}, [draw(50, 0)]))
        assert engine.caught_up(done.change_number, timeout_s=30)
        assert [found(engine, filter) for filter in FILTERS] == [{"new"}] * 3
        emptied.stock(range(30))
        report = emptied.merge()
        assert report is not None and report.manifest.photos == 61
        assert engine.caught_up(report.manifest.change_number, timeout_s=30)
        engine.caught_up(report.manifest.change_number + 1)  # looks for the new generation
        assert engine.generation == "000003"
        assert len(found(engine)) == 31
        assert found(engine, Equal("colour", "Red")) == {"new", *(f"p{number:04d}" for number in range(2, 30, 3))}
    assert verify_index(emptied.index) == []


def test_who_follows_goes_on_into_the_empty_generation(tmp_path: Path) -> None:
    with shop(tmp_path, products=6) as opened:
        opened.build()
        with SearchEngine.open(opened.index, catalogue=opened.catalogue, encoder=opened.encoder) as engine:
            delete_everything(opened)
            report = opened.merge()
            assert report is not None
            engine.caught_up(report.manifest.change_number + 1)
            assert (engine.generation, engine.products, found(engine)) == ("000002", 0, set())
            assert engine.problem is None


def test_the_log_moves_forward_and_no_state_of_nothing_is_in_the_way(emptied: Shop) -> None:
    for number in range(2):  # products without photos are none either
        with emptied.catalogue.transaction() as writer:
            writer.upsert_product(Product(f"bare{number}"))
        report = emptied.merge()
        assert report is not None and report.manifest.products == 0
        assert report.without_photos > 0
    assert generation_names(emptied.index) == ["000003", "000004"]
    pruned = prune_index(emptied.catalogue, emptied.index)
    assert pruned.log_trimmed_to > 12
    assert verify_index(emptied.index) == []
    (emptied.index / "generations/000004/shard-0001.rows.arrow").unlink()
    assert emptied.repair().built is not None
    assert verify_index(emptied.index) == []


def test_a_build_of_nothing_is_refused_with_what_fits(emptied: Shop, tmp_path: Path) -> None:
    with pytest.raises(EmptyCatalogue, match=r"no photos to train on; import some.*or take .* --merge"):
        emptied.build()
    with pytest.raises(EmptyCatalogue, match=r"no photos to train on; import some with `lookalike import`\.$"):
        emptied.build(out=tmp_path / "first")
    assert open_index(emptied.index).name == "000002"
