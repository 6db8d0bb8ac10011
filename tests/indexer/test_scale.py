"""What a build at scale rests on: shards filled anywhere are the same, work that is done is kept, ids come once."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.catalogue.schema import Facet, FacetType, Photo, Product
from engine.errors import DuplicateId
from engine.search.query import Query
from engine.search.search_engine import SearchEngine
from engine.storage.generation import open_index
from engine.storage.manifest import Manifest
from engine.telemetry import SILENT
from engine.vision.model import Model
from indexer.build import BuildOptions, build_from_vectors
from indexer.gallery import Gallery, Questions, Sample
from indexer.roster import Roster, write_roster
from indexer.stock import product_name
from indexer.verify import verify_index
from tests.fakes import product_vectors, tiny_model
from tests.indexer.test_kill import Killed, Killer

DIM = 16
VECTORS, OWNERS = product_vectors(products=300, photos=3, dim=DIM)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return tiny_model(tmp_path_factory.mktemp("model") / "model", dim=DIM)


def sums(manifest: Manifest) -> dict[str, str]:
    return {name: entry.sha256 for name, entry in manifest.files.items()}


def test_an_index_of_vectors_alone_answers_as_exact_search(model: Model, tmp_path: Path) -> None:
    facets = (Facet("size", FacetType.NUMBER),)
    products = [Product(f"sku-{number:03d}", f"Thing {number}", {"size": float(number)}) for number in range(300)]
    report = build_from_vectors(
        VECTORS, OWNERS, model, tmp_path / "index", products=products, facets=facets, options=BuildOptions(shards=3)
    )
    assert (report.manifest.photos, report.manifest.products, report.encoded) == (900, 300, 0)
    generation = open_index(tmp_path / "index")
    for shard in generation.shards:
        assert np.array_equal(shard.vectors[:], VECTORS[shard.photo_ids])
        assert np.array_equal(shard.ordinals, OWNERS[shard.photo_ids])
    with SearchEngine.open(tmp_path / "index") as engine:
        for row in (0, 100, 899):
            vector = VECTORS[row].astype(np.float32)
            result = engine.search(Query(vector=vector / np.linalg.norm(vector), k=5, mode="exact"))
            assert result.exact is not None
            best = np.full(300, -np.inf)
            np.maximum.at(best, OWNERS, VECTORS.astype(np.float64) @ VECTORS[row].astype(np.float64))
            assert result.exact.hits[0].product_id == f"sku-{best.argmax():03d}"
            assert result.exact.hits[0].facets == {"size": float(best.argmax())}


def test_products_without_names_are_called_after_their_numbers(model: Model, tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", VECTORS)
    build_from_vectors(tmp_path / "vectors.npy", OWNERS * 2, model, tmp_path / "index")
    products = open_index(tmp_path / "index").products
    assert [products.product_id(at) for at in (0, 1, 299)] == [product_name(number) for number in (0, 2, 598)]


def test_shards_filled_side_by_side_are_those_filled_one_by_one(model: Model, tmp_path: Path) -> None:
    one = build_from_vectors(VECTORS, OWNERS, model, tmp_path / "one", options=BuildOptions(shards=4, workers=1))
    two = build_from_vectors(VECTORS, OWNERS, model, tmp_path / "two", options=BuildOptions(shards=4, workers=2))
    assert sums(one.manifest) == sums(two.manifest)
    assert one.manifest.recall == two.manifest.recall


def test_a_kill_costs_at_most_the_shard_in_hand(model: Model, tmp_path: Path) -> None:
    whole = build_from_vectors(VECTORS, OWNERS, model, tmp_path / "whole", options=BuildOptions(shards=4))
    for shards_done in range(4):
        # reading, its one step, training, writing, then one step a shard
        out = tmp_path / f"killed-{shards_done}"
        with pytest.raises(Killed):
            build_from_vectors(
                VECTORS, OWNERS, model, out, options=BuildOptions(shards=4), progress=Killer(4 + shards_done + 1)
            )
        report = build_from_vectors(VECTORS, OWNERS, model, out, options=BuildOptions(shards=4))
        assert report.shards_kept == shards_done + 1
        assert sums(report.manifest) == sums(whole.manifest)
        assert verify_index(out) == []


def test_what_a_killed_build_left_is_used_only_where_it_is_what_would_be_made(model: Model, tmp_path: Path) -> None:
    out = tmp_path / "index"

    def kill() -> None:
        with pytest.raises(Killed):
            build_from_vectors(VECTORS, OWNERS, model, out, options=BuildOptions(shards=4), progress=Killer(8))

    kill()
    for name in ("shard-0000.faiss", "shard-0001.vectors.npy", "shard-0002.rows.arrow"):
        path = out / "building" / "generation" / name
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    report = build_from_vectors(VECTORS, OWNERS, model, out, options=BuildOptions(shards=4))
    assert report.shards_kept == 1
    assert verify_index(out) == []
    kill()
    other = VECTORS.copy()
    other[0] = other[5]
    report = build_from_vectors(other, OWNERS, model, out, options=BuildOptions(shards=4))
    assert report.shards_kept == 0  # another sample, so another quantizer
    assert np.array_equal(
        np.concatenate([shard.vectors for shard in open_index(out).shards]),
        np.concatenate([other[shard.photo_ids] for shard in open_index(out).shards]),
    )


@dataclass
class Given:
    """A stock as somebody's own code may give it."""

    products_given: list[str]
    photos_given: list[tuple[int, str]]
    name: str = "the stock"
    catalogue_id: str = "given"
    change_number: int = 1
    facets: tuple[Facet, ...] = field(default=())

    def count_photos(self) -> int:
        return len(self.photos_given)

    def products(self) -> Iterator[Product]:
        return map(Product, self.products_given)

    def photos(self) -> Iterator[Photo]:
        return (Photo(number, product, f"{number:064x}", f"file:///{number}") for number, product in self.photos_given)

    def vectors(self, model_id: str, precision: str) -> Iterator[tuple[bytes, NDArray[np.float16]]]:
        return iter(())


def read(stock: Given, folder: Path) -> Roster:
    return write_roster(folder / "roster", stock, 2, SILENT)


def test_a_roster_is_what_was_read(tmp_path: Path) -> None:
    roster = read(Given(["a", "b", "c", "d"], [(5, "a"), (9, "a"), (2, "c"), (7, "d")]), tmp_path)
    assert roster.photo_ids.tolist() == [5, 9, 2, 7]
    assert roster.owners.tolist() == [0, 0, 2, 3]
    assert [roster.photo(position).uri for position in range(4)] == [f"file:///{number}" for number in (5, 9, 2, 7)]
    assert roster.photo(2).product_id == "c"
    assert list(roster.product_ids) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("products", "photos", "twice"),
    [
        (["a", "a"], [(1, "a")], "product 'a'"),
        (["a"], [(1, "a"), (1, "a")], "photo 1"),
        (["a", "b"], [(1, "a"), (2, "a"), (1, "b")], "photo 1"),
    ],
)
def test_an_id_that_comes_twice_is_refused(
    products: list[str], photos: list[tuple[int, str]], twice: str, tmp_path: Path
) -> None:
    with pytest.raises(DuplicateId, match=twice):
        read(Given(products, photos), tmp_path)


def test_a_stock_without_photos_is_an_empty_roster(tmp_path: Path) -> None:
    for products in ([], ["a"]):
        roster = read(Given(products, []), tmp_path)
        assert (len(roster), list(roster.product_ids)) == (0, products)


def test_the_truth_is_found_a_block_at_a_time(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_from_vectors(VECTORS, OWNERS, model, tmp_path / "index", options=BuildOptions(shards=2))
    generation = open_index(tmp_path / "index")
    gallery = Gallery(generation.quantizer, generation.shards, 300)
    monkeypatch.setattr("indexer.gallery.ROWS", 37)
    rows = np.random.default_rng(0).permutation(900)[:100]
    questions = Questions.ask(gallery, rows, 10)
    sample = Sample.draw(gallery, np.random.default_rng(0))
    assert np.array_equal(sample.rows, np.arange(900))
    best = []
    for row, cosines in zip(rows, sample.cosines(gallery.vectors(rows)), strict=True):
        cosines[row] = -np.inf
        best.append(np.sort(sample.best_by_product(cosines))[-10])
    assert np.allclose([truth.floor for truth in questions.truths], best, atol=1e-6)
