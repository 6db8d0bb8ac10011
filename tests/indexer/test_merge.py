"""Building in pieces gives what building at once gives: same rows, same vectors, same answers."""

from collections.abc import Iterator
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest

from engine.errors import IndexMissing, WrongCatalogue, WrongModel
from engine.search.query import Query
from engine.search.search_engine import SearchEngine
from engine.storage.files import sha256_of
from engine.storage.generation import Generation, generation_names, generation_path, open_index
from engine.telemetry import SILENT
from indexer.build import BuildOptions, Job
from indexer.merge import merge_generation
from indexer.publish import writing
from indexer.verify import verify_index
from tests.fakes import tiny_model
from tests.indexer.shop import Shop, shop

DATA = ("products.arrow", "shard-0000", "shard-0001", "shard-0002")


@pytest.fixture
def grown(tmp_path: Path) -> Iterator[Shop]:
    """An index of 30 products in three shards; then 10 come, 3 go and one changes."""
    with shop(tmp_path, products=30) as opened:
        opened.build(shards=3)
        change(opened)
        yield opened


def change(opened: Shop) -> None:
    opened.stock(range(30, 40))
    with opened.catalogue.transaction() as writer:
        for number in (3, 17, 31):
            writer.delete_product(f"p{number:04d}")
    with opened.catalogue.transaction() as writer, opened.catalogue.snapshot() as view:
        product = view.product("p0005")
        writer.upsert_product(type(product)("p0005", "Renamed", {**product.facets, "price": 1000.0}))


def files(generation: Generation) -> dict[str, str]:
    """The sums of the files that hold products and photos."""
    return {path.name: sha256_of(path) for path in generation.path.iterdir() if path.name.startswith(DATA)}


def built_at_once(opened: Shop, name: str) -> Generation:
    """All at once with the quantizer of the generation that answers, in a copy of the index that gives no vectors."""
    copy = opened.folder / "at-once"
    copytree(opened.index, copy)
    path = generation_path(copy, name)
    manifest = Generation(copy, name).manifest
    for shard in range(manifest.shards):
        for file in path.glob(f"shard-{shard:04d}.*"):
            file.unlink()
    with writing(copy):
        job = Job(opened.catalogue, opened.model, copy, opened.encoder, BuildOptions(), SILENT)
        report = merge_generation(job, name, manifest)
    assert report.encoded == report.manifest.photos  # nothing was copied or linked
    return Generation(copy, report.generation)


def test_a_merged_index_is_the_one_built_at_once(grown: Shop) -> None:
    at_once = built_at_once(grown, "000001")
    report = grown.merge()
    assert report is not None
    assert report.encoded == 18  # two photos of each new product but the one that went again
    merged = open_index(grown.index)
    for one, other in zip(merged.shards, at_once.shards, strict=True):
        assert np.array_equal(one.photo_ids, other.photo_ids)
        assert np.array_equal(one.list_offsets, other.list_offsets)
        assert np.array_equal(one.contents, other.contents)
        assert np.allclose(one.vectors, other.vectors, atol=1e-3)  # batches differ, and with them the last bits
    assert files(merged)["products.arrow"] == files(at_once)["products.arrow"]


def test_answers_are_those_of_exact_search_over_all_photos(grown: Shop) -> None:
    grown.merge()
    answers = {}
    truth = {}
    for name, index in (
        ("merged", grown.index),
        ("at once", grown.build(out=grown.folder / "fresh", shards=3).path.parents[1]),
    ):
        with SearchEngine.open(index, encoder=grown.encoder) as engine:
            generation = open_index(index)
            vectors = np.concatenate([shard.vectors for shard in generation.shards]).astype(np.float64)
            ordinals = np.concatenate([shard.ordinals for shard in generation.shards])
            for number in (0, 5, 12, 30, 39):
                photo = grown.photo(number).read_bytes()
                result = engine.search(Query(photo=photo, k=10, mode="exact"))
                assert result.exact is not None
                answers[name, number] = [hit.product_id for hit in result.exact.hits]
                own = np.array([generation.products.ordinal(f"p{number:04d}")])
                row = np.flatnonzero(ordinals == own)[0]
                best = np.full(generation.products.count, -np.inf)
                np.maximum.at(best, ordinals, vectors @ vectors[row])
                truth[name, number] = [generation.products.product_id(at) for at in np.argsort(-best)[:10].tolist()]
    for (name, number), found in answers.items():
        assert found[0] == truth[name, number][0] == f"p{number:04d}"
        assert found == answers["at once", number]
        assert not {"p0003", "p0017", "p0031"} & set(found)


def test_a_shard_without_changes_is_linked(tmp_path: Path) -> None:
    with shop(tmp_path, products=30) as opened:
        opened.build(shards=3)
        opened.stock(range(30, 31))
        report = opened.merge()
        assert report is not None
        inodes = [
            {path.name: path.stat().st_ino for path in generation_path(opened.index, name).iterdir()}
            for name in ("000001", "000002")
        ]
        same = {name for name in inodes[0] if inodes[0][name] == inodes[1].get(name)}
        assert "quantizer.faiss" in same
        assert sum(name.endswith((".faiss", ".npy")) for name in same - {"quantizer.faiss"}) == 4
        assert verify_index(opened.index) == []


def test_vectors_of_the_catalogue_are_not_encoded_again(grown: Shop) -> None:
    grown.put_vectors(range(30, 40))
    before = grown.encoder.photos_encoded
    report = grown.merge()
    assert report is not None
    assert (report.encoded, grown.encoder.photos_encoded) == (0, before)
    assert verify_index(grown.index) == []


def test_the_quantizer_and_what_was_asked_stay(grown: Shop) -> None:
    before = open_index(grown.index).manifest
    report = grown.merge()
    assert report is not None
    assert report.manifest.files["quantizer.faiss"] == before.files["quantizer.faiss"]
    assert report.manifest.shards == 3
    assert report.manifest.change_number > before.change_number


def test_without_changes_nothing_is_done(grown: Shop) -> None:
    assert grown.merge() is not None
    assert grown.merge() is None
    assert generation_names(grown.index) == ["000001", "000002"]


def test_what_cannot_be_merged_says_why(grown: Shop, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    with shop(tmp_path / "b", products=2) as other:
        with pytest.raises(IndexMissing, match="lookalike index"):
            other.merge()
        other.index = grown.index
        with pytest.raises(WrongCatalogue, match="another catalogue"):
            other.merge()
    grown.model = tiny_model(tmp_path / "other", dim=24)
    grown.encoder = type(grown.encoder)(24, model_id=grown.model.spec.model_id)
    with pytest.raises(WrongModel, match="without --merge"):
        grown.merge()
