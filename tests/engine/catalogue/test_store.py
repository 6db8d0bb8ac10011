"""The catalogue keeps what it is told, numbers every change, and never half a transaction."""

import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.catalogue.changes import Change, ChangeKind
from engine.catalogue.connection import Place, connect
from engine.catalogue.schema import Facet, FacetType, FacetValue, Photo, Product
from engine.catalogue.store import Catalogue
from engine.catalogue.values import decode, encode
from engine.catalogue.writer import Effect, NewPhoto
from engine.errors import BadCall, Busy, LogTrimmed, UnknownPhoto, UnknownProduct

COLOUR = Facet("colour", FacetType.KEYWORD)
ALL = (
    COLOUR,
    Facet("tags", FacetType.KEYWORDS),
    Facet("price", FacetType.NUMBER),
    Facet("sale", FacetType.BOOLEAN),
    Facet("added", FacetType.TIME),
)
NOON = datetime(2026, 5, 1, 12, 0, 0, 250, tzinfo=UTC)
SHOE = Product(
    "shoe", "A shoe — «Läufer»", {"colour": "Red", "tags": ("new", "run"), "price": 9.5, "sale": False, "added": NOON}
)


def everything(catalogue: Catalogue) -> tuple[list[Product], list[Photo], int]:
    with catalogue.snapshot() as view:
        return list(view.products()), list(view.photos()), view.change_number


def test_a_new_catalogue_is_empty_and_keeps_its_id(where: str) -> None:
    with Catalogue.open(where, create=True) as first:
        assert everything(first) == ([], [], 0)
        assert first.facets() == ()
    with Catalogue.open(where) as again:
        assert again.catalogue_id == first.catalogue_id


def test_every_facet_type_comes_back_as_it_went_in(catalogue: Catalogue) -> None:
    with catalogue.transaction() as writer:
        writer.declare_facets(ALL)
        assert writer.upsert_product(SHOE) is Effect.NEW
    assert catalogue.facets() == ALL
    assert catalogue.product("shoe") == SHOE
    assert type(catalogue.product("shoe").facets["price"]) is float


def test_times_come_back_in_utc(catalogue: Catalogue) -> None:
    there = NOON.astimezone(timezone(timedelta(hours=5)))
    with catalogue.transaction() as writer:
        writer.declare_facets(ALL)
        writer.upsert_product(Product("a", facets={"added": there}))
        assert writer.upsert_product(Product("a", facets={"added": NOON})) is Effect.UNCHANGED
    added = catalogue.product("a").facets["added"]
    assert isinstance(added, datetime)
    assert (added, added.utcoffset()) == (NOON, timedelta(0))


def test_what_is_already_so_is_no_change(catalogue: Catalogue) -> None:
    for expected in (Effect.NEW, Effect.UNCHANGED):
        with catalogue.transaction() as writer:
            writer.declare_facets(ALL)
            assert writer.upsert_product(SHOE) is expected
            assert writer.add_photos([NewPhoto("shoe", "f0", "file:///1", {"split": "train"})]) == [(1, expected)]
    assert everything(catalogue) == ([SHOE], [Photo(1, "shoe", "f0", "file:///1", {"split": "train"})], 2)


def test_every_change_has_the_next_number(catalogue: Catalogue) -> None:
    with catalogue.transaction() as writer:
        writer.declare_facets(ALL)
        writer.upsert_products([Product("a"), Product("b"), Product("a", "now with a title")])
        writer.add_photo("b", "f0", "file:///1")
    with catalogue.transaction() as writer:
        writer.add_photo("b", "f0", "file:///moved")
        writer.delete_product("b")
    assert catalogue.changes_since(0) == [
        Change(1, ChangeKind.PRODUCT_SET, "a"),
        Change(2, ChangeKind.PRODUCT_SET, "b"),
        Change(3, ChangeKind.PRODUCT_SET, "a"),
        Change(4, ChangeKind.PHOTO_SET, "b", 1),
        Change(5, ChangeKind.PHOTO_SET, "b", 1),
        Change(6, ChangeKind.PHOTO_DELETED, "b", 1),
        Change(7, ChangeKind.PRODUCT_DELETED, "b"),
    ]
    assert [change.number for change in catalogue.changes_since(4, limit=2)] == [5, 6]
    assert catalogue.changes_since(7) == []


def test_products_and_photos_are_ordered_by_code_point(catalogue: Catalogue) -> None:
    ids = ["a", "B", "Z", "é", "z", "10", "9", "a b", "😀", "ﬀ", "A-1", "A1"]
    with catalogue.transaction() as writer:
        writer.upsert_products([Product(product_id) for product_id in ids])
        writer.add_photos([NewPhoto(product_id, f"{n}", "file:///") for n in (2, 1) for product_id in ids])
    products, photos, _ = everything(catalogue)
    assert [product.product_id for product in products] == sorted(ids)
    assert [(photo.product_id, photo.photo_id) for photo in photos] == sorted(
        (photo.product_id, photo.photo_id) for photo in photos
    )


def test_many_rows_are_more_than_one_round(catalogue: Catalogue) -> None:
    ids = [f"p{number:05}" for number in range(2345)]
    with catalogue.transaction() as writer:
        writer.upsert_products([Product(product_id) for product_id in ids])
        writer.add_photos([NewPhoto(product_id, "f0", "file:///") for product_id in ids])
    products, photos, number = everything(catalogue)
    assert [product.product_id for product in products] == ids
    assert [photo.product_id for photo in photos] == ids
    assert number == 2 * len(ids)
    with catalogue.snapshot() as view:
        assert (view.count_products(), view.count_photos()) == (2345, 2345)


def test_a_known_photo_keeps_its_id_and_takes_the_new_place(catalogue: Catalogue) -> None:
    with catalogue.transaction() as writer:
        writer.upsert_products([Product("a"), Product("b")])
        first = writer.add_photo("a", "f0", "file:///1")
        assert writer.add_photo("b", "f0", "file:///1") != first
        assert writer.add_photo("a", "f0", "file:///2", {"kind": "studio"}) == first
    assert catalogue.photos_of("a") == (Photo(first, "a", "f0", "file:///2", {"kind": "studio"}),)


def test_photo_ids_are_never_used_again(catalogue: Catalogue) -> None:
    with catalogue.transaction() as writer:
        writer.upsert_product(Product("a"))
        gone = writer.add_photo("a", "f0", "file:///1")
    with catalogue.transaction() as writer:
        writer.delete_photo(gone)
    with catalogue.transaction() as writer:
        assert writer.add_photo("a", "f0", "file:///1") > gone


def test_keeping_leaves_stored_values_that_are_not_given(catalogue: Catalogue) -> None:
    with catalogue.transaction() as writer:
        writer.declare_facets(ALL)
        writer.upsert_product(SHOE)
        update = Product("shoe", None, {"price": 8.0})
        assert writer.upsert_products([update], keep=True) == [Effect.CHANGED]
        assert writer.upsert_products([update], keep=True) == [Effect.UNCHANGED]
    assert catalogue.product("shoe") == Product("shoe", SHOE.title, {**SHOE.facets, "price": 8.0})
    with catalogue.transaction() as writer:
        writer.upsert_product(update)
    assert catalogue.product("shoe") == update


def test_a_dropped_facet_leaves_the_products_that_had_it(catalogue: Catalogue) -> None:
    with catalogue.transaction() as writer:
        writer.declare_facets(ALL)
        writer.upsert_products([SHOE, Product("bare")])
        writer.drop_facet("colour")
        writer.declare_facets([Facet("colour", FacetType.NUMBER)])
    rest = {name: value for name, value in SHOE.facets.items() if name != "colour"}
    assert catalogue.product("shoe").facets == rest
    assert catalogue.facets()[-1] == Facet("colour", FacetType.NUMBER)
    assert [change.product_id for change in catalogue.changes_since(2)] == ["shoe"]


def test_an_error_drops_the_whole_transaction(catalogue: Catalogue) -> None:
    with catalogue.transaction() as writer:
        writer.upsert_product(Product("a"))
    before = everything(catalogue)
    with pytest.raises(RuntimeError, match="stop"), catalogue.transaction() as writer:
        writer.declare_facets(ALL)
        writer.upsert_product(SHOE)
        writer.add_photo("a", "f0", "file:///1")
        writer.delete_product("a")
        raise RuntimeError("stop")
    assert everything(catalogue) == before
    assert catalogue.facets() == ()
    assert catalogue.changes_since(1) == []


def test_a_killed_process_leaves_nothing_half_done(tmp_path: Path) -> None:
    script = """
import os, signal, sys
from engine.catalogue.schema import Product
from engine.catalogue.store import Catalogue
from engine.catalogue.writer import NewPhoto
catalogue = Catalogue.open(sys.argv[1], create=True)
with catalogue.transaction() as writer:
    writer.upsert_product(Product("whole"))
with catalogue.transaction() as writer:
    writer.upsert_products([Product(f"half{n}") for n in range(1000)])
    writer.add_photos([NewPhoto("whole", str(n), "file:///") for n in range(1000)])
    os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / "shop.db"
    ended = subprocess.run([sys.executable, "-c", script, str(path)], check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    with Catalogue.open(path) as catalogue:
        assert everything(catalogue) == ([Product("whole")], [], 1)
        with catalogue.transaction() as writer:
            assert writer.add_photo("whole", "f0", "file:///1") == 1


def test_a_snapshot_does_not_see_what_is_written_meanwhile(catalogue: Catalogue) -> None:
    with catalogue.transaction() as writer:
        writer.upsert_product(Product("a"))
    with catalogue.snapshot() as view:
        with catalogue.transaction() as writer:
            writer.upsert_product(Product("b"))
        assert view.change_number == 1
        assert [product.product_id for product in view.products()] == ["a"]
        assert view.count_products() == 1
        assert view.changes_since(0) == [Change(1, ChangeKind.PRODUCT_SET, "a")]
    assert len(everything(catalogue)[0]) == 2


def test_writers_take_turns_and_numbers_have_no_gaps(catalogue: Catalogue, where: str) -> None:
    def write(name: str) -> None:
        with Catalogue.open(where) as own:
            for number in range(10):
                with own.transaction() as writer:
                    writer.upsert_product(Product(f"{name}{number}"))
                    writer.add_photo(f"{name}{number}", "f0", "file:///")

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log = catalogue.changes_since(0)
    assert [change.number for change in log] == list(range(1, 61))
    # a transaction's changes stand together: nobody wrote between them
    assert all(log[at].product_id == log[at + 1].product_id for at in range(0, 60, 2))
    assert sorted(change.photo_id for change in log if change.photo_id) == list(range(1, 31))


def test_a_writer_that_waits_in_vain_is_told_so(catalogue: Catalogue, where: str) -> None:
    place = Place.parse(where)
    impatient = Catalogue(place, connect(place, 0.1), 0.1)
    with catalogue.transaction(), pytest.raises(Busy, match="else is writing"), impatient.transaction():
        pass
    with impatient.transaction() as writer:
        writer.upsert_product(Product("a"))
    impatient.close()


@pytest.mark.parametrize("product_id", ["", "x" * 201, "a/b", "a\nb", "a\0b", "\u200b"])
def test_an_id_that_cannot_be_is_refused(catalogue: Catalogue, product_id: str) -> None:
    with pytest.raises(BadCall, match="cannot be a product_id"), catalogue.transaction() as writer:
        writer.upsert_product(Product(product_id))


@pytest.mark.parametrize(
    ("facet", "value"),
    [
        ("colour", 3.0),
        ("tags", "run"),
        ("tags", (1, 2)),
        ("tags", ("run", None)),
        ("tags", (b"run",)),
        ("price", "3"),
        ("price", True),
        ("price", float("nan")),
        ("sale", 1.0),
        ("added", datetime(2026, 5, 1)),
        ("added", "2026-05-01"),
        ("shade", "Red"),
    ],
)
def test_a_value_of_another_type_is_refused(catalogue: Catalogue, facet: str, value: FacetValue) -> None:
    with pytest.raises(BadCall, match=facet), catalogue.transaction() as writer:
        writer.declare_facets(ALL)
        writer.upsert_product(Product("a", facets={facet: value}))


@pytest.mark.parametrize("title", [5, b"Mug", ("Mug",)])
def test_a_title_that_is_no_text_is_refused(catalogue: Catalogue, title: Any) -> None:
    with pytest.raises(BadCall, match="title of the product 'a'"), catalogue.transaction() as writer:
        writer.upsert_product(Product("a", title))
    assert catalogue.change_number() == 0


def test_a_facet_keeps_its_type(catalogue: Catalogue) -> None:
    with catalogue.transaction() as writer:
        writer.declare_facets(ALL)
    with pytest.raises(BadCall, match="'colour' is a keyword"), catalogue.transaction() as writer:
        writer.declare_facets([Facet("colour", FacetType.NUMBER)])
    assert catalogue.facets() == ALL


def test_what_is_not_there_cannot_be_had_or_deleted(catalogue: Catalogue) -> None:
    with pytest.raises(UnknownProduct, match="'nobody'"):
        catalogue.product("nobody")
    assert catalogue.photos_of("nobody") == ()
    with pytest.raises(UnknownProduct, match="'nobody'"), catalogue.transaction() as writer:
        writer.delete_product("nobody")
    with pytest.raises(UnknownProduct, match="'nobody'"), catalogue.transaction() as writer:
        writer.add_photo("nobody", "f0", "file:///1")
    with pytest.raises(UnknownPhoto, match="17"), catalogue.transaction() as writer:
        writer.delete_photo(17)


def test_vectors_come_back_as_they_went_in(catalogue: Catalogue) -> None:
    rng = np.random.default_rng(0)
    vectors = {f"{number:064x}": rng.standard_normal(8).astype(np.float16) for number in rng.permutation(1200).tolist()}
    with catalogue.transaction() as writer:
        writer.put_vectors("m", "float32", vectors)
        writer.put_vector("0" * 64, "other", "float32", np.zeros(8))
        writer.put_vector("0" * 64, "m", "bf16", np.ones(8))
        first = f"{0:064x}"
        writer.put_vector(first, "m", "float32", np.zeros(8))  # known: stays
    with catalogue.snapshot() as view:
        stored = list(view.vectors("m", "float32"))
        some = view.vectors_of("m", "float32", [first, "f" * 64])
        assert view.change_number == 0  # a vector is no change
    assert [content.hex() for content, _ in stored] == sorted(vectors)
    assert all(np.array_equal(vector, vectors[content.hex()]) for content, vector in stored)
    assert some.keys() == {first} and np.array_equal(some[first], vectors[first])


def test_vectors_are_dropped_by_content_by_model_or_when_nobody_uses_them(catalogue: Catalogue) -> None:
    def left() -> list[str]:
        with catalogue.snapshot() as view:
            return [content.hex()[-1] for content, _ in view.vectors("m", "float32")]

    with catalogue.transaction() as writer:
        writer.upsert_product(Product("a"))
        writer.add_photo("a", f"{3:064x}", "file:///3")
        writer.put_vectors("m", "float32", {f"{number:064x}": np.ones(2) for number in range(6)})
        writer.put_vector(f"{1:064x}", "other", "float32", np.ones(2))
        writer.drop_vectors("m", "float32", [bytes(31) + b"\1", bytes(31) + b"\4"])
    assert left() == ["0", "2", "3", "5"]
    with catalogue.snapshot() as view:
        unused, last = list(view.unused_vectors()), view.last_photo_id
        assert sorted(content[-1] for content in unused) == [0, 1, 2, 5]
        assert view.vector_models() == [("m", "float32"), ("other", "float32")]
    with catalogue.transaction() as writer:
        writer.add_photo("a", f"{5:064x}", "file:///5")  # used again since it was looked up
    with catalogue.transaction() as writer:
        writer.drop_unused_vectors(unused, last)
    assert left() == ["3", "5"]
    with catalogue.snapshot() as view:
        assert view.vector_models() == [("m", "float32")]
    with catalogue.transaction() as writer:
        writer.drop_vectors("m", "float32", None)
    assert left() == []


def test_a_trimmed_log_is_followed_from_where_it_starts_and_no_earlier(catalogue: Catalogue) -> None:
    with catalogue.transaction() as writer:
        writer.upsert_products([Product(name) for name in "abcde"])
    with catalogue.transaction() as writer:
        writer.trim_log(3)
    with catalogue.snapshot() as view:
        assert (view.log_start, view.change_number) == (3, 5)
    assert [change.number for change in catalogue.changes_since(3)] == [4, 5]
    with pytest.raises(LogTrimmed, match="up to number 3"):
        catalogue.changes_since(2)
    with catalogue.transaction() as writer:
        writer.trim_log(1)  # what is forgotten stays forgotten
        writer.upsert_product(Product("f"))
        writer.trim_log(100)
        assert writer.change_number == 6
    with catalogue.snapshot() as view:
        assert (view.log_start, view.change_number) == (6, 6)
    assert catalogue.changes_since(6) == []


def test_many_products_are_read_with_their_photos_at_once(catalogue: Catalogue) -> None:
    ids = [f"p{number:04}" for number in range(1500)]
    with catalogue.transaction() as writer:
        writer.upsert_products([Product(product_id) for product_id in ids])
        writer.add_photos([NewPhoto(product_id, content, "file:///") for content in "xy" for product_id in ids[::2]])
    with catalogue.snapshot() as view:
        wanted = [*ids[::3], "nobody"]
        assert sorted(product.product_id for product in view.products_of(wanted)) == ids[::3]
        photos = view.photos_of_all(wanted)
        assert [photo.photo_id for photo in photos] == [
            photo.photo_id for product_id in ids[::3] for photo in view.photos_of(product_id)
        ]


def test_photo_columns_are_remembered(catalogue: Catalogue) -> None:
    for names in (["split", "kind"], ["kind", "angle"]):
        with catalogue.transaction() as writer:
            writer.note_photo_columns(names)
    with catalogue.transaction() as writer:
        writer.forget_photo_columns(["kind"])
    with catalogue.snapshot() as view:
        assert view.photo_columns() == ("angle", "split")
        assert view.change_number == 0


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES: dict[FacetType, st.SearchStrategy[FacetValue]] = {
    FacetType.KEYWORD: TEXT,
    FacetType.KEYWORDS: st.sets(TEXT).map(lambda items: tuple(sorted(items))),
    FacetType.NUMBER: st.floats(allow_nan=False, allow_infinity=False),
    FacetType.BOOLEAN: st.booleans(),
    FacetType.TIME: st.datetimes(timezones=st.just(UTC)),
}


@given(st.data(), st.sampled_from(list(FacetType)))
def test_values_survive_their_json(data: st.DataObject, type: FacetType) -> None:
    value = data.draw(VALUES[type])
    assert decode(type, encode("facet", type, value)) == value


OPERATIONS = st.one_of(
    st.tuples(st.just("product"), st.sampled_from("abc"), st.sampled_from([None, "x", "y"])),
    st.tuples(st.just("photo"), st.sampled_from("abc"), st.sampled_from(["f0", "f1"])),
    st.tuples(st.just("delete"), st.sampled_from("abc"), st.none()),
    st.tuples(st.just("delete photo"), st.sampled_from("abc"), st.sampled_from(["f0", "f1"])),
)


@settings(max_examples=15, deadline=None)
@given(st.lists(OPERATIONS, max_size=15))
def test_following_the_log_leads_to_the_same_catalogue(
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[str, str, str | None]]
) -> None:
    """Random changes, against plain dictionaries, and against a follower who reads nothing but the log."""
    path = tmp_path_factory.mktemp("log") / "shop.db"
    titles: dict[str, str | None] = {}
    photos: dict[tuple[str, str], int] = {}
    followed: tuple[set[str], set[int]] = (set(), set())
    number = 0
    with Catalogue.open(path, create=True) as catalogue:
        for what, product_id, extra in operations:
            with catalogue.transaction() as writer:
                if what == "product":
                    writer.upsert_product(Product(product_id, extra))
                    titles[product_id] = extra
                elif what == "photo" and product_id in titles:
                    assert extra is not None
                    photo_id = writer.add_photo(product_id, extra, "file:///")
                    assert photos.setdefault((product_id, extra), photo_id) == photo_id
                elif what == "delete" and product_id in titles:
                    writer.delete_product(product_id)
                    del titles[product_id]
                    photos = {key: value for key, value in photos.items() if key[0] != product_id}
                elif what == "delete photo" and extra is not None and (product_id, extra) in photos:
                    writer.delete_photo(photos.pop((product_id, extra)))
            number = _follow(catalogue, number, followed)
        products, stored, last = everything(catalogue)
    assert number == last
    assert {product.product_id: product.title for product in products} == titles
    assert {(photo.product_id, photo.content_hash): photo.photo_id for photo in stored} == photos
    assert followed == (set(titles), set(photos.values()))


def _follow(catalogue: Catalogue, number: int, seen: tuple[set[str], set[int]]) -> int:
    for change in catalogue.changes_since(number):
        assert change.number == number + 1
        number = change.number
        match change.kind:
            case ChangeKind.PRODUCT_SET:
                seen[0].add(change.product_id)
            case ChangeKind.PRODUCT_DELETED:
                seen[0].remove(change.product_id)
            case ChangeKind.PHOTO_SET:
                assert change.photo_id is not None
                seen[1].add(change.photo_id)
            case ChangeKind.PHOTO_DELETED:
                assert change.photo_id is not None
                seen[1].remove(change.photo_id)
    return number
