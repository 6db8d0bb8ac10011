"""Shards and their codes against plain numpy: rows in list order, scans that honour lists, depth and filters."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import DamagedFile
from engine.storage.ivf import Quantizer, allow
from engine.storage.shard import PhotoRows, Shard, shard_files, shard_of, write_shard
from indexer.quantizer import Representation, codec_for, train
from tests.fakes import product_vectors

DIM = 32
LISTS = 9
VECTORS, OWNERS = product_vectors(products=200, photos=3, dim=DIM)
QUERIES = product_vectors(products=20, photos=1, dim=DIM, seed=1)[0].astype(np.float32)


@pytest.fixture(scope="module")
def quantizer() -> Quantizer:
    return train(VECTORS.astype(np.float32), LISTS)


def photo_rows(owners: NDArray[np.int64]) -> PhotoRows:
    numbers = np.arange(len(owners))
    rng = np.random.default_rng(5)
    hashes = rng.integers(0, 256, (len(owners), 32), dtype=np.uint8)
    # ids in another order than rows, as after deletions and additions
    return PhotoRows(
        rng.permutation(numbers) + 1000, owners.astype(np.int32), hashes, [f"file:///{n}" for n in numbers]
    )


@pytest.fixture(scope="module")
def shard(quantizer: Quantizer, tmp_path_factory: pytest.TempPathFactory) -> Shard:
    directory = tmp_path_factory.mktemp("shard")
    write_shard(directory, 0, quantizer, photo_rows(OWNERS), VECTORS)
    return Shard.open(directory, 0, quantizer)


def test_a_products_shard_never_changes() -> None:
    # written into every index: another function would look for products in the wrong shard
    assert [shard_of(product_id, 7) for product_id in ("a", "b", "sku-42", "ärmel")] == [2, 5, 2, 4]


def test_products_spread_evenly_over_shards() -> None:
    counts = np.bincount([shard_of(f"p{number}", 8) for number in range(8000)], minlength=8)
    assert counts.min() > 850
    assert counts.max() < 1150


def test_rows_lie_in_the_order_of_their_lists(shard: Shard, quantizer: Quantizer) -> None:
    assert shard.list_offsets[0] == 0
    assert shard.list_offsets[-1] == shard.rows == len(VECTORS)
    lists = quantizer.assign(shard.vectors)
    assert np.array_equal(np.repeat(np.arange(LISTS), np.diff(shard.list_offsets)), lists)
    for number in range(LISTS):
        assert np.array_equal(shard.codes.ids(number), np.flatnonzero(lists == number))


def test_a_row_keeps_its_photo_together(shard: Shard) -> None:
    given = photo_rows(OWNERS)
    place = {int(photo_id): number for number, photo_id in enumerate(given.photo_ids)}
    hashes = shard.content_hashes()
    for row in range(shard.rows):
        number = place[int(shard.photo_ids[row])]
        assert np.array_equal(shard.vectors[row], VECTORS[number])
        assert shard.ordinals[row] == OWNERS[number]
        assert shard.uri(row) == given.uris[number]
        assert hashes[row] == given.content_hashes[number].tobytes()


def test_photos_and_products_are_found_by_their_numbers(shard: Shard) -> None:
    for row in (0, 17, shard.rows - 1):
        assert shard.row_of_photo(int(shard.photo_ids[row])) == row
    assert shard.row_of_photo(999) is None
    assert shard.row_of_photo(10**9) is None
    for ordinal in (0, 99, 199):
        assert np.array_equal(shard.rows_of_product(ordinal), np.flatnonzero(shard.ordinals == ordinal))
    assert len(shard.rows_of_product(200)) == 0


def test_nearest_lists_are_those_with_the_nearest_centroids(quantizer: Quantizer) -> None:
    similarities, lists = quantizer.nearest(QUERIES, LISTS)
    assert (np.diff(similarities, axis=1) <= 0).all()
    assert (np.sort(lists, axis=1) == np.arange(LISTS)).all()
    fewer = quantizer.nearest(QUERIES, 3)
    assert np.array_equal(fewer[1], lists[:, :3])
    assert np.array_equal(quantizer.assign(QUERIES.astype(np.float16)), quantizer.nearest(QUERIES, 1)[1][:, 0])


def test_a_scan_of_all_lists_to_full_depth_finds_every_row_once(shard: Shard, quantizer: Quantizer) -> None:
    similarities, lists = quantizer.nearest(QUERIES, LISTS)
    scores, rows = shard.codes.scan(QUERIES, lists, similarities, shard.rows)
    assert (np.sort(rows, axis=1) == np.arange(shard.rows)).all()
    assert (np.diff(scores, axis=1) <= 1e-6).all()


def test_codes_rank_like_cosines(shard: Shard, quantizer: Quantizer) -> None:
    similarities, lists = quantizer.nearest(QUERIES, LISTS)
    _, rows = shard.codes.scan(QUERIES, lists, similarities, 60)
    exact = QUERIES @ shard.vectors.astype(np.float32).T
    nearest = np.argsort(-exact, axis=1)[:, :10]
    found = [len(np.intersect1d(row, true)) / 10 for row, true in zip(rows, nearest, strict=True)]
    assert np.mean(found) > 0.95


def test_a_scan_stays_in_its_lists(shard: Shard, quantizer: Quantizer) -> None:
    similarities, lists = quantizer.nearest(QUERIES, 4)
    lists = lists.copy()
    lists[:, 1] = -1  # skipped
    _, rows = shard.codes.scan(QUERIES, lists, similarities, shard.rows)
    owner = np.repeat(np.arange(LISTS), np.diff(shard.list_offsets))
    for found, wanted in zip(rows, lists, strict=True):
        assert np.array_equal(np.sort(found[found >= 0]), np.flatnonzero(np.isin(owner, wanted)))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 1.0])
def test_a_scan_returns_only_allowed_rows(shard: Shard, quantizer: Quantizer, share: float) -> None:
    allowed = np.random.default_rng(3).random(shard.rows) < share
    similarities, lists = quantizer.nearest(QUERIES, LISTS)
    _, rows = shard.codes.scan(QUERIES, lists, similarities, shard.rows, allow(allowed))
    for found in rows:
        assert np.array_equal(np.sort(found[found >= 0]), np.flatnonzero(allowed))


def test_one_query_and_many_give_the_same(shard: Shard, quantizer: Quantizer) -> None:
    similarities, lists = quantizer.nearest(QUERIES, 4)
    together = shard.codes.scan(QUERIES, lists, similarities, 30)
    for number in range(len(QUERIES)):
        one = slice(number, number + 1)
        alone = shard.codes.scan(QUERIES[one], *quantizer.nearest(QUERIES[one], 4)[::-1], 30)
        assert np.allclose(alone[0], together[0][one], atol=1e-5)


def test_threads_do_not_disturb_each_other(shard: Shard, quantizer: Quantizer) -> None:
    def scan(nprobe: int) -> NDArray[np.int64]:
        similarities, lists = quantizer.nearest(QUERIES, nprobe)
        return shard.codes.scan(QUERIES, lists, similarities, 40, allow(np.arange(shard.rows) % nprobe == 0))[1]

    alone = {nprobe: scan(nprobe) for nprobe in range(1, LISTS)}
    with ThreadPoolExecutor(4) as pool:
        for nprobe, rows in zip([*alone] * 10, pool.map(scan, [*alone] * 10), strict=True):
            assert np.array_equal(rows, alone[nprobe])


def test_a_shard_without_photos_finds_nothing(quantizer: Quantizer, tmp_path: Path) -> None:
    write_shard(tmp_path, 3, quantizer, photo_rows(OWNERS[:0]), VECTORS[:0])
    shard = Shard.open(tmp_path, 3, quantizer)
    similarities, lists = quantizer.nearest(QUERIES, 2)
    assert (shard.codes.scan(QUERIES, lists, similarities, 5)[1] == -1).all()
    assert shard.codes.scan(QUERIES, lists, similarities, 0)[1].shape == (len(QUERIES), 0)
    assert shard.row_of_photo(1000) is None
    assert len(shard.rows_of_product(0)) == 0


def test_a_shard_outlives_its_files(quantizer: Quantizer, tmp_path: Path) -> None:
    write_shard(tmp_path, 0, quantizer, photo_rows(OWNERS), VECTORS)
    shard = Shard.open(tmp_path, 0, quantizer)
    for name in shard_files(0):
        (tmp_path / name).unlink()
    assert shard.uri(0).startswith("file:///")
    assert np.array_equal(np.sort(np.asarray(shard.vectors).ravel()), np.sort(VECTORS.ravel()))


@pytest.mark.parametrize("file", shard_files(0))
@pytest.mark.parametrize("rubbish", [b"", b"rubbish" * 50])
def test_rubbish_is_named(quantizer: Quantizer, tmp_path: Path, file: str, rubbish: bytes) -> None:
    write_shard(tmp_path, 0, quantizer, photo_rows(OWNERS[:40]), VECTORS[:40])
    (tmp_path / file).write_bytes(rubbish)
    with pytest.raises(DamagedFile, match=file):
        Shard.open(tmp_path, 0, quantizer)


@pytest.mark.parametrize("file", shard_files(0))
def test_files_of_different_shards_do_not_pass_as_one(quantizer: Quantizer, tmp_path: Path, file: str) -> None:
    write_shard(tmp_path, 0, quantizer, photo_rows(OWNERS[:40]), VECTORS[:40])
    (tmp_path / "other").mkdir()
    write_shard(tmp_path / "other", 0, quantizer, photo_rows(OWNERS[:39]), VECTORS[:39])
    (tmp_path / "other" / file).replace(tmp_path / file)
    with pytest.raises(DamagedFile, match="rows"):
        Shard.open(tmp_path, 0, quantizer)


def test_codes_of_another_quantizer_are_refused(quantizer: Quantizer, tmp_path: Path) -> None:
    write_shard(tmp_path, 0, quantizer, photo_rows(OWNERS), VECTORS)
    other = train(VECTORS.astype(np.float32), LISTS + 1)
    with pytest.raises(DamagedFile, match="another quantizer"):
        Shard.open(tmp_path, 0, other)


def test_a_quantizer_reads_back_as_it_was_written(quantizer: Quantizer, tmp_path: Path) -> None:
    quantizer.save(tmp_path / "q")
    again = Quantizer.open(tmp_path / "q", quantizer.codec)
    assert (again.dim, again.lists) == (DIM, LISTS)
    assert np.array_equal(again.nearest(QUERIES, 5)[0], quantizer.nearest(QUERIES, 5)[0])


@pytest.mark.parametrize("rubbish", [b"", b"IwPfrubbish" * 50])
def test_a_damaged_quantizer_is_named(tmp_path: Path, rubbish: bytes) -> None:
    (tmp_path / "quantizer.faiss").write_bytes(rubbish)
    with pytest.raises(DamagedFile, match=r"quantizer\.faiss"):
        Quantizer.open(tmp_path / "quantizer.faiss", "")


@pytest.mark.parametrize("representation", get_args(Representation))
def test_every_representation_is_written_read_and_scanned(representation: Representation, tmp_path: Path) -> None:
    trained = train(VECTORS.astype(np.float32), LISTS, codec_for(DIM, LISTS, representation=representation))
    trained.save(tmp_path / "quantizer.faiss")
    quantizer = Quantizer.open(tmp_path / "quantizer.faiss", trained.codec)
    write_shard(tmp_path, 0, quantizer, photo_rows(OWNERS), VECTORS)
    shard = Shard.open(tmp_path, 0, quantizer)
    similarities, lists = quantizer.nearest(QUERIES, LISTS)
    exact = QUERIES @ shard.vectors.astype(np.float32).T
    scores, rows = shard.codes.scan(QUERIES, lists, similarities, 60)
    nearest = np.argsort(-exact, axis=1)[:, :10]
    found = np.mean([np.isin(true, row).mean() for row, true in zip(rows, nearest, strict=True)])
    assert found > (0.8 if representation == "rabitq" else 0.95)  # 32 bits a photo, here
    error = np.abs(scores - np.take_along_axis(exact, rows, axis=1)).mean()
    assert error < {"float16": 1e-3, "int8": 5e-3, "pq": 0.1, "rabitq": 0.15}[representation]
    alone = shard.codes.search(QUERIES[:1], 4, 30)
    assert np.allclose(alone[0], shard.codes.scan(QUERIES[:1], lists[:1, :4], similarities[:1, :4], 30)[0], atol=1e-5)
    allowed = np.arange(shard.rows) % 5 == 0
    _, rows = shard.codes.scan(QUERIES, lists, similarities, shard.rows, allow(allowed))
    assert all(np.array_equal(np.sort(found[found >= 0]), np.flatnonzero(allowed)) for found in rows)


def test_codes_take_the_bytes_that_are_asked_for() -> None:
    assert codec_for(256, 10) == "IVF10,PQ128x4fsr"
    assert codec_for(256, 10, 32) == "IVF10,PQ64x4fsr"
    assert codec_for(256, 10, 33) == "IVF10,PQ64x4fsr"
    assert codec_for(256, 10, 1000) == "IVF10,PQ256x4fsr"
    assert codec_for(7, 1, 0) == "IVF1,PQ1x4fsr"
