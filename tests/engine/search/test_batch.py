"""Many queries at once against the same queries one at a time and against brute force."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.catalogue.schema import Product
from engine.errors import BadQuery
from engine.search.batch import PART, nearest_photos, nearest_products
from engine.search.delta import Delta, LivePhotos
from engine.search.gallery import Gallery
from engine.search.many import nearest
from engine.search.query import Query
from engine.search.rerank import cosines, cosines_each
from engine.search.snapshot import Snapshot
from engine.storage.generation import open_index
from tests.engine.search.small_index import Contents, clustered, unit, write_index
from tests.fakes import tiny_model

PRODUCTS, PHOTOS, DIM = 400, 1000, 32


@pytest.fixture(scope="module", params=[1, 3])
def gallery(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    root = tmp_path_factory.mktemp("batch")
    owners, vectors = clustered(np.random.default_rng(1), PRODUCTS, PHOTOS, DIM, clusters=20)
    contents = Contents((), [Product(f"p{place:04d}") for place in range(PRODUCTS)], owners, vectors)
    model = tiny_model(root / "model", dim=DIM)
    write_index(root / "index", contents, model, lists=16, shards=request.param, nprobe=6, depth=80).close()
    yield Gallery(open_index(root / "index"))


def queries(count: int) -> np.ndarray:
    _, vectors = clustered(np.random.default_rng(1), PRODUCTS, PHOTOS, DIM, clusters=20)
    near = vectors[np.random.default_rng(2).integers(PHOTOS, size=count)].astype(np.float32)
    noise = unit(np.random.default_rng(3).standard_normal((count, DIM)))
    return unit(near + 0.2 * noise).astype(np.float32)


def all_cosines(gallery: Gallery, asked: np.ndarray) -> np.ndarray:
    return asked @ np.concatenate([shard.vectors for shard, _ in gallery.shards]).astype(np.float32).T


@pytest.mark.parametrize("count", [1, 2, 7, 2 * PART + 3])
def test_photos_are_the_nearest_with_their_true_cosines(gallery: Gallery, count: int) -> None:
    asked = queries(count)
    scores, rows = nearest_photos(gallery, asked, 10)
    exact = all_cosines(gallery, asked)
    assert scores.shape == rows.shape == (count, 10)
    assert np.allclose(scores, np.take_along_axis(exact, rows, axis=1), atol=1e-5)
    assert (np.diff(scores, axis=1) <= 0).all()
    true = -np.sort(-exact, axis=1)[:, 9:10]
    assert (scores >= true - 1e-5).mean() > 0.97
    assert all(len(set(line)) == 10 for line in rows.tolist())


def test_a_batch_answers_as_its_queries_do_alone(gallery: Gallery) -> None:
    asked = queries(PART + 20)
    scores, rows = nearest_photos(gallery, asked, 8)
    for number in range(0, len(asked), 9):
        alone = nearest_photos(gallery, asked[number : number + 1], 8)
        assert np.allclose(alone[0][0], scores[number], atol=1e-6)
        assert set(alone[1][0].tolist()) == set(rows[number].tolist())


def test_all_lists_to_full_depth_are_an_exact_search(gallery: Gallery) -> None:
    asked = queries(5)
    scores, rows = nearest_photos(gallery, asked, PHOTOS + 5, nprobe=gallery.lists, depth=PHOTOS)
    exact = all_cosines(gallery, asked)
    assert np.allclose(scores[:, :PHOTOS], -np.sort(-exact, axis=1), atol=1e-5)
    assert (rows[:, PHOTOS:] == -1).all() and (scores[:, PHOTOS:] == -np.inf).all()


def test_products_stand_where_their_best_photo_stands(gallery: Gallery) -> None:
    asked = queries(20)
    exact = all_cosines(gallery, asked)
    right = 0
    for number, ranking in enumerate(nearest_products(gallery, asked, 10)):
        best = np.full(gallery.products, -2.0)
        np.maximum.at(best, gallery.ordinals, exact[number])
        assert len(set(ranking.ordinals.tolist())) == 10
        assert np.allclose(ranking.scores, best[ranking.ordinals], atol=1e-5)
        right += int((ranking.scores >= -np.sort(-best)[9] - 1e-5).sum())
    assert right >= 0.97 * 200


def test_every_product_is_found_when_all_are_asked_for(gallery: Gallery) -> None:
    for ranking in nearest_products(gallery, queries(2), PRODUCTS + 10):
        assert sorted(ranking.ordinals.tolist()) == list(range(PRODUCTS))


def test_deleted_photos_are_not_found(gallery: Gallery) -> None:
    asked = queries(12)
    best = nearest_photos(gallery, asked, 3)[1]
    alive = np.ones(gallery.rows, np.bool_)
    alive[best.ravel()] = False
    left = gallery.with_alive(alive, gallery.products)
    found = nearest_photos(left, asked, 10)[1]
    assert not np.isin(found, best).any()
    assert (found >= 0).all()


def test_a_batch_looks_deeper_where_deletions_took_the_best_places(gallery: Gallery) -> None:
    asked = queries(12)
    exact = all_cosines(gallery, asked)
    alive = np.ones(gallery.rows, np.bool_)
    alive[nearest_photos(gallery, asked, 60)[1].ravel()] = False
    left = gallery.with_alive(alive, len(np.unique(gallery.ordinals[alive])))
    right = 0
    for number, ranking in enumerate(nearest_products(left, asked, 10)):
        best = np.full(gallery.products, -2.0)
        np.maximum.at(best, gallery.ordinals[alive], exact[number, alive])
        right += int((ranking.scores >= -np.sort(-best)[9] - 1e-5).sum())
    assert right >= 0.95 * 120


def test_cosines_of_own_rows_are_those_of_a_matrix_product(gallery: Gallery) -> None:
    asked = queries(33)
    rows = np.random.default_rng(0).integers(-1, gallery.rows, (33, 50))
    exact = all_cosines(gallery, asked)
    expected = np.where(rows < 0, -np.inf, np.take_along_axis(exact, np.maximum(rows, 0), axis=1))
    assert np.allclose(cosines_each(gallery, rows, asked), expected, atol=1e-5)
    assert np.allclose(cosines_each(gallery, rows[:1], asked[:1]), expected[:1], atol=1e-5)
    rising = np.arange(0, gallery.rows, 3)
    assert np.allclose(cosines(gallery, rising, asked), exact[:, rising].max(axis=0), atol=1e-5)
    assert np.allclose(cosines(gallery, rising, asked[:1]), exact[0, rising], atol=1e-5)


def test_the_engine_names_the_products_that_searching_one_by_one_finds(tmp_path: Path) -> None:
    owners, vectors = clustered(np.random.default_rng(1), PRODUCTS, PHOTOS, DIM, clusters=20)
    contents = Contents((), [Product(f"p{place:04d}") for place in range(PRODUCTS)], owners, vectors)
    model = tiny_model(tmp_path / "model", dim=DIM)
    with write_index(tmp_path / "index", contents, model, lists=16, shards=2, nprobe=6, depth=80) as engine:
        asked = queries(30)
        for query, found in zip(asked, engine.nearest(5 * asked, 7), strict=True):
            alone = engine.search(Query(vector=query, k=7, mode="exact")).exact
            assert alone is not None
            assert [hit.product_id for hit in alone.hits] == [each.product_id for each in found]
            assert [hit.score for hit in alone.hits] == pytest.approx([each.score for each in found], abs=1e-5)
            assert all(contents.owner(each.photo_id) == each.product_id for each in found)
        for wrong in (np.zeros((1, DIM)), np.ones((2, DIM + 1)), np.full((1, DIM), np.nan), np.ones(DIM)):
            with pytest.raises(BadQuery):
                engine.nearest(wrong)
        with pytest.raises(BadQuery):
            engine.nearest(asked, 0)


def test_live_photos_and_deletions_count(tmp_path: Path) -> None:
    owners, vectors = clustered(np.random.default_rng(1), PRODUCTS, PHOTOS, DIM, clusters=20)
    contents = Contents((), [Product(f"p{place:04d}") for place in range(PRODUCTS)], owners, vectors)
    model = tiny_model(tmp_path / "model", dim=DIM)
    asked = queries(6)
    with write_index(tmp_path / "index", contents, model, lists=16, nprobe=6, depth=80) as engine:
        base, best = engine.snapshot.base, [found[0].product_id for found in engine.nearest(asked, 1)]
        gone = np.array([base.products.ordinal(product_id) for product_id in best])
        alive = ~np.isin(base.gallery.ordinals, gone)
        emptied = np.unique(gone)
        hashes, uris = np.array([b""] * 6, object), np.array([""] * 6, object)
        newest = LivePhotos(np.arange(6) + 10**6, np.arange(6), asked.astype(np.float16), uris, hashes)
        delta = Delta(
            2, base.facets, PRODUCTS, newest, alive=alive, emptied=emptied, hidden=np.setdiff1d(gone, range(6))
        )
        for number, found in enumerate(nearest(Snapshot(base, delta), asked, 5)):
            assert found[0].product_id == f"p{number:04d}"
            assert found[0].photo_id == 10**6 + number
            assert found[0].score == pytest.approx(1, abs=1e-3)
            assert len({each.product_id for each in found}) == 5
            assert not {each.photo_id for each in found} & set((100 + np.flatnonzero(np.isin(owners, gone))).tolist())
