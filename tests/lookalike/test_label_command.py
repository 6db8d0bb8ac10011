"""`lookalike label` as people call it: on a real index with drawn photos, on CSV and on Parquet tables."""

import csv
import json
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from engine.catalogue.store import Catalogue
from engine.errors import BadCall, BadTable, MissingFile
from engine.sources.tables import columns, read_rows
from engine.vision.encoder import OpenVinoEncoder
from indexer.build import BuildOptions, build_index
from indexer.importer import import_table
from lookalike.commands.label import command
from tests.fakes import tiny_model

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220)}


def call(*arguments: object) -> str:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def picture(colour: tuple[int, int, int], shade: int) -> Image.Image:
    """A plain colour with a grey corner, so that no two are the same file."""
    image = Image.new("RGB", (40, 40), colour)
    image.paste((shade, shade, shade), (0, 0, 6, 6))
    return image


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of what people looked for: four photos of each colour, one query a row, some of them noise."""
    (tmp_path / "images").mkdir()
    with (tmp_path / "log.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["image", "query", "clicks", "shop"])
        for colour, pixels in COLOURS.items():
            for number in range(4):
                name = f"{colour}-{number}.png"
                picture(pixels, 40 * number).save(tmp_path / "images" / name)
                lines.writerow([name, f"{colour.upper()} things!", 3, "north"])
                lines.writerow([name, "present", 3, "south"])
        lines.writerow(["red-0.png", "blue things", 3, "north"])
        lines.writerow(["red-1.png", "green  things", 1, "north"])
        lines.writerow(["red-2.png", "one of a kind", 5, "north"])
    return tmp_path / "log.csv"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_clean_keeps_queries_that_many_photos_alike_have(log: Path, tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "model").path
    options = ["--images", tmp_path / "images", "--count", "clicks", "--min-count", 2, "--min-photos", 4]
    out = tmp_path / "clean.csv"
    output = call("clean", log, "--out", out, *options, "--model", model, "--min-agreement", 0.2)
    found = {row["image"]: row["queries"] for row in rows_of(out)}
    assert found == {f"{colour}-{n}.png": f"{colour} things" for colour in COLOURS for n in range(4)}
    assert {row["shop"] for row in rows_of(out)} == {"north"}
    assert "12 photos with 12 labels of 3 queries" in output
    reasons = {
        (row["query"], Path(row["photo"]).name): row["reason"] for row in rows_of(tmp_path / "clean.dropped.csv")
    }
    assert reasons == {
        ("green things", "red-1.png"): "too few interactions",
        ("one of a kind", ""): "too few photos",
        ("present", ""): "its photos do not look alike",
        ("blue things", "red-0.png"): "it does not look like the query's other photos",
    }
    summary = json.loads((tmp_path / "clean.summary.json").read_text())
    assert summary["kept"] == {"queries": 3, "photos": 12, "labels": 12}
    assert summary["rules"]["min_photos"] == 4 and summary["interactions"] == 27


def test_clean_without_a_model_says_what_it_could_not_look_at(log: Path, tmp_path: Path) -> None:
    output = call("clean", log, "--images", tmp_path / "images", "--out", tmp_path / "o.csv", "--min-photos", 4)
    assert "nothing was dropped for how photos look" in output
    assert any("present" in row["queries"] for row in rows_of(tmp_path / "o.csv"))


def test_clean_keeps_the_photos_of_a_parquet_table(tmp_path: Path) -> None:
    """Titles in place of a log: their words are queries."""
    written = []
    for number, colour in enumerate(COLOURS.values()):
        data = BytesIO()
        picture(colour, number).save(data, "PNG")
        written.append({"bytes": data.getvalue(), "path": None})
    titles = ["Red Cup", "Green Cup", "Blue Plate"]
    pq.write_table(pa.table({"title": titles, "image": written, "price": [1, 2, 3]}), tmp_path / "t.parquet")
    out = tmp_path / "out.parquet"
    call("clean", tmp_path / "t.parquet", "--out", out, "--query", "title", "--phrases", 1, "--min-photos", 2)
    found = pq.read_table(out)
    assert found.column_names == ["title", "image", "price", "queries"]
    assert found.to_pylist() == [
        {"title": title, "image": image, "price": price, "queries": "cup"}
        for title, image, price in zip(titles[:2], written[:2], [1, 2], strict=True)
    ]


def test_rows_whose_photo_is_gone_are_told_and_stop_nothing(log: Path, tmp_path: Path) -> None:
    with log.open("a", newline="") as file:
        csv.writer(file).writerows([["gone.png", "red things", 3, "north"], ["", "red things", 2, "north"]])
    out = tmp_path / "clean.csv"
    output = call("clean", log, "--images", tmp_path / "images", "--out", out, "--count", "clicks", "--min-photos", 4)
    assert len(rows_of(out)) == 12 and "there is no such photo" in output
    gone = [row for row in rows_of(tmp_path / "clean.dropped.csv") if row["reason"] == "there is no such photo"]
    assert [(row["query"], row["photo"], row["figure"]) for row in gone] == [
        ("red things", "gone.png", "3"),
        ("red things", "", "2"),
    ]
    with pytest.raises(MissingFile, match=r"Not one of 29 photos .* 'image' is in .*; correct"):
        call("clean", log, "--images", tmp_path, "--out", out)


def test_clean_that_keeps_nothing_says_so_and_why(log: Path, tmp_path: Path) -> None:
    out = tmp_path / "clean.csv"
    with pytest.raises(BadTable, match=r"No query of .*log\.csv is left, .*clean\.dropped\.csv"):
        call("clean", log, "--images", tmp_path / "images", "--out", out)  # 300 photos a query by default
    assert not out.exists()
    assert {row["reason"] for row in rows_of(tmp_path / "clean.dropped.csv")} == {"too few photos"}


def test_a_photo_in_several_rows_of_a_parquet_log_is_one_photo(tmp_path: Path) -> None:
    written = []
    for colour in ("red", "red", "red", "blue"):
        data = BytesIO()
        picture(COLOURS[colour], 0).save(data, "PNG")
        written.append({"bytes": data.getvalue(), "path": None})
    rows = {"query": ["cup", "mug", "cup", "mug"], "image": written}
    pq.write_table(pa.table(rows), tmp_path / "log.parquet")
    out = tmp_path / "out.parquet"
    call("clean", tmp_path / "log.parquet", "--out", out, "--min-photos", 2)
    assert pq.read_table(out).select(["query", "queries"]).to_pylist() == [  # each photo's first row
        {"query": "cup", "queries": "mug"},
        {"query": "mug", "queries": "mug"},
    ]


def test_an_empty_table_is_not_blamed_on_a_filter(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("image,query\n")
    with pytest.raises(BadTable, match=r"log\.csv has no rows; fill it"):
        call("clean", tmp_path / "log.csv", "--out", tmp_path / "o.csv")


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Three known products of one colour each."""
    (tmp_path / "known").mkdir()
    with (tmp_path / "known.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["image", "product_id"])
        for colour, pixels in COLOURS.items():
            picture(pixels, 255).save(tmp_path / "known" / f"{colour}.png")
            lines.writerow([f"{colour}.png", colour])
    model = tiny_model(tmp_path / "model")
    with Catalogue.open(tmp_path / "shop.db", create=True) as catalogue:
        import_table(catalogue, tmp_path / "known.csv", images=tmp_path / "known")
        options = BuildOptions(shards=1, workers=0)
        build_index(catalogue, model, tmp_path / "index", encoder=OpenVinoEncoder(model), options=options)
    return tmp_path / "index"


def test_match_gives_photos_the_product_they_are_near_to(index: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    with (tmp_path / "new.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["image", "truth"])
        for number, (colour, pixels) in enumerate(COLOURS.items()):
            picture(pixels, 20 * number).save(tmp_path / "new" / f"new-{colour}.png")
            lines.writerow([f"new-{colour}.png", colour if colour != "blue" else "sky"])
        picture((128, 128, 128), 0).save(tmp_path / "new" / "grey.png")
        picture(COLOURS["red"], 255).save(tmp_path / "new" / "known.png")
        (tmp_path / "new" / "broken.png").write_bytes(b"no picture")
        lines.writerows([["grey.png", ""], ["known.png", "red"], ["broken.png", ""]])
    out = tmp_path / "matched.csv"
    options = ["--images", tmp_path / "new", "--index", index, "--out", out, "--check", "truth"]
    output = call("match", tmp_path / "new.csv", *options)
    rows = rows_of(out)
    assert {row["image"]: row["product_id"] for row in rows} == {f"new-{colour}.png": colour for colour in COLOURS}
    assert all(0 < float(row["distance"]) < 0.2 for row in rows)
    assert "Of 3 matches whose 'truth' is known, 2 agree" in output
    for reason in ("it cannot be read", "it is in the index itself", "no product is near enough"):
        assert any(reason in line and line.rstrip(" │").endswith("1") for line in output.splitlines()), reason


def test_match_takes_a_photos_first_row_and_counts_the_rest(index: Path, tmp_path: Path) -> None:
    picture(COLOURS["red"], 20).save(tmp_path / "new.png")
    rows = [["new.png", "first"], ["new.png", "second"], ["gone.png", ""], ["", ""]]
    with (tmp_path / "new.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "shelf"], *rows])
    out = tmp_path / "matched.csv"
    output = call("match", tmp_path / "new.csv", "--index", index, "--out", out)
    assert [(row["shelf"], row["product_id"]) for row in rows_of(out)] == [("first", "red")]
    for reason, count in (("an earlier row has the same photo", "1"), ("there is no such photo", "2")):
        assert any(reason in line and line.rstrip(" │").endswith(count) for line in output.splitlines()), reason


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_match_writes_its_columns_even_where_nothing_is_near(index: Path, tmp_path: Path, kind: str) -> None:
    picture((128, 128, 128), 0).save(tmp_path / "grey.png")
    table, out = tmp_path / f"new.{kind}", tmp_path / f"matched.{kind}"
    if kind == "csv":
        table.write_text("image\ngrey.png\n")
    else:
        pq.write_table(pa.table({"image": ["grey.png"]}), table)
    call("match", table, "--index", index, "--out", out)
    assert columns(out) == ["image", "product_id", "distance"]
    assert not list(read_rows(out))
    if kind == "parquet":
        assert pq.read_schema(out).field("distance").type == pa.float64()


def test_a_table_of_another_kind_is_refused_before_any_work(log: Path, tmp_path: Path) -> None:
    with pytest.raises(BadCall, match=r"must end in \.csv"):
        call("clean", log, "--images", tmp_path / "images", "--out", tmp_path / "o.parquet")
    with pytest.raises(BadCall, match="is the table that is read"):
        call("clean", log, "--images", tmp_path / "images", "--out", log)


def test_a_column_that_is_not_there_and_a_count_that_is_none_are_named(log: Path, tmp_path: Path) -> None:
    options = ["--images", tmp_path / "images", "--out", tmp_path / "o.csv"]
    with pytest.raises(BadTable, match="no column 'search'; it has image, query, clicks, shop"):
        call("clean", log, *options, "--query", "search")
    with pytest.raises(BadTable, match="row 1: 'north' in 'shop' is no number of interactions"):
        call("clean", log, *options, "--count", "shop")
