"""Live changes are durable, whole and done once."""

import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from engine.catalogue.schema import Facet, FacetType, Product
from engine.catalogue.writer import Effect
from engine.errors import BadCall, BadImage, UnknownPhoto, UnknownProduct
from engine.sources.photos import read_photo
from engine.updates import Updates, Upsert
from engine.vision.photo_vectors import PRECISION
from tests.fakes import photo_bytes
from tests.indexer.shop import Shop, draw, shop


@pytest.fixture
def opened(tmp_path: Path, where: str) -> Iterator[Shop]:
    with shop(tmp_path, products=0, where=where) as made:
        yield made


@pytest.fixture
def updates(opened: Shop) -> Updates:
    return Updates(opened.catalogue, opened.encoder, opened.folder / "photos")


def vectors(opened: Shop) -> set[str]:
    with opened.catalogue.snapshot() as view:
        return {content.hex() for content, _ in view.vectors(opened.encoder.model_id, PRECISION)}


def test_an_upsert_brings_product_photos_vectors_and_numbers_at_once(opened: Shop, updates: Updates) -> None:
    photos = [draw(1, 0), draw(1, 1)]
    done = updates.upsert(Upsert("a", "A", {"colour": "Red"}, photos))
    (written,) = done.written
    assert (done.change_number, written.effect, written.photos_new) == (3, Effect.NEW, 2)
    stored = opened.catalogue.photos_of("a")
    assert tuple(photo.photo_id for photo in stored) == written.photo_ids
    assert [read_photo(photo.uri) for photo in stored] == photos
    assert vectors(opened) == {sha256(photo).hexdigest() for photo in photos}
    assert {path.parent.name for path in (opened.folder / "photos").rglob("*.png")} == {
        sha256(photo).hexdigest()[:2] for photo in photos
    }


def test_what_is_not_given_stays_and_what_is_there_is_not_encoded_again(opened: Shop, updates: Updates) -> None:
    updates.upsert(Upsert("a", "A", {"colour": "Red"}, [draw(1, 0)]))
    done = updates.upsert_many([Upsert("a", None, {"price": 2.0}, [draw(1, 0)]), Upsert("b", "B", {}, [draw(1, 0)])])
    assert [written.effect for written in done.written] == [Effect.CHANGED, Effect.NEW]
    assert [written.photos_new for written in done.written] == [0, 1]
    product = opened.catalogue.product("a")
    assert (product.title, product.facets) == ("A", {"colour": "Red", "price": 2.0})
    assert opened.encoder.photos_encoded == 1
    assert len(list((opened.folder / "photos").rglob("*.png"))) == 1
    again = updates.upsert(Upsert("b", "B", {}, [draw(1, 0)]))
    assert again.change_number == done.change_number


def test_a_photo_that_was_imported_keeps_its_columns_and_its_place_while_it_is_there(
    opened: Shop, updates: Updates
) -> None:
    data = draw(1, 0)
    path = opened.folder / "shelf.png"
    path.write_bytes(data)
    with opened.catalogue.transaction() as writer:
        writer.upsert_product(Product("a", "A"))
        writer.add_photo("a", sha256(data).hexdigest(), path.as_uri(), {"split": "train", "kind": "shelf"})
    (before,) = opened.catalogue.photos_of("a")
    done = updates.upsert(Upsert("a", photos=[data]))
    assert done.written[0].photos_new == 0
    assert done.written[0].photo_ids == (before.photo_id,)
    assert opened.catalogue.photos_of("a") == (before,)
    assert not (opened.folder / "photos").exists()
    assert updates.upsert(Upsert("a", photos=[data])).change_number == done.change_number
    path.unlink()
    updates.upsert(Upsert("a", photos=[data]))
    (moved,) = opened.catalogue.photos_of("a")
    assert moved.columns == before.columns
    assert read_photo(moved.uri) == data


def test_a_bad_photo_or_value_changes_nothing(opened: Shop, updates: Updates) -> None:
    with pytest.raises(BadImage, match="photo 2 of 'a'"):
        updates.upsert(Upsert("a", photos=[draw(1, 0), b"no photo"]))
    with pytest.raises(BadCall, match="no facet 'size'"):
        updates.upsert(Upsert("a", None, {"size": "L"}, [draw(1, 0)]))
    with pytest.raises(BadCall, match="value of the facet 'tags'"):
        updates.upsert(Upsert("a", facets={"tags": ("x", 2)}), declare=[Facet("tags", FacetType.KEYWORDS)])
    with pytest.raises(BadCall, match="title"):
        updates.upsert(Upsert("a", 5))
    with pytest.raises(BadCall, match="need the model"):
        Updates(opened.catalogue, photos=opened.folder).upsert(Upsert("a", photos=[draw(1, 0)]))
    assert opened.catalogue.change_number() == 0
    assert vectors(opened) == set()
    done = updates.upsert(Upsert("a", None, {"size": "L"}), declare=[Facet("size", FacetType.KEYWORD)])
    assert opened.catalogue.product("a").facets == {"size": "L"}
    assert done.written[0].photo_ids == ()


def test_the_kind_of_a_photo_names_its_file(opened: Shop, updates: Updates) -> None:
    updates.upsert(Upsert("a", photos=[photo_bytes((1, 2, 3), kind=kind) for kind in ("PNG", "JPEG", "WEBP")]))
    assert sorted(path.suffix for path in (opened.folder / "photos").rglob("*.*")) == [".jpg", ".png", ".webp"]


def test_facets_are_set_and_taken_away(opened: Shop, updates: Updates) -> None:
    updates.upsert(Upsert("a", "A", {"colour": "Red", "price": 1.0}))
    done = updates.set_facets("a", {"price": 2.0}, ["colour"])
    assert opened.catalogue.product("a").facets == {"price": 2.0}
    assert updates.set_facets("a", {"price": 2.0}).change_number == done.change_number
    for wrong, values, unset in (
        ("b", {}, []),
        ("a", {}, ["size"]),
        ("a", {"size": "L"}, []),
        ("a", {"price": "x"}, []),
    ):
        with pytest.raises((UnknownProduct, BadCall)):
            updates.set_facets(wrong, values, unset)
    assert opened.catalogue.product("a").facets == {"price": 2.0}


def test_all_that_is_named_is_deleted_or_nothing(opened: Shop, updates: Updates) -> None:
    done = updates.upsert_many([Upsert("a", photos=[draw(1, 0), draw(1, 1)]), Upsert("b", photos=[draw(2, 0)])])
    first, second = done.written[0].photo_ids
    for products, photos in ((["b", "c"], []), (["b"], [first, 99])):
        with pytest.raises((UnknownProduct, UnknownPhoto)):
            updates.delete(products, photo_ids=photos)
    assert len(opened.catalogue.photos_of("a")) == 2
    updates.delete(["b", "b"], photo_ids=[first])
    assert [photo.photo_id for photo in opened.catalogue.photos_of("a")] == [second]
    with pytest.raises(UnknownProduct):
        opened.catalogue.product("b")


def test_writers_in_many_threads_take_turns(opened: Shop, updates: Updates) -> None:
    def write(name: str) -> None:
        for number in range(8):
            updates.upsert(Upsert(f"{name}{number}", photos=[draw(number, 0)]))  # the same photos, all at once

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened.catalogue.change_number() == 2 * 24
    assert len(vectors(opened)) == len(list((opened.folder / "photos").rglob("*.png"))) == 8
    assert not list((opened.folder / "photos").rglob("*.partial"))


def test_facets_are_taken_away_in_the_transaction_that_brings_the_others(opened: Shop, updates: Updates) -> None:
    updates.upsert(Upsert("a", "A", {"colour": "Red", "price": 1.0}, [draw(1, 0)]))
    before = opened.catalogue.change_number()

    (written,) = updates.upsert(Upsert("a", None, {"price": 2.0}, unset=["colour"])).written
    assert (written.effect, opened.catalogue.product("a").facets) == (Effect.CHANGED, {"price": 2.0})
    (written,) = updates.upsert(Upsert("a", unset=["colour"])).written
    assert written.effect is Effect.UNCHANGED
    (written,) = updates.upsert(Upsert("a", unset=["price"])).written
    assert (written.effect, opened.catalogue.product("a").facets) == (Effect.CHANGED, {})
    (written,) = updates.upsert(Upsert("b", "B", {"colour": "Red"}, unset=["price"])).written
    assert written.effect is Effect.NEW

    between = opened.catalogue.change_number()
    assert between > before
    with pytest.raises(BadCall, match="no facet 'size'"):
        updates.upsert(Upsert("a", "Other", {"price": 3.0}, [draw(2, 0)], unset=["size"]))
    assert opened.catalogue.change_number() == between
    assert opened.catalogue.product("a").title == "A"
