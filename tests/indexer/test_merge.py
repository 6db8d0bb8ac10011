"""Building in pieces gives what building at once gives: same rows, same vectors, same answers."""

from collections.abc import Iterator
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.errors import IndexMissing, WrongCatalogue, WrongModel
from engine.search.filters import Range
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


def built_at_once(opened: Shop, name: str) -> Path:
    """An index built at once with the quantizer of the generation that answers, of whose shards nothing is left."""
    copy = opened.folder / "at-once"
    copytree(opened.index, copy)
    manifest = Generation(copy, name).manifest
    for file in generation_path(copy, name).glob("shard-*"):
        file.unlink()
    with writing(copy):
        job = Job(opened.catalogue, opened.model, copy, opened.encoder, BuildOptions(), SILENT)
        merge_generation(job, name, manifest)
    return copy


def test_building_in_pieces_gives_the_files_and_the_answers_of_building_at_once(tmp_path: Path) -> None:
    with shop(tmp_path, products=30) as opened:
        opened.put_vectors(range(40))  # the same to the last bit, whoever needs them
        opened.build(shards=3)
        change(opened)
        at_once = built_at_once(opened, "000001")
        report = opened.merge()
        assert report is not None
        assert report.encoded == 0
        one, other = open_index(opened.index), open_index(at_once)
        assert files(one) == files(other)
        plans = [
            (manifest.nprobe, manifest.depth, manifest.filter_budget) for manifest in (one.manifest, other.manifest)
        ]
        assert plans[0] == plans[1]
        with SearchEngine.open(opened.index) as merged, SearchEngine.open(at_once) as built:
            for number in (0, 5, 12, 30, 39):
                ordinal = one.products.ordinal(f"p{number:04d}")
                assert ordinal is not None
                truth, vector = exact(one, ordinal)
                found = [ids(engine, Query(vector=vector, k=10, mode="exact")) for engine in (merged, built)]
                assert found[0] == found[1]
                assert found[0][0] == truth[0] == f"p{number:04d}"
                everything = Range("price", low=-1.0)  # few enough to be compared one by one
                assert ids(merged, Query(vector=vector, k=10, mode="exact", filter=everything)) == truth


def exact(generation: Generation, ordinal: int) -> tuple[list[str], NDArray[np.float32]]:
    """The ten best products for a product's own photo, and that photo's vector."""
    vectors = np.concatenate([shard.vectors for shard in generation.shards]).astype(np.float32)
    ordinals = np.concatenate([shard.ordinals for shard in generation.shards])
    query = vectors[np.flatnonzero(ordinals == ordinal)[0]]
    query /= np.linalg.norm(query)
    best = np.full(generation.products.count, -np.inf)
    np.maximum.at(best, ordinals, vectors @ query)
    return [generation.products.product_id(at) for at in np.argsort(-best, kind="stable")[:10].tolist()], query


def ids(engine: SearchEngine, query: Query) -> list[str]:
    result = engine.search(query)
    assert result.exact is not None
    return [hit.product_id for hit in result.exact.hits]


def test_only_new_photos_are_encoded(grown: Shop) -> None:
    report = grown.merge()
    assert report is not None
    assert report.encoded == 18  # two photos of each new product but the one that went again
    products = open_index(grown.index).products
    assert products.count == 37
    assert [products.ordinal(f"p{number:04d}") for number in (3, 17, 31)] == [None, None, None]
    ordinal = products.ordinal("p0005")
    assert ordinal is not None
    assert (products.title(ordinal), products.facets_of(ordinal)["price"]) == ("Renamed", 1000.0)


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
