import csv
import json
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from engine.errors import BadTable, MissingFile
from engine.sources.tables import PROBLEM, columns, read_rows

PHOTO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def table_of(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# --- CSV ---------------------------------------------------------------------------------------------------------


def test_csv_rows_are_numbered_from_one_and_empty_cells_are_missing(tmp_path: Path) -> None:
    table = table_of(tmp_path / "photos.csv", "image,title,price\na.jpg, Chair ,12\n\nb.jpg,,\n")
    assert list(read_rows(table)) == [
        (1, {"image": "a.jpg", "title": "Chair", "price": "12"}),
        (2, {"image": "b.jpg", "title": None, "price": None}),
    ]
    assert columns(table) == ["image", "title", "price"]


def test_csv_of_spreadsheets_is_understood(tmp_path: Path) -> None:
    text = '\ufeffimage,title\r\na.jpg,"two\r\nlines, one ""quoted"""\r\nb.jpg,Étain\r\n'
    rows = dict(read_rows(table_of(tmp_path / "PHOTOS.CSV", text)))
    assert rows[1] == {"image": "a.jpg", "title": 'two\r\nlines, one "quoted"'}
    assert rows[2]["title"] == "Étain"


def test_tabs_separate_tsv(tmp_path: Path) -> None:
    assert list(read_rows(table_of(tmp_path / "a.tsv", "image\ttitle\na.jpg\tx, y\n"))) == [
        (1, {"image": "a.jpg", "title": "x, y"})
    ]


def test_a_row_of_another_length_is_marked_and_the_others_go_on(tmp_path: Path) -> None:
    rows = dict(read_rows(table_of(tmp_path / "a.csv", "image,title,price\na,b\nc,d,e\nf,g,h,i\n")))
    assert "2 cells, the header 3" in rows[1].pop(PROBLEM)
    assert "4 cells, the header 3" in rows[3].pop(PROBLEM)
    assert rows == {
        1: {"image": "a", "title": "b"},
        2: {"image": "c", "title": "d", "price": "e"},
        3: {"image": "f", "title": "g", "price": "h"},
    }


def test_columns_without_a_name_are_left_out(tmp_path: Path) -> None:
    table = table_of(tmp_path / "a.csv", ",image,title\n0,a.jpg,Chair\n")
    assert columns(table) == ["image", "title"]
    assert list(read_rows(table)) == [(1, {"image": "a.jpg", "title": "Chair"})]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "has no header"),
        (",,\na,b,c\n", "has no header"),
        ("image,title,image\n", "two columns 'image'"),
        ("image;title\na;b\n", "separated by ';'"),
        ("image,title\n".encode("utf-16"), "not UTF-8"),
        (b"image,title\na.jpg,caf\xe9\n", "not UTF-8, in or soon after"),
        ('image,title\na.jpg,x\nb.jpg,"never closed\n', "cannot be read from row 2 on"),
        ('image,title\na.jpg,"x" y\n', "cannot be read from row 1 on"),
    ],
)
def test_a_csv_that_cannot_be_read_says_where_and_what_to_do(tmp_path: Path, content: str | bytes, said: str) -> None:
    table = table_of(tmp_path / "a.csv", content)
    with pytest.raises(BadTable, match=said) as refused:
        list(read_rows(table))
    assert str(refused.value).startswith(str(table))
    assert "; " in str(refused.value)


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@given(rows=st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=8))
@hypothesis_settings(max_examples=60, deadline=None)
def test_whatever_is_written_as_csv_comes_back(
    rows: list[tuple[str, ...]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = StringIO(newline="")
    writer = csv.writer(file, quoting=csv.QUOTE_ALL)
    writer.writerows([("a", "b", "c"), *rows])
    table = table_of(tmp_path_factory.mktemp("csv") / "t.csv", file.getvalue())
    expected = [dict(zip("abc", (cell.strip() or None for cell in row), strict=True)) for row in rows]
    assert [row for _, row in read_rows(table)] == expected


# --- JSON Lines --------------------------------------------------------------------------------------------------


def test_json_values_keep_their_types(tmp_path: Path) -> None:
    objects = [{"image": "a.jpg", "price": 12.5, "tags": ["x", "y"], "sale": True}, {"image": "b.jpg", "size": None}]
    table = table_of(tmp_path / "a.jsonl", "\n\n".join(map(json.dumps, objects)))
    assert list(read_rows(table)) == [(1, objects[0]), (2, objects[1])]
    assert columns(table) == ["image", "price", "tags", "sale", "size"]


def test_not_a_number_is_missing(tmp_path: Path) -> None:
    assert list(read_rows(table_of(tmp_path / "a.jsonl", '{"price": NaN}'))) == [(1, {"price": None})]


def test_a_line_that_is_no_object_is_marked_and_the_others_go_on(tmp_path: Path) -> None:
    table = table_of(tmp_path / "a.ndjson", '{"image": "a"}\n{"image": \n[1]\n{"image": "b"}\n')
    rows = dict(read_rows(table))
    assert (rows[1], rows[4]) == ({"image": "a"}, {"image": "b"})
    assert rows[2].keys() == rows[3].keys() == {PROBLEM}
    assert columns(table) == ["image"]


def test_json_in_another_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadTable, match="not UTF-8"):
        list(read_rows(table_of(tmp_path / "a.jsonl", b'{"title": "caf\xe9"}')))


# --- Parquet -----------------------------------------------------------------------------------------------------


def test_parquet_values_keep_their_types_over_row_groups(tmp_path: Path) -> None:
    when = datetime(2024, 5, 6, tzinfo=UTC)
    content = {
        "product_id": ["a", "b", "c"],
        "price": [1.5, None, float("nan")],
        "tags": [["x"], [], None],
        "added": [when, None, when],
    }
    pq.write_table(pa.table(content), tmp_path / "a.parquet", row_group_size=2)
    rows = [row for _, row in read_rows(tmp_path / "a.parquet")]
    assert [row["price"] for row in rows] == [1.5, None, None]
    assert [row["tags"] for row in rows] == [["x"], [], None]
    assert rows[0]["added"] == when
    assert columns(tmp_path / "a.parquet") == list(content)


def test_photos_in_parquet_are_named_but_not_loaded(tmp_path: Path) -> None:
    photos = [{"bytes": b"1", "path": "a.jpg"}, {"bytes": b"2", "path": None}, None]
    table = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": pa.array(photos, PHOTO), "raw": [b"x", None, b"y"], "n": [1, 2, 3]}), table)
    assert list(read_rows(table)) == [
        (1, {"image": "a.jpg", "raw": "row 1", "n": 1}),
        (2, {"image": "row 2", "raw": "row 2", "n": 2}),
        (3, {"image": None, "raw": "row 3", "n": 3}),
    ]


def test_the_bytes_of_photos_are_never_read_with_the_rows(tmp_path: Path) -> None:
    # wipe out the photos inside the file: rows must not notice
    table = tmp_path / "a.parquet"
    photos = [{"bytes": bytes([65 + n]) * 5000, "path": f"{n}.jpg"} for n in range(4)]
    content = pa.table({"image": pa.array(photos, PHOTO)})
    pq.write_table(content, table, compression="none", use_dictionary=False, write_statistics=False)
    table.write_bytes(table.read_bytes().replace(b"B" * 5000, b"\xff" * 5000))
    assert [row["image"] for _, row in read_rows(table)] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]


def test_a_parquet_file_of_photos_alone_has_rows(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [b"1", b"2"]}), tmp_path / "a.pq")
    assert list(read_rows(tmp_path / "a.pq")) == [(1, {"image": "row 1"}), (2, {"image": "row 2"})]


@pytest.mark.parametrize("keep", [0, 3, 100, -1])
def test_a_parquet_file_that_breaks_off_is_refused(tmp_path: Path, keep: int) -> None:
    table = tmp_path / "a.parquet"
    pq.write_table(pa.table({"n": list(range(1000))}), table)
    table.write_bytes(table.read_bytes()[:keep])
    with pytest.raises(BadTable, match="cannot be read as Parquet"):
        list(read_rows(table))


def test_a_parquet_file_damaged_inside_says_from_where(tmp_path: Path) -> None:
    table = tmp_path / "a.parquet"
    pq.write_table(pa.table({"n": [str(n) for n in range(2000)]}), table, row_group_size=500, compression="zstd")
    data = bytearray(table.read_bytes())
    place = pq.ParquetFile(table).metadata.row_group(2).column(0).dictionary_page_offset
    data[place : place + 600] = bytes(600)
    table.write_bytes(data)
    with pytest.raises(BadTable, match="cannot be read from row"):
        list(read_rows(table))


# --- any table ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["photos.csv", "photos.jsonl", "photos.parquet"])
def test_a_table_that_is_not_there_is_missing(tmp_path: Path, name: str) -> None:
    for read in (read_rows, columns):
        with pytest.raises(MissingFile, match=name):
            read(tmp_path / name)


def test_other_files_and_folders_are_no_tables(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    for path in (table_of(tmp_path / "photos.xlsx", "x"), tmp_path / "folder.csv"):
        with pytest.raises(BadTable, match="no table I can read"):
            read_rows(path)
