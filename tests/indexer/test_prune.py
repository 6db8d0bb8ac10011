"""What a reader of a kept generation may still need stays; the rest goes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from engine.catalogue.store import Catalogue
from engine.catalogue.writer import Writer
from engine.errors import DamagedFile, IndexMissing, LogTrimmed, UnsupportedFormat, WrongCatalogue
from engine.storage.generation import generation_names, generation_path, open_index
from engine.storage.manifest import Manifest
from engine.vision.photo_vectors import PRECISION
from indexer.prune import prune_index
from indexer.verify import verify_index
from tests.fakes import tiny_model
from tests.indexer.shop import Shop, shop


@pytest.fixture
def lived(tmp_path: Path) -> Iterator[Shop]:
    """Three generations, of 4, 6 and 8 products; the catalogue has 10, and the vectors of all that came later."""
    with shop(tmp_path, products=4) as opened:
        opened.build()
        for number in (4, 6, 8):
            opened.stock(range(number, number + 2))
            opened.put_vectors(range(number, number + 2))
            if number < 8:
                opened.merge()
        yield opened


def kept_vectors(opened: Shop) -> set[str]:
    with opened.catalogue.snapshot() as view:
        return {content.hex() for content, _ in view.vectors(opened.encoder.model_id, PRECISION)}


def contents_of(opened: Shop, products: range) -> set[str]:
    with opened.catalogue.snapshot() as view:
        return {photo.content_hash for number in products for photo in view.photos_of(f"p{number:04d}")}


def test_the_log_and_the_vectors_that_a_reader_of_the_older_generation_needs_stay(lived: Shop) -> None:
    assert generation_names(lived.index) == ["000002", "000003"]
    older = change_number(lived, "000002")
    report = prune_index(lived.catalogue, lived.index)
    assert report.generations == ("000002", "000003")
    assert report.log_trimmed_to == older
    assert report.vectors_dropped == 4  # of the products 4 and 5, which both generations hold
    assert kept_vectors(lived) == contents_of(lived, range(6, 10))
    assert {change.product_id for change in lived.catalogue.changes_since(older)} == {
        f"p{number:04d}" for number in range(6, 10)
    }
    with pytest.raises(LogTrimmed):
        lived.catalogue.changes_since(older - 1)


def change_number(opened: Shop, name: str) -> int:
    return Manifest.read(generation_path(opened.index, name)).change_number


def test_the_next_merge_encodes_nothing_after_a_prune(lived: Shop) -> None:
    prune_index(lived.catalogue, lived.index)
    report = lived.merge()
    assert report is not None
    assert report.encoded == 0
    assert open_index(lived.index).products.count == 10


def test_vectors_of_deleted_photos_go(lived: Shop) -> None:
    gone = contents_of(lived, range(9, 10))
    with lived.catalogue.transaction() as writer:
        writer.delete_product("p0009")
    assert gone <= kept_vectors(lived)
    prune_index(lived.catalogue, lived.index)
    assert not gone & kept_vectors(lived)


class Crowded(Catalogue):
    """A catalogue whose other writer has something to say before every transaction of this one."""

    before: Callable[[], None] = staticmethod(lambda: None)

    @contextmanager
    def transaction(self) -> Iterator[Writer]:
        self.before()
        with super().transaction() as writer:
            yield writer


def test_writers_get_in_between_and_what_they_write_stays(lived: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.prune.AT_ONCE", 2)
    monkeypatch.setattr("indexer.prune.TRIMMED_AT_ONCE", 5)
    back = contents_of(lived, range(9, 10))
    with lived.catalogue.transaction() as writer:
        writer.delete_products([f"p{number:04d}" for number in range(6, 10)])
    left: list[tuple[int, int]] = []  # vectors and changes, before every transaction

    def before() -> None:
        with lived.catalogue.snapshot() as view:
            left.append((len(kept_vectors(lived)), view.change_number - view.log_start))
        if left[-1][0] == 6:  # some unused ones are gone already, the rest is known to be unused
            lived.stock(range(9, 10))

    with Crowded.open(lived.folder / "shop.db") as catalogue:
        assert isinstance(catalogue, Crowded)
        catalogue.before = before
        prune_index(catalogue, lived.index)
    before()
    assert kept_vectors(lived) == back
    assert all(earlier[0] - later[0] <= 2 for earlier, later in pairwise(left))
    assert all(earlier[1] - later[1] <= 5 for earlier, later in pairwise(left))


def test_vectors_of_a_model_that_no_generation_has_any_more_go(lived: Shop) -> None:
    other = tiny_model(lived.folder / "other", dim=8)
    lived.build(other)
    prune_index(lived.catalogue, lived.index)
    assert kept_vectors(lived)  # the older generation is still of the old model
    lived.build(other)
    prune_index(lived.catalogue, lived.index)
    assert not kept_vectors(lived)


def test_an_older_copy_of_the_catalogue_is_refused_and_not_trimmed(lived: Shop) -> None:
    before = kept_vectors(lived), lived.catalogue.changes_since(0)
    older = change_number(lived, "000003") - 1
    with lived.catalogue._engine.begin() as connection:  # as a restored backup would have it
        connection.exec_driver_sql(f"UPDATE counters SET change_number = {older}")
    with pytest.raises(WrongCatalogue, match=f"at change {older} .* an older copy"):
        prune_index(lived.catalogue, lived.index)
    assert (kept_vectors(lived), lived.catalogue.changes_since(0)) == before


def test_pruning_again_changes_nothing(lived: Shop) -> None:
    first = prune_index(lived.catalogue, lived.index)
    second = prune_index(lived.catalogue, lived.index)
    assert (second.generations, second.log_trimmed_to, second.vectors_dropped) == (
        first.generations,
        first.log_trimmed_to,
        0,
    )


def test_nothing_is_forgotten_while_a_kept_generation_is_damaged(lived: Shop) -> None:
    before = kept_vectors(lived)
    path = generation_path(lived.index, "000002") / "shard-0000.rows.arrow"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedFile, match="shard-0000"):
        prune_index(lived.catalogue, lived.index)
    assert kept_vectors(lived) == before
    assert lived.catalogue.changes_since(0)


@pytest.mark.parametrize("text", ["", '{"format": 9}'])
def test_a_generation_that_does_not_say_its_model_keeps_it(lived: Shop, tmp_path: Path, text: str) -> None:
    older = open_index(lived.index).model_path
    lived.build(tiny_model(tmp_path / "other", size=64))
    manifest = generation_path(lived.index, "000003") / "manifest.json"
    written = manifest.read_text()
    manifest.write_text(text)
    with pytest.raises((DamagedFile, UnsupportedFormat), match=r"manifest\.json"):
        prune_index(lived.catalogue, lived.index)
    assert older.is_dir()
    manifest.write_text(written)
    assert verify_index(lived.index) == []


def test_a_damaged_manifest_costs_no_model_when_the_next_generation_is_published(lived: Shop, tmp_path: Path) -> None:
    older = open_index(lived.index).model_path
    manifest = generation_path(lived.index, "000003") / "manifest.json"
    written = manifest.read_text()
    manifest.write_text("")
    lived.build(tiny_model(tmp_path / "other", size=64))
    assert older.is_dir()
    manifest.write_text(written)
    assert verify_index(lived.index) == []


def test_another_catalogue_is_not_pruned(lived: Shop, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    with shop(tmp_path / "b", products=2) as other:
        with pytest.raises(WrongCatalogue):
            prune_index(other.catalogue, lived.index)
        with pytest.raises(IndexMissing):
            prune_index(other.catalogue, other.index)
