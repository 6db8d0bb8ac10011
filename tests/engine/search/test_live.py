"""An engine that follows a catalogue says what a plain-Python model of it says, and what a rebuilt index would say."""

import gc
import weakref
from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest

from engine.catalogue.schema import Facet, FacetType, Product
from engine.catalogue.store import Catalogue
from engine.errors import LogTrimmed, Unavailable, UnknownPhoto, UnknownProduct, WrongCatalogue, WrongModel
from engine.search.filters import Equal, Exists, Filter, Range
from engine.search.query import Query
from engine.search.search_engine import SearchEngine
from engine.storage.shard import shard_of
from engine.updates import Updates, Upsert
from tests.engine.search.live_model import FILTERS, LiveModel
from tests.fakes import tiny_model
from tests.indexer.shop import Shop, draw, shop


def random_life(opened: Shop, steps: int, seed: int) -> LiveModel:
    """`steps` random changes with a check after every few, and a new generation in the middle."""
    rng = np.random.default_rng(seed)
    model = LiveModel(opened, rng, products=30)
    with SearchEngine.open(opened.index, catalogue=opened.catalogue, encoder=opened.encoder) as engine:
        encoded = opened.encoder.photos_encoded
        for step in range(steps):
            model.change()
            if rng.random() < 0.3:
                assert engine.caught_up(model.change_number, timeout_s=30)
                model.check(engine)
            if step == steps // 2:
                opened.build()
        assert engine.caught_up(model.change_number, timeout_s=30)
        model.check(engine)
        assert engine.generation == "000002"
        assert engine.problem is None
        assert engine.snapshot.delta.unreadable == {}
        assert opened.encoder.photos_encoded - encoded <= 5 * 30  # each photo once, by whoever wrote it
        check_against_a_rebuilt_index(opened, engine, rng)
    return model


def check_against_a_rebuilt_index(opened: Shop, engine: SearchEngine, rng: np.random.Generator) -> None:
    """Generation and delta answer as an index that was built from scratch, where both compare everything."""
    opened.build(out=opened.folder / "rebuilt")
    with SearchEngine.open(opened.folder / "rebuilt", encoder=opened.encoder) as rebuilt:
        assert (engine.products, engine.photos, engine.facets) == (rebuilt.products, rebuilt.photos, rebuilt.facets)
        assert engine.content_hashes == rebuilt.content_hashes
        for filter in FILTERS:
            assert engine.facet_counts(filter) == rebuilt.facet_counts(filter)
            vector = rng.standard_normal(opened.encoder.dim).astype(np.float32)
            for mode in ("exact", "similar"):
                query = Query(vector=vector, k=1000, mode=mode, filter=filter)
                live, built = engine.search(query), rebuilt.search(query)
                assert live.matching == built.matching
                assert shown(live) == shown(built)


def shown(result) -> list[tuple]:
    hits = result.similar if result.exact is None else result.exact.hits
    return [(hit.product_id, hit.title, hit.facets, hit.photo_id, pytest.approx(hit.score, abs=2e-6)) for hit in hits]


def test_a_delta_that_grows_long_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("engine.search.search_engine.MANY_LIVE_PHOTOS", 3)
    with shop(tmp_path, products=4) as opened:
        opened.build()
        updates = Updates(opened.catalogue, opened.encoder, opened.folder / "photos")
        with SearchEngine.open(opened.index, catalogue=opened.catalogue, encoder=opened.encoder) as engine:
            told = []
            for number in range(4):
                done = updates.upsert(Upsert(f"n{number}", None, {}, [draw(40 + number, 0), draw(40 + number, 1)]))
                assert engine.caught_up(done.change_number, timeout_s=30)
                told.append((engine.live_photos, len(caplog.records)))
    assert told == [(2, 0), (4, 1), (6, 1), (8, 1)]
    assert "4 photos are newer than the index" in caplog.text
    assert "lookalike index --merge" in caplog.text


@pytest.mark.parametrize(("where", "seed"), [("sqlite", 0), ("sqlite", 1), ("postgresql", 2)], indirect=["where"])
def test_random_changes_are_found_as_the_model_says_and_a_rebuilt_index_too(
    tmp_path: Path, where: str, seed: int
) -> None:
    with shop(tmp_path, products=15, where=where) as opened:
        opened.build(shards=2)
        model = random_life(opened, 30, seed)
        with opened.catalogue.snapshot() as view:
            assert list(view.products()) == model.products()


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Shop]:
    with shop(tmp_path, products=6) as made:
        made.build()
        yield made


@pytest.fixture
def engine(opened: Shop) -> Iterator[SearchEngine]:
    with SearchEngine.open(opened.index, catalogue=opened.catalogue, encoder=opened.encoder) as following:
        yield following


def ids(engine: SearchEngine, filter: Filter | None = None) -> set[str]:
    result = engine.search(Query(vector=np.ones(16, np.float32), k=1000, mode="exact", filter=filter))
    assert result.exact is not None
    return {hit.product_id for hit in result.exact.hits}


def test_an_upsert_a_change_and_a_deletion_are_found_without_a_new_generation(
    opened: Shop, engine: SearchEngine
) -> None:
    updates = Updates(opened.catalogue, opened.encoder)
    done = updates.upsert(Upsert("new", "New", {"colour": "Red", "price": 99.0}, [draw(77, 0)]))
    assert engine.caught_up(done.change_number, timeout_s=10)
    answer = engine.search(Query(photo=draw(77, 0), k=3, filter=Range("price", low=50.0)))
    assert answer.exact is not None
    assert [hit.product_id for hit in answer.exact.hits] == ["new"]
    assert (answer.plan.path, answer.plan.delta_rows, answer.plan.survivors) == ("exact", 1, 1)
    assert answer.plan.change_number == done.change_number
    (photo_id,) = done.written[0].photo_ids
    assert engine.photo(photo_id) == draw(77, 0)
    done = updates.set_facets("p0001", {"price": 60.0}, ["colour"])
    assert engine.caught_up(done.change_number, timeout_s=10)
    assert ids(engine, Range("price", low=50.0)) == {"new", "p0001"}
    assert "p0001" not in ids(engine, Exists("colour"))
    done = updates.delete(["new", "p0002"])
    assert engine.caught_up(done.change_number, timeout_s=10)
    assert ids(engine) == {"p0000", "p0001", "p0003", "p0004", "p0005"}
    assert engine.generation == "000001"
    with pytest.raises(UnknownPhoto):
        engine.photo(photo_id)
    with pytest.raises(UnknownProduct):
        engine.search(Query(product_id="p0002"))


def test_a_product_that_comes_back_has_only_its_new_photos(opened: Shop, engine: SearchEngine) -> None:
    updates = Updates(opened.catalogue, opened.encoder)
    updates.delete(["p0003"])
    done = updates.upsert(Upsert("p0003", photos=[draw(3, 0)]))  # the very photo that it had
    assert engine.caught_up(done.change_number, timeout_s=10)
    detail = engine.product("p0003")
    assert (detail.title, detail.facets, detail.photo_ids) == (None, {}, done.written[0].photo_ids)


def test_a_query_keeps_the_moment_in_which_it_began(opened: Shop, engine: SearchEngine) -> None:
    before = engine.snapshot
    done = Updates(opened.catalogue).delete(["p0000"])
    assert engine.caught_up(done.change_number, timeout_s=10)
    assert before.product("p0000").photo_ids
    assert (before.products, engine.products) == (6, 5)


def test_imported_photos_without_vectors_are_encoded_and_unreadable_ones_told(
    opened: Shop, engine: SearchEngine
) -> None:
    opened.stock(range(6, 80), photos=2)  # more than one batch of photos to encode
    opened.photo(70).unlink()
    opened.photo(71, 1).write_bytes(draw(1, 1))
    number = opened.catalogue.change_number()
    assert engine.caught_up(number, timeout_s=60)
    assert (engine.products, engine.photos) == (80, 158)
    assert engine.snapshot.delta.unreadable.keys() == {"p0070", "p0071"}
    assert engine.product("p0070").photo_ids
    opened.stock(range(70, 72))  # put back, but a photo that is as it was is no change …
    assert opened.catalogue.change_number() == number
    done = Updates(opened.catalogue, opened.encoder).upsert(Upsert("p0070", photos=[draw(70, 0)]))  # … this one is
    assert engine.caught_up(done.change_number, timeout_s=10)
    assert len(engine.product("p0070").photo_ids) == 2
    assert engine.snapshot.delta.unreadable.keys() == {"p0071"}


def test_facets_that_come_go_and_change_their_type_are_filtered_by_as_they_are(
    opened: Shop, engine: SearchEngine
) -> None:
    updates = Updates(opened.catalogue, opened.encoder)
    done = updates.set_facets("p0001", {"tags": ("a", "b")}, declare=[Facet("tags", FacetType.KEYWORDS)])
    assert engine.caught_up(done.change_number, timeout_s=10)
    assert ids(engine, Equal("tags", "a")) == {"p0001"}
    assert ids(engine, Range("price", low=4.0)) == {"p0004", "p0005"}
    with opened.catalogue.transaction() as writer:
        writer.drop_facet("price")
    with opened.catalogue.transaction() as writer:
        writer.declare_facets([Facet("price", FacetType.KEYWORD)])
        writer.set_facets("p0002", {"price": "dear"})
        number = writer.change_number
    assert engine.caught_up(number, timeout_s=10)
    assert ids(engine, Exists("price")) == ids(engine, Equal("price", "dear")) == {"p0002"}
    counts = {summary.name: summary for summary in engine.facet_counts()}
    assert counts["price"].values == (("dear", 1),) and counts["price"].missing == 5
    assert counts["tags"].values == (("a", 1), ("b", 1))
    assert engine.product("p0001").facets == {"colour": "Green", "tags": ("a", "b")}
    opened.build()
    assert engine.caught_up(number + 1) is False  # nothing new, but looked: the new generation answers
    assert engine.generation == "000002"
    assert ids(engine, Equal("price", "dear")) == {"p0002"}


def test_many_changes_of_one_product_keep_the_layers_few(opened: Shop, engine: SearchEngine) -> None:
    updates = Updates(opened.catalogue)
    for step in range(40):
        done = updates.set_facets(f"p000{step % 6}", {"price": float(step)})
        assert engine.caught_up(done.change_number, timeout_s=10)
    assert len(engine.snapshot.delta.layers) <= 2
    assert engine.product("p0003").facets["price"] == 39.0


def test_a_trimmed_log_is_no_loss_to_who_can_open_a_newer_generation(opened: Shop) -> None:
    engine = SearchEngine.open(opened.index, encoder=opened.encoder)  # as somebody who was away
    engine.close()
    Updates(opened.catalogue).delete(["p0000"])
    with opened.catalogue.transaction() as writer:
        writer.trim_log(writer.change_number)
    with pytest.raises(LogTrimmed, match="lookalike index"):
        SearchEngine.open(opened.index, catalogue=opened.catalogue, encoder=opened.encoder)
    opened.build()
    with SearchEngine.open(opened.index, catalogue=opened.catalogue, encoder=opened.encoder) as again:
        assert ids(again) == {"p0001", "p0002", "p0003", "p0004", "p0005"}


def test_an_index_follows_its_own_catalogue_only(opened: Shop, tmp_path: Path) -> None:
    with Catalogue.open(tmp_path / "other.db", create=True) as other, pytest.raises(WrongCatalogue, match="another"):
        SearchEngine.open(opened.index, catalogue=other, encoder=opened.encoder)


def test_an_older_copy_of_the_catalogue_is_refused_and_the_index_goes_on(opened: Shop, engine: SearchEngine) -> None:
    with opened.catalogue.transaction() as writer:
        writer.upsert_product(Product("lost"))
    assert engine.caught_up(opened.catalogue.change_number(), timeout_s=10)
    with opened.catalogue._engine.begin() as connection:  # as a restored backup would have it
        connection.exec_driver_sql("UPDATE counters SET change_number = 3")
    with pytest.raises(WrongCatalogue, match="older copy"):
        engine.caught_up(10**6)
    assert len(ids(engine)) == 6
    with pytest.raises(WrongCatalogue, match="older copy"):
        SearchEngine.open(opened.index, catalogue=opened.catalogue, encoder=opened.encoder)


def test_a_generation_of_another_model_is_told_and_the_old_one_answers(opened: Shop, engine: SearchEngine) -> None:
    other = tiny_model(opened.folder / "other", dim=8)
    opened.build(other)
    with pytest.raises(WrongModel):
        engine.caught_up(10**6)
    assert len(ids(engine)) == 6
    assert engine.generation == "000001"


def test_what_no_query_holds_any_more_is_let_go_at_once(opened: Shop, engine: SearchEngine) -> None:
    """Without waiting for the collector of cycles: a generation's mapped files are gigabytes."""
    gc.disable()
    try:
        assert ids(engine, Equal("colour", "Red"))
        done = Updates(opened.catalogue).set_facets("p0001", {"price": 60.0})
        assert engine.caught_up(done.change_number, timeout_s=10)
        assert ids(engine, Equal("colour", "Red"))
        before = weakref.ref(engine.snapshot), weakref.ref(engine.snapshot.base.generation)
        opened.build()
        assert not engine.caught_up(done.change_number + 1)
        assert engine.generation == "000002"
        assert [old() for old in before] == [None, None]
    finally:
        gc.enable()


def test_a_closed_engine_holds_nothing_and_says_that_it_is_closed(opened: Shop) -> None:
    gc.disable()
    try:
        engine = SearchEngine.open(opened.index, catalogue=opened.catalogue, encoder=opened.encoder)
        assert ids(engine, Equal("colour", "Red"))
        held = weakref.ref(engine.snapshot), weakref.ref(engine.snapshot.base.generation.shards[0])
        engine.close()
        assert [old() for old in held] == [None, None]
        for ask in (lambda: ids(engine), lambda: engine.products, lambda: engine.nearest(np.ones((1, 16)), 1)):
            with pytest.raises(Unavailable, match="was closed; open the index again"):
                ask()
        engine.close()
    finally:
        gc.enable()


def test_a_query_that_began_before_the_engine_was_closed_ends_well(opened: Shop) -> None:
    engine = SearchEngine.open(opened.index, encoder=opened.encoder)
    begun = engine.snapshot
    engine.close()
    assert begun.product("p0001").photo_ids
    assert len(begun.content_hashes) == 12


def test_a_damaged_shard_is_left_out_and_said_and_live_changes_go_on(tmp_path: Path) -> None:
    with shop(tmp_path, products=12) as opened:
        opened.build(shards=2)
        (tmp_path / "index/generations/000001/shard-0001.vectors.npy").unlink()
        there = {f"p{number:04d}" for number in range(12) if shard_of(f"p{number:04d}", 2) == 0}
        with SearchEngine.open(opened.index, catalogue=opened.catalogue, encoder=opened.encoder) as engine:
            answer = engine.search(Query(vector=np.ones(16, np.float32), k=3))
            assert len(answer.plan.partial) == 1 and "Shard 1 of 2 is missing" in answer.plan.partial[0]
            assert ids(engine) == there
            assert ids(engine, Exists("colour")) == there
            assert engine.products == len(there) == sum(count for _, count in engine.facet_counts()[0].values)
            lost = min({f"p{number:04d}" for number in range(12)} - there)
            with pytest.raises(UnknownProduct):
                engine.product(lost)
            done = Updates(opened.catalogue, opened.encoder).upsert(Upsert(lost, photos=[draw(60, 0)]))
            assert engine.caught_up(done.change_number, timeout_s=10)
            assert ids(engine) == there | {lost}
            assert len(engine.product(lost).photo_ids) == 3  # what is touched is whole again: its photos are read anew


class Flaky(Catalogue):
    """A catalogue that does not answer while `down`."""

    down = False

    def change_number(self) -> int:
        if self.down:
            raise Unavailable("The catalogue does not answer; see to that, then try again.")
        return super().change_number()


def test_while_the_catalogue_is_away_the_last_moment_answers(opened: Shop) -> None:
    with (
        Flaky.open(opened.folder / "shop.db") as catalogue,
        SearchEngine.open(opened.index, catalogue=catalogue, encoder=opened.encoder) as engine,
    ):
        assert isinstance(catalogue, Flaky)
        catalogue.down = True
        done = Updates(opened.catalogue).delete(["p0000"])
        with pytest.raises(Unavailable):
            engine.caught_up(done.change_number)
        wait_until(lambda: engine.problem is not None)
        assert "p0000" in ids(engine)
        behind = engine.visibility_lag_s
        assert behind is not None
        wait_until(lambda: (engine.visibility_lag_s or 0) >= behind + 1)  # grows as long as nothing can be seen
        catalogue.down = False
        wait_until(lambda: engine.problem is None and engine.change_number == done.change_number)
        assert "p0000" not in ids(engine)
        wait_until(lambda: (engine.visibility_lag_s or 0) < 1)


def test_everything_is_visible_once_the_first_look_brought_all(opened: Shop) -> None:
    with SearchEngine.open(opened.index, encoder=opened.encoder) as engine:
        assert engine.visibility_lag_s is None  # nothing to follow
    with (
        Flaky.open(opened.folder / "shop.db") as catalogue,
        SearchEngine.open(opened.index, catalogue=catalogue, encoder=opened.encoder, catch_up=False) as engine,
    ):
        wait_until(lambda: engine.visibility_lag_s != inf)
        done = Updates(opened.catalogue).delete(["p0000"])
        assert engine.caught_up(done.change_number, timeout_s=30)
        assert engine.deleted_photos == 2
    with pytest.raises(Unavailable):
        _ = engine.deleted_photos


def test_a_catalogue_that_cannot_be_read_from_the_start_leaves_everything_open(opened: Shop) -> None:
    with Flaky.open(opened.folder / "shop.db") as catalogue:
        assert isinstance(catalogue, Flaky)
        catalogue.down = True
        with SearchEngine.open(opened.index, catalogue=catalogue, encoder=opened.encoder, catch_up=False) as engine:
            wait_until(lambda: engine.problem is not None)
            assert engine.visibility_lag_s == inf


def wait_until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = monotonic() + seconds
    while not true():
        assert monotonic() < deadline
        sleep(0.01)
