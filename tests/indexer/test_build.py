"""From a catalogue to an index that answers, and again after changes."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from sqlite3 import connect

import numpy as np
import pytest

from engine.catalogue.schema import Product
from engine.catalogue.store import Catalogue
from engine.errors import Busy, EmptyCatalogue, LookalikeError, WrongCatalogue, WrongModel
from engine.storage.generation import generation_names, open_index
from engine.storage.shard import shard_of
from engine.vision.encoder import Encoded
from engine.vision.model import Model
from engine.vision.preprocess import load
from indexer.build import build_index
from indexer.publish import writing
from indexer.verify import verify_index
from tests.fakes import FakeEncoder, Floats, tiny_model
from tests.indexer.shop import COLOURS, Shop, shop


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Shop]:
    with shop(tmp_path) as opened:
        yield opened


class Notes:
    """Progress that keeps what it was told."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.notes: list[str] = []

    def start(self, title: str, total: int | None = None) -> None:
        self.stages.append(title)

    def advance(self, steps: int = 1) -> None:
        pass

    def note(self, text: str) -> None:
        self.notes.append(text)

    def finish(self) -> None:
        pass


class BrokenEncoder(FakeEncoder):
    """What a damaged network does."""

    def encode(self, batch: Floats) -> Encoded:
        encoded = super().encode(batch)
        encoded.embeddings[0] = np.nan
        return encoded


def photo_ids(shop: Shop) -> set[int]:
    return {int(photo) for shard in open_index(shop.index).shards for photo in shard.photo_ids}


def test_every_photo_is_in_the_index_with_its_vector(small: Shop) -> None:
    small.build(shards=3)
    generation = open_index(small.index)
    with small.catalogue.snapshot() as view:
        photos = {photo.photo_id: photo for photo in view.photos()}
    assert photo_ids(small) == set(photos)
    for number, shard in enumerate(generation.shards):
        for row in range(shard.rows):
            photo = photos[int(shard.photo_ids[row])]
            assert generation.products.product_id(int(shard.ordinals[row])) == photo.product_id
            assert shard_of(photo.product_id, 3) == number
            assert shard.uri(row) == photo.uri
            pixels = load(Path(photo.uri.removeprefix("file://")).read_bytes(), "photo", small.encoder.preprocess)
            expected = small.encoder.encode(pixels[None]).embeddings[0]
            assert np.allclose(shard.vectors[row], expected, atol=1e-3)


def test_products_and_facets_come_from_the_catalogue(small: Shop) -> None:
    small.build()
    products = open_index(small.index).products
    assert [products.product_id(number) for number in range(12)] == [f"p{number:04d}" for number in range(12)]
    assert products.title(5) == "Product 5"
    assert products.facets_of(5) == {"colour": COLOURS[2], "price": 5.0}


def test_the_manifest_says_what_was_built(small: Shop) -> None:
    report = small.build(shards=2)
    manifest = open_index(small.index).manifest
    assert manifest == report.manifest
    assert (manifest.model_id, manifest.dim) == (small.model.spec.model_id, 16)
    assert (manifest.products, manifest.photos, manifest.shards, manifest.lists) == (12, 24, 2, 1)
    assert manifest.catalogue_id == small.catalogue.catalogue_id
    with small.catalogue.snapshot() as view:
        assert manifest.change_number == view.change_number
        assert manifest.facets == view.facets
    assert manifest.recall.value == 1.0
    assert 0.7 < manifest.recall.interval_95[0] < manifest.recall.interval_95[1] <= 1.0
    assert sum(manifest.files[f"shard-000{number}.faiss"].rows for number in range(2)) == 24


def test_the_index_carries_its_model(small: Shop) -> None:
    small.build()
    model = Model.open(open_index(small.index).model_path)
    assert model.spec.model_id == small.model.spec.model_id
    assert model.verify() == []


def test_a_second_build_embeds_nothing(small: Shop) -> None:
    first = small.build()
    before = small.encoder.photos_encoded
    second = small.build()
    assert (first.encoded, first.copied) == (24, 0)
    assert (second.encoded, second.copied) == (0, 24)
    assert small.encoder.photos_encoded == before == 24
    assert (first.generation, second.generation) == ("000001", "000002")


def test_the_same_catalogue_gives_the_same_index(small: Shop) -> None:
    first, second = small.build(), small.build()
    assert {name: entry.sha256 for name, entry in first.manifest.files.items()} == {
        name: entry.sha256 for name, entry in second.manifest.files.items()
    }
    assert first.manifest.recall == second.manifest.recall


def test_only_what_changed_is_embedded(small: Shop) -> None:
    small.build()
    small.stock(range(12, 15))
    with small.catalogue.transaction() as writer:
        writer.delete_product("p0003")
    report = small.build()
    assert (report.encoded, report.copied) == (6, 22)
    products = open_index(small.index).products
    assert products.ordinal("p0003") is None
    assert products.ordinal("p0014") == products.count - 1 == 13


def test_copied_vectors_follow_their_photos(small: Shop) -> None:
    small.build(shards=1)
    with small.catalogue.transaction() as writer:
        writer.delete_product("p0000")
    small.build(shards=4)
    again = small.build(out=small.folder / "fresh", shards=4)
    assert again.copied == 0
    for copied, fresh in zip(open_index(small.index).shards, open_index(again.path.parents[1]).shards, strict=True):
        assert np.allclose(copied.vectors, fresh.vectors, atol=1e-3)  # batches differ, and with them the last bits
        assert np.array_equal(copied.photo_ids, fresh.photo_ids)


def test_another_model_embeds_everything_again_and_says_so(small: Shop, tmp_path: Path) -> None:
    small.build()
    other = tiny_model(tmp_path / "other", dim=24)
    notes = Notes()
    report = small.build(other, progress=notes)
    assert (report.encoded, report.manifest.dim) == (24, 24)
    assert any(small.model.spec.model_id[:12] in note and "embedded again" in note for note in notes.notes)
    assert Model.open(open_index(small.index).model_path).spec.model_id == other.spec.model_id


def test_the_same_photo_of_two_products_is_embedded_once(small: Shop) -> None:
    with small.catalogue.snapshot() as view:
        photo = next(view.photos())
    with small.catalogue.transaction() as writer:
        writer.add_photo("p0007", photo.content_hash, photo.uri, {})
    report = small.build()
    assert (report.encoded, report.copied, report.manifest.photos) == (24, 1, 25)


def test_photos_that_cannot_be_read_are_reported_and_left_out(small: Shop) -> None:
    small.photo(1).unlink()
    small.photo(2).write_bytes(b"no picture")
    small.photo(3).write_bytes(small.photo(4).read_bytes())
    report = small.build()
    reasons = {photo.product_id: photo.reason for photo in report.unreadable}
    assert set(reasons) == {"p0001", "p0002", "p0003"}
    assert "p0001-0.png" in reasons["p0001"]
    assert "changed since" in reasons["p0003"]  # its vector must not be filed under the old content
    assert report.manifest.photos == 21
    assert verify_index(small.index) == []


def test_a_photo_that_is_put_back_is_embedded(small: Shop) -> None:
    data = small.photo(1).read_bytes()
    small.photo(1).unlink()
    small.build()
    small.photo(1).write_bytes(data)
    report = small.build()
    assert (report.encoded, report.copied, report.unreadable) == (1, 23, ())


def test_products_without_photos_stay_in_the_catalogue_only(small: Shop) -> None:
    for photo in range(2):
        small.photo(5, photo).unlink()
    small.stock(range(12, 13), photos=0)
    report = small.build()
    assert (report.manifest.products, report.without_photos) == (11, 2)
    products = open_index(small.index).products
    assert products.ordinal("p0005") is None
    assert products.ordinal("p0012") is None


@pytest.mark.parametrize(("products", "photos"), [(1, 1), (1, 2), (2, 1), (3, 7), (40, 2), (100, 3)])
def test_small_catalogues_are_no_trouble(
    products: int, photos: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with shop(tmp_path, products, photos) as opened:
        manifest = opened.build().manifest
        generation = open_index(opened.index)
        (shard,) = generation.shards
        queries = shard.vectors.astype(np.float32)
        similarities, lists = generation.quantizer.nearest(queries, manifest.nprobe)
        _, rows = shard.codes.scan(queries, lists, similarities, min(manifest.depth, shard.rows))
        own = np.arange(shard.rows)[:, None]
        assert (rows == own).any(axis=1).mean() > 0.97
    output = capfd.readouterr()
    assert output.out == output.err == ""


def test_copies_of_one_photo_are_all_found(tmp_path: Path) -> None:
    with shop(tmp_path, products=1, photos=1) as opened:
        with opened.catalogue.snapshot() as view:
            photo = next(view.photos())
        with opened.catalogue.transaction() as writer:
            for number in range(1, 50):
                writer.upsert_product(Product(f"p{number:04d}"))
                writer.add_photo(f"p{number:04d}", photo.content_hash, photo.uri, {})
        opened.build()
        generation = open_index(opened.index)
        query = generation.shards[0].vectors[:1].astype(np.float32)
        similarities, lists = generation.quantizer.nearest(query, 1)
        _, rows = generation.shards[0].codes.scan(query, lists, similarities, 50)
        assert sorted(rows[0]) == list(range(50))


def test_an_empty_catalogue_is_told_so(tmp_path: Path) -> None:
    with shop(tmp_path, products=0) as opened, pytest.raises(EmptyCatalogue, match="lookalike import"):
        opened.build()


def test_a_catalogue_without_a_readable_photo_is_told_so(small: Shop) -> None:
    small.build()
    for number in range(12):
        for photo in range(2):
            small.photo(number, photo).unlink()
    with pytest.raises(EmptyCatalogue, match="None of the 24 photos"):
        small.build(out=small.folder / "fresh")
    assert small.build().copied == 24  # the last generation has their vectors still


def test_another_catalogue_is_refused(small: Shop, tmp_path: Path) -> None:
    small.build()
    (tmp_path / "b").mkdir()
    with shop(tmp_path / "b") as other, pytest.raises(WrongCatalogue, match="another catalogue"):
        other.build(out=small.index)
    assert open_index(small.index).name == "000001"


def test_an_older_copy_of_the_catalogue_is_refused(small: Shop, tmp_path: Path) -> None:
    with small.catalogue.snapshot() as view:
        before = view.change_number
    with closing(connect(tmp_path / "shop.db")) as new, closing(connect(tmp_path / "old.db")) as old:
        new.backup(old)
    small.stock(range(12, 13))
    small.build()
    with Catalogue.open(tmp_path / "old.db") as catalogue, pytest.raises(WrongCatalogue, match=f"at change {before}"):
        build_index(catalogue, small.model, small.index, encoder=small.encoder)


def test_an_encoder_of_another_model_is_refused(small: Shop) -> None:
    small.encoder.model_id = "other"
    with pytest.raises(WrongModel):
        small.build()


def test_an_encoder_that_gives_no_vectors_is_refused(small: Shop) -> None:
    small.build()
    small.stock(range(12, 13))
    small.encoder = BrokenEncoder(model_id=small.model.spec.model_id)
    with pytest.raises(WrongModel, match="unit vectors"):
        small.build()
    assert open_index(small.index).name == "000001"


def test_a_second_writer_is_told_who_is_first(small: Shop) -> None:
    with writing(small.index), pytest.raises(Busy, match=r"being written by process \d+"):
        small.build()
    small.build()


def test_two_generations_are_kept(small: Shop) -> None:
    for _ in range(4):
        small.build()
    assert generation_names(small.index) == ["000003", "000004"]
    assert sorted(path.name for path in small.index.iterdir()) == ["CURRENT", "LOCK", "generations", "models"]


def test_a_model_goes_with_its_last_generation(small: Shop, tmp_path: Path) -> None:
    small.build()
    other = tiny_model(tmp_path / "other", dim=24)
    models = small.index / "models"
    for _ in range(2):
        assert (models / small.model.spec.model_id).is_dir()
        small.build(other)
    assert [path.name for path in models.iterdir()] == [other.spec.model_id]


def test_a_damaged_generation_is_repaired_by_building(small: Shop) -> None:
    small.build()
    (small.index / "generations" / "000001" / "shard-0000.faiss").write_bytes(b"rubbish")
    with pytest.raises(LookalikeError):
        open_index(small.index)
    report = small.build()
    assert (report.encoded, report.copied) == (0, 24)  # codes come from vectors, which are whole
    assert open_index(small.index).name == "000002"


def test_a_flipped_bit_is_not_copied_into_the_next_generation(small: Shop) -> None:
    small.build()
    path = small.index / "generations" / "000001" / "shard-0000.vectors.npy"
    data = bytearray(path.read_bytes())
    data[-3] ^= 4
    path.write_bytes(data)
    notes = Notes()
    report = small.build(progress=notes)
    assert report.encoded == 24
    assert any("shard-0000.vectors.npy" in note for note in notes.notes)
    assert open_index(small.index).name == "000002"


def test_an_old_reader_goes_on_while_new_generations_come(small: Shop) -> None:
    small.build()
    old = open_index(small.index)
    before = np.array(old.shards[0].vectors)
    for _ in range(3):
        small.build()
    assert not old.path.exists()
    assert np.array_equal(old.shards[0].vectors, before)
    assert old.products.title(0) == "Product 0"


def test_every_stage_is_announced(small: Shop) -> None:
    notes = Notes()
    report = small.build(progress=notes)
    assert notes.stages == [
        "Reading the catalogue",
        "Embedding photos",
        "Training the quantizer",
        "Writing shards",
        "Measuring recall",
        "Publishing",
    ]
    assert list(report.seconds) == ["read", "embed", "train", "write", "tune", "publish"]


def test_somebody_elses_directory_is_left_alone(small: Shop, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "models").mkdir(parents=True)
    (home / "models" / "precious").write_text("mine")
    with pytest.raises(LookalikeError, match="not empty"):
        small.build(out=home)
    with pytest.raises(LookalikeError, match="is a file"):
        small.build(out=home / "models" / "precious")
    assert (home / "models" / "precious").read_text() == "mine"
