"""What the manifest says about recall is what a slow search over plain arrays measures."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.search.plan import TARGET
from engine.storage.shard import PhotoRows, Shard, shard_of, write_shard
from indexer.gallery import Gallery, Questions
from indexer.quantizer import lists_for, sample_size, subspaces_for, train
from indexer.tune import AT, HOLD_OUT_FROM, Tuning, draw_held_out, interval_95, reaches_target, tune
from tests.fakes import Floats, product_vectors

PRODUCTS, PHOTOS, SHARDS, LISTS = 700, 3, 2, 40


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    return make_gallery(tmp_path_factory.mktemp("gallery"), *product_vectors(PRODUCTS, PHOTOS), lists=LISTS)


@pytest.fixture(scope="module")
def chosen(gallery: Gallery) -> Tuning:
    return tune(gallery, np.empty(0, np.int64), np.random.default_rng(0))


def make_gallery(directory: Path, vectors: NDArray[np.float16], owners: NDArray[np.int64], lists: int) -> Gallery:
    quantizer = train(vectors.astype(np.float32), lists)
    homes = np.array([shard_of(str(owner), SHARDS) for owner in owners])
    for number in range(SHARDS):
        mine = np.flatnonzero(homes == number)
        hashes = np.zeros((len(mine), 32), np.uint8)
        photos = PhotoRows(mine, owners[mine].astype(np.int32), hashes, [""] * len(mine))
        write_shard(directory, number, quantizer, photos, vectors[mine])
    shards = [Shard.open(directory, number, quantizer) for number in range(SHARDS)]
    return Gallery(quantizer, shards, int(owners.max()) + 1)


def rows_of(gallery: Gallery) -> tuple[Floats, NDArray[np.int32]]:
    """All vectors and their products, in the numbering of the gallery."""
    vectors = np.concatenate([np.asarray(shard.vectors, np.float32) for shard in gallery.shards])
    return vectors, np.concatenate([shard.ordinals for shard in gallery.shards])


def best_products(cosines: Floats, ordinals: NDArray[np.int32]) -> list[int]:
    """The oracle: at most ten distinct products by their best photo, from plain Python."""
    found: list[int] = []
    for row in np.argsort(-cosines, kind="stable"):
        if cosines[row] > -1 and ordinals[row] not in found:
            found.append(int(ordinals[row]))
        if len(found) == AT:
            break
    return found


def test_the_exact_answer_is_that_of_a_plain_search(gallery: Gallery) -> None:
    vectors, ordinals = rows_of(gallery)
    rows = np.arange(0, gallery.rows, 97)
    questions = Questions.ask(gallery, rows, AT)
    assert np.array_equal(questions.rows, rows)
    for row, truth in zip(rows, questions.truths, strict=True):
        cosines = vectors @ vectors[row]
        cosines[row] = -2
        best = best_products(cosines, ordinals)
        assert truth.wanted == AT
        assert truth.floor == pytest.approx(max(cosines[ordinals == best[-1]]), abs=1e-5)
        assert truth.recall(cosines, ordinals) == 1.0
        keep = ordinals != best[3]
        assert truth.recall(cosines[keep], ordinals[keep]) == pytest.approx(0.9)


def test_the_recall_reported_is_that_of_a_plain_search_with_its_settings(gallery: Gallery, chosen: Tuning) -> None:
    vectors, ordinals = rows_of(gallery)
    recalls = []
    for row in np.random.default_rng(9).permutation(gallery.rows)[:150]:
        query = vectors[row : row + 1]
        candidates = gallery.scan(query, chosen.nprobe, chosen.depth + 1)[0]
        candidates = candidates[(candidates >= 0) & (candidates != row)][: chosen.depth]
        cosines = vectors @ query[0]
        cosines[row] = -2
        true = best_products(cosines, ordinals)
        found = best_products(cosines[candidates], ordinals[candidates])
        recalls.append(len(set(found) & set(true)) / len(true))
    low, high = chosen.recall.interval_95
    assert low - 0.01 <= np.mean(recalls) <= high + 0.01
    assert chosen.recall.value >= TARGET - 0.01
    assert chosen.recall.queries == 250
    assert chosen.nprobe < LISTS  # it did choose


def test_the_settings_follow_the_vectors(tmp_path: Path) -> None:
    """Vectors without any structure need more lists than products do."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((2100, 32))
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    owners = np.repeat(np.arange(700), 3)
    hard = make_gallery(tmp_path, noise.astype(np.float16), owners, LISTS)
    chosen = tune(hard, np.empty(0, np.int64), np.random.default_rng(0))
    assert chosen.nprobe > LISTS // 2
    assert chosen.recall.value > 0.95


def test_held_out_products_ask(tmp_path: Path) -> None:
    vectors, owners = product_vectors(300, 2)
    gallery = make_gallery(tmp_path, vectors, owners, 8)
    held_out = np.arange(100, 160)
    chosen = tune(gallery, held_out, np.random.default_rng(0))
    assert chosen.recall.queries == 30
    assert "outside the codec's sample" in chosen.recall.how


def test_only_big_catalogues_hold_products_out() -> None:
    rng = np.random.default_rng(0)
    assert len(draw_held_out(HOLD_OUT_FROM - 1, rng)) == 0
    held_out = draw_held_out(HOLD_OUT_FROM, rng)
    assert len(held_out) == len(set(held_out)) == 500


def test_a_single_photo_is_found_without_measuring(tmp_path: Path) -> None:
    vectors, owners = product_vectors(1, 1)
    chosen = tune(make_gallery(tmp_path, vectors, owners, 1), np.empty(0, np.int64), np.random.default_rng(0))
    assert (chosen.nprobe, chosen.depth, chosen.recall.queries) == (1, 1, 0)


@pytest.mark.parametrize(
    ("share", "count", "low", "high"), [(1.0, 250, 0.985, 1.0), (0.5, 100, 0.404, 0.596), (0.98, 250, 0.954, 0.991)]
)
def test_the_interval_is_wilsons(share: float, count: int, low: float, high: float) -> None:
    assert interval_95(share, count) == (pytest.approx(low, abs=1e-3), pytest.approx(high, abs=1e-3))


def test_the_target_is_reached_with_a_margin() -> None:
    assert reaches_target(np.full(100, 0.98))
    assert not reaches_target(np.array([1.0] * 96 + [0.5] * 4))  # .98 on average, but only just
    assert reaches_target(np.array([1.0] * 99 + [0.5]))


@pytest.mark.parametrize(
    ("photos", "lists"), [(1, 1), (77, 1), (78, 2), (300, 7), (3000, 76), (9583, 196), (500_000, 1414)]
)
def test_small_catalogues_have_few_lists(photos: int, lists: int) -> None:
    assert lists_for(photos) == lists
    assert lists <= sample_size(photos, lists) <= photos


@pytest.mark.parametrize(("dim", "subspaces"), [(256, 128), (128, 64), (64, 32), (48, 24), (32, 16), (16, 16), (7, 7)])
def test_subspaces_cover_the_vector(dim: int, subspaces: int) -> None:
    assert subspaces_for(dim) == subspaces
    assert dim % subspaces == 0
