import io
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.errors import BadImage, BadTable, DamagedFile, MissingFile
from engine.settings import settings
from engine.sources.photos import FolderPhotos, PhotoSource, open_photos, read_photo, reading_order
from engine.sources.tables import read_rows

PHOTO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def folder_of(folder: Path, photos: dict[str, bytes]) -> Path:
    for name, data in photos.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def tar_of(path: Path, photos: dict[str, bytes], kind: str = "w") -> Path:
    with tarfile.open(path, kind) as tar:
        for name, data in photos.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def parquet_of(path: Path, count: int, group: int = 3) -> Path:
    photos = [{"bytes": b"photo %d" % row, "path": f"{row}.jpg"} for row in range(count)]
    pq.write_table(pa.table({"image": pa.array(photos, PHOTO)}), path, row_group_size=group)
    return path


def found(source: PhotoSource, name: str, number: int = 1) -> bytes:
    return read_photo(source.locate({"image": name}, number))


# --- folders -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.jpg", "deep/er/b.jpg", "with space #1?&=%20.jpg", "Étain/木.jpg"])
def test_a_photo_in_a_folder_is_read_back_from_its_uri(tmp_path: Path, name: str) -> None:
    folder = folder_of(tmp_path / "images", {name: b"bytes of it"})
    source = open_photos(tmp_path / "photos.csv", folder)
    assert source.locate({"image": name}, 1).startswith("file:///")
    assert found(source, name) == b"bytes of it"


def test_without_a_folder_the_photos_lie_beside_the_table(tmp_path: Path) -> None:
    folder_of(tmp_path, {"a.jpg": b"here"})
    assert found(open_photos(tmp_path / "photos.csv", None), "a.jpg") == b"here"


def test_nothing_outside_the_folder_is_reachable(tmp_path: Path) -> None:
    folder_of(tmp_path, {"secret.jpg": b"secret", "images/a.jpg": b"mine", "images-too/b.jpg": b"other"})
    images = tmp_path / "images"
    (images / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (images / "door").symlink_to(tmp_path)
    source = open_photos(tmp_path / "photos.csv", images)
    outside = ["../secret.jpg", "x/../../secret.jpg", "link.jpg", "door/secret.jpg", "../images-too/b.jpg"]
    for name in [*outside, str(tmp_path / "secret.jpg"), "/etc/passwd"]:
        with pytest.raises(BadTable, match="lies outside"):
            source.locate({"image": name}, 7)
    assert found(source, str(images / "a.jpg")) == b"mine"
    assert found(source, "../images/a.jpg") == b"mine"


def test_links_within_the_folder_are_followed(tmp_path: Path) -> None:
    images = folder_of(tmp_path / "images", {"a.jpg": b"mine"})
    (images / "again.jpg").symlink_to("a.jpg")
    assert found(open_photos(tmp_path / "t.csv", images), "again.jpg") == b"mine"


def test_a_folder_that_is_itself_a_link_is_fine(tmp_path: Path) -> None:
    folder_of(tmp_path / "real", {"a.jpg": b"mine"})
    (tmp_path / "images").symlink_to("real")
    assert found(open_photos(tmp_path / "t.csv", tmp_path / "images"), "a.jpg") == b"mine"


@pytest.mark.parametrize("name", ["nowhere.jpg", "sub", "."])
def test_a_photo_that_is_not_there_names_its_row(tmp_path: Path, name: str) -> None:
    folder_of(tmp_path / "images", {"sub/a.jpg": b"x"})
    with pytest.raises(MissingFile, match=r"Row 5 of .*photos\.csv"):
        open_photos(tmp_path / "photos.csv", tmp_path / "images").locate({"image": name}, 5)


@pytest.mark.parametrize("name", ["a\0b.jpg", "x" * 5000])
def test_what_is_no_path_is_said_to_be_none(tmp_path: Path, name: str) -> None:
    with pytest.raises((BadTable, MissingFile), match="Row 5"):
        FolderPhotos(tmp_path / "photos.csv", tmp_path).locate({"image": name}, 5)


def test_a_circle_of_links_is_an_error_of_the_row(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").symlink_to("b.jpg")
    (tmp_path / "b.jpg").symlink_to("a.jpg")
    with pytest.raises((BadTable, MissingFile), match="Row 5"):
        FolderPhotos(tmp_path / "photos.csv", tmp_path).locate({"image": "a.jpg"}, 5)


@pytest.mark.parametrize("row", [{}, {"image": None}, {"image": ""}])
def test_a_row_without_a_photo_is_named(tmp_path: Path, row: dict[str, str]) -> None:
    sources = [
        open_photos(tmp_path / "photos.csv", tmp_path),
        open_photos(tmp_path / "photos.csv", tar_of(tmp_path / "x.tar", {"a.jpg": b"x"})),
        open_photos(parquet_of(tmp_path / "x.parquet", 9), None),
    ]
    for source in sources:
        with pytest.raises(BadTable, match=r"Row 5 .* names no photo in 'image'"):
            source.locate(row, 5)


# --- tars --------------------------------------------------------------------------------------------------------


def test_a_photo_in_a_tar_is_read_back_from_its_uri(tmp_path: Path) -> None:
    long_name = "deep/" * 60 + "long.jpg"  # longer than the 100 bytes of the first tars
    photos = {"a.jpg": b"first", "./sub/b #?.jpg": b"second" * 400, long_name: b"third", "Étain.jpg": b"fourth"}
    source = open_photos(tmp_path / "photos.csv", tar_of(tmp_path / "my photos.tar", photos))
    assert source.locate({"image": "a.jpg"}, 1).startswith("tar:///")
    for name, data in photos.items():
        assert found(source, name) == data
        assert found(source, name.removeprefix("./")) == data


def test_of_two_with_the_same_name_the_later_counts(tmp_path: Path) -> None:
    archive = tar_of(tmp_path / "x.tar", {"a.jpg": b"old"})
    tar_of(archive, {"a.jpg": b"new"}, "a")
    assert found(open_photos(tmp_path / "t.csv", archive), "a.jpg") == b"new"


def test_links_and_folders_in_a_tar_are_no_photos(tmp_path: Path) -> None:
    archive = tmp_path / "x.tar"
    with tarfile.open(archive, "w") as tar:
        for name, kind in (("link.jpg", tarfile.SYMTYPE), ("hard.jpg", tarfile.LNKTYPE), ("dir.jpg", tarfile.DIRTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
    source = open_photos(tmp_path / "t.csv", archive)
    for name in ("link.jpg", "hard.jpg", "dir.jpg", "nowhere.jpg"):
        with pytest.raises(MissingFile, match="Row 3 of"):
            source.locate({"image": name}, 3)


@pytest.mark.parametrize("content", [b"", b"no tar" * 200])
def test_what_is_no_tar_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(BadTable, match="neither a folder nor a plain tar"):
        open_photos(tmp_path / "t.csv", tmp_path / "x.tar")


def test_a_compressed_tar_is_refused_with_what_to_do(tmp_path: Path) -> None:
    archive = tar_of(tmp_path / "x.tar.gz", {"a.jpg": b"x"}, "w:gz")
    with pytest.raises(BadTable, match="without compression"):
        open_photos(tmp_path / "t.csv", archive)


def test_a_tar_that_breaks_off_is_damaged(tmp_path: Path) -> None:
    archive = tar_of(tmp_path / "x.tar", {"a.jpg": b"x" * 5000, "b.jpg": b"y" * 50_000})
    archive.write_bytes(archive.read_bytes()[:20_000])
    with pytest.raises(DamagedFile, match="breaks off"):
        open_photos(tmp_path / "t.csv", archive)


def test_a_tar_that_got_shorter_since_the_import_is_damaged(tmp_path: Path) -> None:
    archive = tar_of(tmp_path / "x.tar", {"a.jpg": b"x" * 5000})
    uri = open_photos(tmp_path / "t.csv", archive).locate({"image": "a.jpg"}, 1)
    archive.write_bytes(archive.read_bytes()[:3000])
    with pytest.raises(DamagedFile, match="shorter than when it was imported"):
        read_photo(uri)


# --- Parquet -----------------------------------------------------------------------------------------------------


def test_photos_in_a_parquet_column_are_read_back_from_their_uris(tmp_path: Path) -> None:
    table = parquet_of(tmp_path / "my shop.parquet", 10)
    source = open_photos(table, None)
    uris = [source.locate(row, number) for number, row in read_rows(table)]
    assert uris[4].startswith("parquet:///")
    assert uris[4].endswith("?column=image&row=4")
    for row in (9, 0, 5, 3, 2, 8, 0):
        assert read_photo(uris[row]) == b"photo %d" % row


def test_a_column_of_bytes_holds_photos_too(tmp_path: Path) -> None:
    table = tmp_path / "x.parquet"
    pq.write_table(pa.table({"front": [b"a", b"b"], "name": ["x", "y"]}), table)
    source = open_photos(table, None)
    uris = [source.locate(row, number, "front") for number, row in read_rows(table)]
    assert [read_photo(uri) for uri in uris] == [b"a", b"b"]
    with pytest.raises(BadTable, match="in front; name that"):
        source.locate({"name": "x"}, 1, "name")


def test_a_parquet_table_of_paths_points_into_its_folder(tmp_path: Path) -> None:
    folder_of(tmp_path, {"a.jpg": b"here"})
    pq.write_table(pa.table({"image": ["a.jpg"]}), tmp_path / "x.parquet")
    assert found(open_photos(tmp_path / "x.parquet", None), "a.jpg") == b"here"


def test_a_null_photo_is_missing(tmp_path: Path) -> None:
    table = tmp_path / "x.parquet"
    pq.write_table(pa.table({"image": pa.array([{"bytes": None, "path": "a.jpg"}], PHOTO)}), table)
    with pytest.raises(MissingFile, match="of row 1"):
        found(open_photos(table, None), "a.jpg")


def test_a_replaced_parquet_file_is_read_anew(tmp_path: Path) -> None:
    table = parquet_of(tmp_path / "x.parquet", 4)
    uri = open_photos(table, None).locate({"image": "x"}, 1)
    assert read_photo(uri) == b"photo 0"
    pq.write_table(pa.table({"image": pa.array([{"bytes": b"new", "path": None}], PHOTO)}), table)
    assert read_photo(uri) == b"new"
    with pytest.raises(MissingFile, match="of row 4"):
        read_photo(uri.replace("row=0", "row=3"))


def test_threads_read_different_row_groups_at_once(tmp_path: Path) -> None:
    table = parquet_of(tmp_path / "x.parquet", 200, group=7)
    source = open_photos(table, None)
    uris = [source.locate(row, number) for number, row in read_rows(table)]
    order = [place * 37 % 200 for place in range(200)]
    with ThreadPoolExecutor(8) as pool:
        photos = list(pool.map(read_photo, [uris[row] for row in order]))
    assert photos == [b"photo %d" % row for row in order]


# --- any URI -----------------------------------------------------------------------------------------------------


def test_the_reading_order_is_the_order_in_the_files(tmp_path: Path) -> None:
    uris = [f"parquet:///x.parquet?column=image&row={row}" for row in (11, 2, 100)]
    uris += [f"tar:///a.tar?offset={offset}&size=5" for offset in (1024, 512)] + ["file:///b.jpg", "file:///a.jpg"]
    assert sorted(uris, key=reading_order) == [
        "file:///a.jpg",
        "tar:///a.tar?offset=512&size=5",
        "tar:///a.tar?offset=1024&size=5",
        "file:///b.jpg",
        "parquet:///x.parquet?column=image&row=2",
        "parquet:///x.parquet?column=image&row=11",
        "parquet:///x.parquet?column=image&row=100",
    ]


def test_photos_that_went_away_are_missing(tmp_path: Path) -> None:
    table = parquet_of(tmp_path / "x.parquet", 2)
    archive = tar_of(tmp_path / "x.tar", {"a.jpg": b"x"})
    photo = folder_of(tmp_path, {"a.jpg": b"x"}) / "a.jpg"
    uris = [
        open_photos(tmp_path / "t.csv", tmp_path).locate({"image": "a.jpg"}, 1),
        open_photos(tmp_path / "t.csv", archive).locate({"image": "a.jpg"}, 1),
        open_photos(table, None).locate({"image": "a.jpg"}, 1),
    ]
    for path in (table, archive, photo):
        path.unlink()
    for uri in uris:
        with pytest.raises(MissingFile, match="is gone"):
            read_photo(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "http://example.com/a.jpg",
        "a.jpg",
        "",
        "tar:///x.tar",
        "tar:///x.tar?offset=a&size=1",
        "tar:///x.tar?offset=-5&size=1",
        "parquet:///x.parquet?row=1",
    ],
)
def test_what_is_no_address_is_said_to_be_none(uri: str) -> None:
    with pytest.raises(MissingFile, match=r"no address of a photo|is gone"):
        read_photo(uri)


def test_a_photo_beyond_the_limit_is_refused_without_reading_it_whole(tmp_path: Path) -> None:
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(settings().max_photo_bytes * 100)  # takes no space on disk
    with pytest.raises(BadImage, match="bytes allowed"):
        found(open_photos(tmp_path / "t.csv", tmp_path), "a.jpg")


def test_photos_neither_folder_nor_there_are_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="correct --images"):
        open_photos(tmp_path / "t.csv", tmp_path / "nowhere")


@pytest.mark.shared_data
@pytest.mark.parametrize("table", ["grocery/photos.csv", "fashion/products.parquet"])
def test_real_tables_lead_to_real_photos(table: str) -> None:
    path = Path(__file__).parents[3].parent / "shared" / "data" / table
    if not path.is_file():
        pytest.skip(f"needs ../shared/data/{table} beside the checkout")
    source = open_photos(path, path.parent / "images" if path.suffix == ".csv" else None)
    for number, row in list(read_rows(path))[::500]:
        assert read_photo(source.locate(row, number)).startswith(b"\xff\xd8\xff")
