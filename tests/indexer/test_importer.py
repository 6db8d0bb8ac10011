"""Tables of photos become products, facets and photos; what cannot be is reported, and nothing is lost."""

import csv
import json
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from engine.catalogue.schema import Facet, FacetType, Product
from engine.catalogue.store import Catalogue
from engine.errors import BadCall, BadFilter, BadTable, MissingFile
from engine.search.filter_syntax import parse
from engine.sources.photos import read_photo
from indexer.import_report import ImportReport
from indexer.importer import import_table

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
Rows = Sequence[Mapping[str, Any]]


def photo(number: int) -> bytes:
    """A small picture, another one for every number below 2**24."""
    file = BytesIO()
    Image.new("RGB", (4, 4), (number >> 16 & 255, number >> 8 & 255, number & 255)).save(file, "PNG")
    return file.getvalue()


class Shop:
    """A folder of photos, a table and a catalogue that take turns at changing."""

    def __init__(self, folder: Path) -> None:
        self.images = folder / "images"
        self.images.mkdir(parents=True)
        self.table = folder / "photos.csv"
        self.catalogue = Catalogue.open(folder / "shop.db", create=True)

    def write(self, rows: Rows) -> None:
        """The table, and the photos that it names and that are not there yet: `a1.png` is picture 1, and so on."""
        names = list(dict.fromkeys(name for row in rows for name in row))
        with self.table.open("w", newline="") as file:
            lines = csv.DictWriter(file, names)
            lines.writeheader()
            lines.writerows(rows)
        for row in rows:
            name = str(row.get("image") or "")
            digits = "".join(filter(str.isdigit, name))
            if digits and not (self.images / name).exists():
                (self.images / name).write_bytes(photo(int(digits)))

    def load(self, rows: Rows | None = None, **options: Any) -> ImportReport:
        if rows is not None:
            self.write(rows)
        return import_table(self.catalogue, self.table, self.images, **options)

    @property
    def products(self) -> dict[str, Product]:
        with self.catalogue.snapshot() as view:
            return {product.product_id: product for product in view.products()}

    @property
    def photos(self) -> dict[str, list[str]]:
        """product_id -> file names in order of photo_id."""
        found: dict[str, list[str]] = {}
        with self.catalogue.snapshot() as view:
            for photo in view.photos():
                found.setdefault(photo.product_id, []).append(photo.uri.rpartition("/")[2])
        return found

    @property
    def change_number(self) -> int:
        with self.catalogue.snapshot() as view:
            return view.change_number

    @property
    def rejected(self) -> list[dict[str, str]]:
        with (self.table.parent / "rejected.csv").open(newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.catalogue.close()


SHOES = [
    {"image": "a1.png", "product_id": "a", "title": "Shoe A", "colour": "Red", "price": "10", "split": "train"},
    {"image": "a2.png", "product_id": "a", "title": "Shoe A", "colour": "Red", "price": "10", "split": "val"},
    {"image": "b3.png", "product_id": "b", "title": "Shoe B", "colour": "Blue", "price": "9.5", "split": "train"},
    {"image": "b4.png", "product_id": "b", "title": "Shoe B", "colour": "Blue", "price": "9.5", "split": "val"},
]


def test_columns_become_facets_or_stay_with_the_photos(shop: Shop) -> None:
    report = shop.load(SHOES)
    assert shop.products == {
        "a": Product("a", "Shoe A", {"colour": "Red", "price": 10.0}),
        "b": Product("b", "Shoe B", {"colour": "Blue", "price": 9.5}),
    }
    assert shop.catalogue.facets() == (Facet("colour", FacetType.KEYWORD), Facet("price", FacetType.NUMBER))
    first, second = shop.catalogue.photos_of("a")
    assert (first.columns, second.columns) == ({"split": "train"}, {"split": "val"})
    assert first.content_hash == sha256(photo(1)).hexdigest()
    assert read_photo(first.uri) == photo(1)
    assert (report.products_new, report.photos_new, report.rows, report.rows_rejected) == (2, 4, 4, 0)
    assert (report.photo_columns, report.clashes, report.rejected_path) == (("split",), (), None)
    assert [(facet.products, facet.distinct) for facet in report.facets] == [(2, 2), (2, 2)]
    assert report.change_number == shop.change_number == 6


def test_the_same_import_again_changes_nothing(shop: Shop) -> None:
    shop.load(SHOES)
    for replace in (False, True):
        again = shop.load(replace=replace)
        assert again.change_number == 6
        assert (again.products_unchanged, again.photos_unchanged) == (2, 4)
        assert again.products_new == again.products_changed == again.products_deleted == 0
        assert again.photos_new == again.photos_changed == again.photos_deleted == 0


def test_a_moved_photo_is_known_by_its_content(shop: Shop) -> None:
    shop.load(SHOES)
    ids = [photo.photo_id for photo in shop.catalogue.photos_of("a")]
    (shop.images / "a1.png").rename(shop.images / "moved.png")
    report = shop.load([{**SHOES[0], "image": "moved.png"}, *SHOES[1:]])
    assert (report.photos_new, report.photos_changed, report.photos_unchanged) == (0, 1, 3)
    assert [photo.photo_id for photo in shop.catalogue.photos_of("a")] == ids
    assert shop.photos["a"] == ["moved.png", "a2.png"]


def test_a_photo_with_new_content_is_a_new_photo(shop: Shop) -> None:
    shop.load(SHOES)
    (shop.images / "a1.png").write_bytes(photo(99))
    report = shop.load()
    assert (report.photos_new, report.photos_deleted) == (1, 0)
    assert shop.photos["a"] == ["a1.png", "a2.png", "a1.png"]
    assert shop.load(replace=True).photos_deleted == 1
    assert [photo.content_hash for photo in shop.catalogue.photos_of("a")] == [
        sha256(photo(2)).hexdigest(),
        sha256(photo(99)).hexdigest(),
    ]


def test_a_photo_given_twice_is_one_photo(shop: Shop) -> None:
    report = shop.load([*SHOES, {**SHOES[0], "image": "copy-a1.png"}, {**SHOES[2], "image": "a1.png"}])
    assert (report.photos_new, report.photos_repeated) == (5, 1)
    assert shop.photos == {"a": ["a1.png", "a2.png"], "b": ["b3.png", "b4.png", "a1.png"]}
    assert shop.load().change_number == report.change_number


def test_where_chooses_rows_but_not_what_a_column_is(shop: Shop) -> None:
    report = shop.load(SHOES, where=parse(["split=train", "price<10"]))
    assert shop.photos == {"b": ["b3.png"]}
    assert (report.rows, report.photo_columns) == (1, ("split",))
    assert [facet.facet.name for facet in report.facets] == ["colour", "price"]


def test_a_later_row_fills_what_the_first_lacks(shop: Shop) -> None:
    shop.load([{**SHOES[0], "title": "", "colour": ""}, SHOES[1]])
    assert shop.products["a"] == Product("a", "Shoe A", {"colour": "Red", "price": 10.0})


def many(count: int, **columns: Any) -> list[dict[str, Any]]:
    """Two rows each for `count` products."""
    return [
        {"image": f"p{2 * n + view}.png", "product_id": f"p{n:03}", "view": str(view), **columns}
        for n in range(count)
        for view in (0, 1)
    ]


def test_a_rare_difference_is_a_clash_and_the_first_row_wins(shop: Shop) -> None:
    rows = many(20, colour="Red", title="T")
    rows[7] |= {"colour": "Rde", "title": "U"}
    report = shop.load(rows)
    assert [(clash.row, clash.product_id, clash.column, clash.kept, clash.refused) for clash in report.clashes] == [
        (8, "p003", "title", "T", "U"),
        (8, "p003", "colour", "Red", "Rde"),
    ]
    assert shop.products["p003"] == Product("p003", "T", {"colour": "Red"})
    assert report.photo_columns == ("view",)


def test_a_common_difference_makes_a_photo_column(shop: Shop) -> None:
    rows = many(20, light="day")
    for row in rows[:6:2]:
        row["light"] = "night"
    assert shop.load(rows).photo_columns == ("view", "light")


def test_a_declared_facet_that_varies_clashes(shop: Shop) -> None:
    report = shop.load(SHOES, facet_types={"split": FacetType.KEYWORD})
    assert [(clash.product_id, clash.kept, clash.refused) for clash in report.clashes] == [
        ("a", "train", "val"),
        ("b", "train", "val"),
    ]
    assert shop.products["a"].facets["split"] == "train"


def test_equal_values_written_differently_do_not_clash(shop: Shop) -> None:
    shop.load(SHOES)
    assert shop.load([SHOES[0], {**SHOES[1], "price": "10.0"}]).clashes == ()


def test_declared_types_are_used(shop: Shop) -> None:
    types = {"price": FacetType.KEYWORD, "colour": FacetType.KEYWORDS}
    report = shop.load(SHOES, facet_types=types)
    assert shop.products["a"].facets == {"price": "10", "colour": ("Red",)}
    assert {facet.origin for facet in report.facets} == {"declared"}


def test_a_column_of_one_photo_products_can_be_declared_a_photo_column(shop: Shop) -> None:
    report = shop.load([SHOES[0], SHOES[2]], photo_columns=["split"])
    assert report.photo_columns == ("split",)
    assert "split" not in shop.products["a"].facets


def test_what_a_column_was_it_stays_in_later_imports(shop: Shop) -> None:
    shop.load(SHOES)
    report = shop.load([{**SHOES[0], "product_id": "c", "image": "c9.png", "price": "12", "split": "train"}])
    assert report.photo_columns == ("split",)
    assert [(facet.facet.name, facet.origin) for facet in report.facets] == [
        ("colour", "catalogue"),
        ("price", "catalogue"),
    ]
    assert shop.products["c"].facets == {"colour": "Red", "price": 12.0}


def test_prose_and_empty_columns_are_left_out_unless_declared(shop: Shop) -> None:
    rows = [{**row, "description": "It is very nice. " * 9, "sale": ""} for row in SHOES]
    report = shop.load(rows)
    assert set(report.left_out) == {"description", "sale"}
    assert "--facet 'description:keyword'" in report.left_out["description"]
    report = shop.load(rows, facet_types={"description": FacetType.KEYWORD})
    assert set(report.left_out) == {"sale"}
    assert shop.products["a"].facets["description"] == ("It is very nice. " * 9).strip()


def test_nothing_is_deleted_without_replace(shop: Shop) -> None:
    shop.load(SHOES)
    report = shop.load([{"image": "a5.png", "product_id": "a", "price": "8"}])
    assert (report.products_changed, report.photos_new) == (1, 1)
    assert shop.products["a"] == Product("a", "Shoe A", {"colour": "Red", "price": 8.0})
    assert shop.photos == {"a": ["a1.png", "a2.png", "a5.png"], "b": ["b3.png", "b4.png"]}


def test_replace_deletes_what_the_table_lacks(shop: Shop) -> None:
    shop.load(SHOES)
    report = shop.load([{"image": "a1.png", "product_id": "a", "price": "8"}], replace=True)
    assert (report.products_deleted, report.photos_deleted) == (1, 3)
    assert shop.products == {"a": Product("a", None, {"price": 8.0})}
    assert shop.photos == {"a": ["a1.png"]}
    assert shop.catalogue.facets() == (Facet("price", FacetType.NUMBER),)


def test_replace_spares_products_with_rejected_rows(shop: Shop) -> None:
    shop.load([*SHOES, {**SHOES[0], "product_id": "c", "image": "c5.png"}])
    (shop.images / "a1.png").unlink()
    shop.table.write_text(shop.table.read_text().replace("9.5", "ten"))
    report = import_table(shop.catalogue, shop.table, shop.images, where=parse(["!product_id=c"]), replace=True)
    assert report.rows_rejected == 3
    assert (report.products_deleted, report.photos_deleted) == (1, 1)
    assert shop.photos == {"a": ["a1.png", "a2.png"], "b": ["b3.png", "b4.png"]}
    assert shop.products["b"].facets["price"] == 9.5


def test_replace_can_change_the_type_of_a_facet(shop: Shop) -> None:
    shop.load(SHOES)
    with pytest.raises(BadCall, match=r"'price' is a number facet in .*--replace"):
        shop.load(facet_types={"price": FacetType.KEYWORD})
    with pytest.raises(BadCall, match="'colour' is a keyword facet"):
        shop.load(photo_columns=["colour"])
    assert shop.change_number == 6
    shop.load(facet_types={"price": FacetType.KEYWORD}, photo_columns=["colour"], replace=True)
    assert shop.products["a"].facets == {"price": "10"}
    assert shop.catalogue.facets() == (Facet("price", FacetType.KEYWORD),)
    assert shop.catalogue.photos_of("a")[0].columns == {"colour": "Red", "split": "train"}


def test_rejected_rows_are_listed_with_their_reasons(shop: Shop) -> None:
    shop.load(SHOES)  # so that price is known to be a number
    bad = {"image": "x7.png", "product_id": "x", "price": "3"}
    rows = [
        bad,
        {**bad, "image": "missing.png"},
        {**bad, "image": ""},
        {**bad, "image": "../shop.db"},
        {**bad, "product_id": ""},
        {**bad, "product_id": "a/b"},
        {**bad, "product_id": "x" * 201},
        {**bad, "price": "ten"},
        {**bad, "image": "text.png"},
        {**bad, "image": "empty.png"},
        {**bad, "image": "header.png"},
    ]
    (shop.images / "text.png").write_text("no picture at all")
    (shop.images / "empty.png").touch()
    (shop.images / "header.png").write_bytes(photo(1)[:12])
    report = shop.load(rows)
    reasons = [
        "there is no photo",
        "names no photo",
        "outside",
        "no product_id",
        "cannot be a product_id",
        "cannot be a product_id",
        "price is 'ten', which is not a number",
        "no picture",
        "is empty",
        "damaged",
    ]
    assert report.rows_rejected == len(reasons)
    assert report.rejected_path == shop.table.parent / "rejected.csv"
    listed = shop.rejected
    assert [int(row["row"]) for row in listed] == list(range(2, 12))
    for row, reason in zip(listed, reasons, strict=True):
        assert reason in row["reason"]
    assert (listed[6]["product_id"], listed[6]["image"]) == ("x", "x7.png")
    assert shop.photos["x"] == ["x7.png"]
    assert shop.load([bad]).rejected_path is None
    assert shop.rejected == []


def test_a_ragged_row_is_rejected_alone(shop: Shop) -> None:
    shop.write(SHOES)
    shop.table.write_text(shop.table.read_text() + "a1.png,c\n")
    report = shop.load()
    assert (report.rows_rejected, report.photos_new) == (1, 4)
    assert "cells" in shop.rejected[0]["reason"]


@pytest.mark.parametrize(("column", "option"), [("image", "--image-column"), ("product_id", "--product-column")])
def test_a_missing_column_changes_nothing(shop: Shop, column: str, option: str) -> None:
    rows = [{name: value for name, value in row.items() if name != column} for row in SHOES]
    with pytest.raises(BadTable, match=rf"has no column '{column}' .*name it with {option}"):
        shop.load(rows)
    assert shop.change_number == 0
    assert shop.catalogue.facets() == ()


def test_other_names_for_the_columns(shop: Shop) -> None:
    shop.write(SHOES)
    shop.table.write_text(shop.table.read_text().replace("image,product_id", "file,sku"))
    report = shop.load(product_column="sku", image_column="file")
    assert (report.products_new, report.photos_new) == (2, 4)


def test_calls_that_do_not_fit_the_table_are_refused(shop: Shop) -> None:
    shop.write(SHOES)
    with pytest.raises(BadFilter, match=r"no column 'splt' .*'split'"):
        shop.load(where=parse(["splt=train"]))
    with pytest.raises(BadCall, match="no column 'size'"):
        shop.load(facet_types={"size": FacetType.NUMBER})
    with pytest.raises(BadCall, match="its own meaning"):
        shop.load(facet_types={"title": FacetType.KEYWORD})
    with pytest.raises(BadCall, match="one of the two"):
        shop.load(facet_types={"split": FacetType.KEYWORD}, photo_columns=["split"])
    with pytest.raises(MissingFile, match="--rejected"):
        shop.load(rejected=shop.table.parent / "nowhere" / "rejected.csv")
    assert shop.change_number == 0


def test_an_import_without_a_single_good_row_fails_and_deletes_nothing(shop: Shop) -> None:
    shop.load(SHOES)
    for path in shop.images.iterdir():
        path.unlink()
    with pytest.raises(BadTable, match=r"rejected\.csv says why; row 1: .*there is no photo"):
        import_table(shop.catalogue, shop.table, shop.images, replace=True)
    assert len(shop.rejected) == 4
    with pytest.raises(BadTable, match="--where"):
        shop.load(where=parse(["split=test"]), replace=True)
    assert shop.change_number == 6
    assert len(shop.products) == 2


def test_a_table_longer_than_a_batch_arrives_whole(shop: Shop) -> None:
    rows = many(300, colour="Red")
    rows.sort(key=lambda row: row["view"])  # the two rows of a product are in different batches
    shop.write(rows)
    report = shop.load()
    assert (report.products_new, report.photos_new) == (300, 600)
    assert shop.photos["p017"] == ["p34.png", "p35.png"]
    assert report.change_number == 900


def test_a_killed_import_leaves_whole_batches_and_goes_on(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.write(many(300, colour="Red"))
    script = """
import os, signal, sys
from pathlib import Path
from engine.catalogue.store import Catalogue
from engine.telemetry import Silent
from indexer.importer import BATCH_ROWS, import_table

class Killer(Silent):
    batches = 0
    def advance(self, steps=1):
        self.batches += steps == BATCH_ROWS
        if self.batches == 1:
            os.kill(os.getpid(), signal.SIGKILL)

folder = Path(sys.argv[1])
import_table(Catalogue.open(folder / "shop.db"), folder / "photos.csv", folder / "images", progress=Killer())
"""
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False, timeout=120)
    assert ended.returncode == -signal.SIGKILL
    assert sum(map(len, shop.photos.values())) == 500
    report = shop.load()
    assert (report.photos_unchanged, report.photos_new) == (500, 100)
    shop.catalogue.close()


def test_a_tar_of_photos(shop: Shop) -> None:
    shop.write(SHOES)
    archive = shop.table.parent / "photos.tar"
    with tarfile.open(archive, "w") as tar:
        for path in sorted(shop.images.iterdir()):
            tar.add(path, path.name)
    report = import_table(shop.catalogue, shop.table, archive)
    assert (report.photos_new, report.rows_rejected) == (4, 0)
    assert read_photo(shop.catalogue.photos_of("b")[0].uri) == photo(3)


def test_a_parquet_table_with_its_photos_inside(shop: Shop) -> None:
    table = pa.table(
        {
            "product_id": pa.array([1, 2, 3]),
            "image": [{"bytes": photo(1), "path": "1.png"}, {"bytes": b"no picture", "path": None}, None],
            "tags": [["run", "new"], [], None],
            "year": pa.array([2011, 2012, None], pa.int16()),
            "thumbnail": [photo(4), photo(5), photo(6)],
            "box": [{"left": 1}, {"left": 2}, None],
        }
    )
    path = shop.table.with_suffix(".parquet")
    pq.write_table(table, path)
    report = import_table(shop.catalogue, path, None)
    assert shop.products == {"1": Product("1", None, {"tags": ("new", "run"), "year": 2011.0})}
    assert read_photo(shop.catalogue.photos_of("1")[0].uri) == photo(1)
    assert [row["row"] for row in shop.rejected] == ["2", "3"]
    assert report.left_out == {"box": "holds dict values"}


def test_json_lines_with_lists_and_missing_keys(shop: Shop) -> None:
    shop.write(SHOES)
    path = shop.table.with_suffix(".jsonl")
    rows: Rows = [
        {"image": "a1.png", "product_id": "a", "tags": ["run", "new"], "sale": True},
        {"image": "b3.png", "product_id": "b", "added": "2026-05-01"},
    ]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n{broken\n")
    report = import_table(shop.catalogue, path, shop.images)
    assert {facet.facet.name: str(facet.facet.type) for facet in report.facets} == {
        "tags": "keywords",
        "sale": "boolean",
        "added": "time",
    }
    assert shop.products["a"].facets == {"tags": ("new", "run"), "sale": True}
    assert report.rows_rejected == 1


CELL = st.sampled_from(["", "Red", "Blue"])
ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 4), CELL, CELL), min_size=1, max_size=12)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ROWS, min_size=1, max_size=2))
def test_importing_agrees_with_plain_dictionaries(
    tmp_path_factory: pytest.TempPathFactory, tables: list[list[tuple[str, int, str, str]]]
) -> None:
    """One or two tables after another, against dictionaries that follow the rules in the most obvious way."""
    shop = Shop(tmp_path_factory.mktemp("shop"))
    titles: dict[str, str] = {}
    colours: dict[str, str] = {}
    photos: dict[str, list[int]] = {}
    for table in tables:
        rows = [
            {"product_id": product, "image": f"p{number}.png", "title": title, "colour": colour}
            for product, number, title, colour in table
        ]
        report = shop.load(rows, facet_types={"colour": FacetType.KEYWORD})
        for known, column in ((titles, 2), (colours, 3)):
            said: dict[str, str] = {}
            for row in table:
                if row[column]:
                    said.setdefault(row[0], str(row[column]))
            known.update(said)
        for product, number, *_ in table:
            if number not in photos.setdefault(product, []):
                photos[product].append(number)
        assert report.photos_new + report.photos_unchanged + report.photos_repeated == len(rows)
    assert {name: product.title for name, product in shop.products.items() if product.title} == titles
    assert {name: product.facets["colour"] for name, product in shop.products.items() if product.facets} == colours
    assert shop.photos == {product: [f"p{number}.png" for number in numbers] for product, numbers in photos.items()}
    shop.catalogue.close()


@pytest.mark.shared_data
def test_the_grocery_photos(tmp_path: Path) -> None:
    table = SHARED / "grocery" / "photos.csv"
    if not table.exists():
        pytest.skip("the grocery photos are not beside this checkout, so they cannot be imported")
    with Catalogue.open(tmp_path / "shop.db", create=True) as catalogue:
        where = parse(["split=catalogue|val"])
        report = import_table(catalogue, table, SHARED / "grocery" / "images", where=where)
        assert (report.products_new, report.photos_new, report.rows_rejected) == (81, 81 + 296, 0)
        assert report.photo_columns == ("kind", "split")
        assert [(facet.facet.name, facet.distinct) for facet in report.facets] == [("category", 43), ("department", 3)]
        assert set(report.left_out) == {"description"}
        again = import_table(catalogue, table, SHARED / "grocery" / "images", where=where)
        assert (again.change_number, again.photos_unchanged) == (report.change_number, 377)
