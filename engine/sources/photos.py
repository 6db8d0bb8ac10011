"""Where photos are, and their bytes: a folder, a tar, or a column of a Parquet file.

Photos stay where they are. A row of a table is turned into a URI once, when it is imported, and from then on the URI
alone is enough to have the bytes::

    file:///shop/images/a%20b.jpg
    tar:///shop/photos.tar?offset=512&size=90312
    parquet:///shop/products.parquet?column=image&row=12        (row counts from 0)
"""

import tarfile
from bisect import bisect_right
from collections import OrderedDict
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any, Protocol
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import BadImage, BadTable, DamagedFile, MissingFile
from engine.settings import settings
from engine.sources.tables import Row, open_parquet, photo_field

GROUP_CACHE_BYTES = 256 * 1024 * 1024  # of Parquet row groups kept in memory, shared by the whole process


_Version = tuple[Path, int]  # a file and when it was last changed, so that a new file is never read by an old one's map


class PhotoSource(Protocol):
    """Where the photos of one table are."""

    def locate(self, row: Row, number: int, column: str = "image") -> str:
        """The URI of the photo of data row `number` (from 1).

        Raises:
            BadTable: the row names no photo, or one outside the folder.
            MissingFile: there is no such photo.
        """


def open_photos(table: Path, images: Path | None) -> PhotoSource:
    """The photos of `table`, in `images` (a folder or a .tar), or without it in the table itself or its folder.

    Raises:
        MissingFile: `images` does not exist.
        BadTable: `images` is neither a folder nor a plain tar, or the table is Parquet and cannot be read.
        DamagedFile: the tar breaks off.
    """
    if images is None:
        has_photos = table.suffix.lower() in {".parquet", ".pq"} and ParquetPhotos.columns_of(table)
        return ParquetPhotos(table) if has_photos else FolderPhotos(table, table.parent)
    if images.is_dir():
        return FolderPhotos(table, images)
    if not images.exists():
        raise MissingFile(f"There is no {images}; correct --images.")
    return TarPhotos(table, images)


def read_photo(uri: str) -> bytes:
    """The bytes of a photo's file, from any URI that `locate` gave; safe to call from several threads.

    Reading many photos of one Parquet file goes far faster in the order of `reading_order`.

    Raises:
        MissingFile: the photo is no longer there, or the URI is none of ours.
        DamagedFile: the file that holds it is shorter than it was, or cannot be read.
        BadImage: it is larger than the settings allow.
    """
    parts = urlsplit(uri)
    path = Path(unquote(parts.path))
    where = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    try:
        if parts.scheme == "file":
            return _read_slice(path, 0, None)
        if parts.scheme == "tar":
            return _read_slice(path, int(where["offset"]), int(where["size"]))
        if parts.scheme == "parquet":
            return _read_cell(path, where["column"], int(where["row"]))
    except (KeyError, ValueError):
        pass
    raise MissingFile(f"{uri} is no address of a photo; import its table again.")


def reading_order(uri: str) -> tuple[str, int]:
    """A sort key for URIs: photos of one file together, in the order they lie in it."""
    parts = urlsplit(uri)
    where = parse_qs(parts.query)
    place = where.get("row") or where.get("offset") or ["0"]
    return parts.path, int(place[-1])


class FolderPhotos:
    """Photos as files in a folder; the table names them by path below it."""

    def __init__(self, table: Path, folder: Path) -> None:
        self._table = table
        self._folder = folder.resolve()

    def locate(self, row: Row, number: int, column: str = "image") -> str:
        name = _name_in(row, number, column, self._table)
        try:
            path = (self._folder / name).resolve()
            found = path.is_file()
        except (OSError, ValueError, RuntimeError):  # a name too long, with a zero byte, or a circle of links
            raise BadTable(f"Row {number} of {self._table}: {name!r} is no path; correct it.") from None
        if not path.is_relative_to(self._folder):
            raise BadTable(
                f"Row {number} of {self._table}: {name!r} lies outside {self._folder}; move the photo into it."
            )
        if not found:
            raise MissingFile(f"Row {number} of {self._table}: there is no photo {path}; correct the path or --images.")
        return path.as_uri()


class TarPhotos:
    """Photos as members of a plain tar, which is listed once; they are read straight from their offsets later."""

    def __init__(self, table: Path, archive: Path) -> None:
        self._table = table
        self._archive = archive.resolve()
        self._members = _tar_members(self._archive)

    def locate(self, row: Row, number: int, column: str = "image") -> str:
        name = _name_in(row, number, column, self._table)
        place = self._members.get(_plain(name))
        if place is None:
            raise MissingFile(f"Row {number} of {self._table}: {self._archive} has no {name!r}; correct the path.")
        return _uri("tar", self._archive, offset=place[0], size=place[1])


class ParquetPhotos:
    """Photos inside the table itself: a column of bytes, or of structs with a field `bytes`."""

    def __init__(self, table: Path) -> None:
        self._table = table.resolve()
        self._columns = self.columns_of(table)

    @staticmethod
    def columns_of(table: Path) -> tuple[str, ...]:
        """The columns of a Parquet file that hold photos."""
        with open_parquet(table) as file:
            return tuple(field.name for field in file.schema_arrow if photo_field(field.type) is not None)

    def locate(self, row: Row, number: int, column: str = "image") -> str:
        if column not in self._columns:
            has = ", ".join(self._columns)
            raise BadTable(
                f"{self._table} has no photos in a column {column!r}, but in {has}; name that with --image-column."
            )
        _name_in(row, number, column, self._table)
        return _uri("parquet", self._table, column=column, row=number - 1)


def _name_in(row: Row, number: int, column: str, table: Path) -> str:
    name = row.get(column)
    if name is None or name == "":
        raise BadTable(f"Row {number} of {table} names no photo in {column!r}; fill it in or leave the row out.")
    return str(name)


def _uri(scheme: str, path: Path, **where: Any) -> str:
    return f"{scheme}://{quote(str(path))}?{urlencode(where)}"


def _plain(name: str) -> str:
    return name.removeprefix("./")


def _tar_members(archive: Path) -> dict[str, tuple[int, int]]:
    """Offset and size in bytes of every regular file; of two with the same name, the later, as `tar -x` has it."""
    members: dict[str, tuple[int, int]] = {}
    try:
        with tarfile.open(archive, "r:") as opened:
            tar: Any = opened  # the type stubs lack `members`
            while (member := tar.next()) is not None:
                tar.members.clear()  # or a million photos would keep a gigabyte of descriptions
                if member.isreg() and not member.issparse():
                    members[_plain(member.name)] = (member.offset_data, member.size)
    except tarfile.ReadError as error:
        if not members:
            raise BadTable(
                f"{archive} is neither a folder nor a plain tar ({error}); unpack it, or pack it without compression."
            ) from None
        raise DamagedFile(f"{archive} breaks off ({error}); copy it again.") from None
    return members


def _read_slice(path: Path, offset: int, size: int | None) -> bytes:
    limit = settings().max_photo_bytes
    try:
        # opened anew every time: that costs microseconds, needs no lock, and sees a file that was replaced
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(limit + 1 if size is None else min(size, limit + 1))
    except FileNotFoundError:
        raise MissingFile(f"The photo's file {path} is gone; put it back or import the table again.") from None
    except OSError as error:
        raise DamagedFile(f"{path} cannot be read ({error.strerror}); check its disk and permissions.") from None
    if len(data) > limit:
        raise BadImage(f"The photo at {path} has more than the {limit:,} bytes allowed; make it smaller.")
    if size is not None and len(data) < size:
        raise DamagedFile(f"{path} is shorter than when it was imported; restore it or import the table again.")
    return data


def _read_cell(path: Path, column: str, row: int) -> bytes:
    try:
        data = _row_groups.cell(path, column, row)
    except (FileNotFoundError, MissingFile):
        raise MissingFile(f"The photos' file {path} is gone; put it back or import the table again.") from None
    except (OSError, pa.ArrowException, BadTable) as error:
        raise DamagedFile(f"{path} cannot be read ({error}); restore it or import the table again.") from None
    if data is None:
        raise MissingFile(f"{path} has no photo in column {column!r} of row {row + 1}; import the table again.")
    if len(data) > (limit := settings().max_photo_bytes):
        raise BadImage(f"The photo in row {row + 1} of {path} has more than the {limit:,} bytes allowed; shrink it.")
    return data


class _RowGroups:
    """The photo columns of the Parquet row groups used last: up to `budget` bytes, and always the newest one."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._lock = Lock()
        self._starts: dict[_Version, tuple[int, ...]] = {}
        self._groups: OrderedDict[tuple[_Version, str, int], pa.ChunkedArray] = OrderedDict()

    def cell(self, path: Path, column: str, row: int) -> bytes | None:
        """The bytes in row `row` (from 0) of the file; None where there are none."""
        version = (path, path.stat().st_mtime_ns)
        with self._lock:  # held while loading as well: the other threads mostly want the same group
            if version not in self._starts:
                self._starts[version] = _group_starts(path)
            starts = self._starts[version]
            if not 0 <= row < starts[-1]:
                return None
            group = bisect_right(starts, row) - 1
            key = (version, column, group)
            if key not in self._groups:
                self._groups[key] = _load_group(path, column, group)
                self._shrink()
            self._groups.move_to_end(key)
            data: bytes | None = self._groups[key][row - starts[group]].as_py()
        return data

    def _shrink(self) -> None:
        while len(self._groups) > 1 and sum(group.nbytes for group in self._groups.values()) > self._budget:
            self._groups.popitem(last=False)


_row_groups = _RowGroups(GROUP_CACHE_BYTES)


def _group_starts(path: Path) -> tuple[int, ...]:
    """The first row of every row group, and behind them the number of rows."""
    with open_parquet(path) as file:
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
    return tuple(accumulate(sizes, initial=0))


def _load_group(path: Path, column: str, group: int) -> pa.ChunkedArray:
    with open_parquet(path) as file:
        place = file.schema_arrow.get_field_index(column)
        inside = photo_field(file.schema_arrow.field(place).type) if place >= 0 else None
        if inside is None:
            raise BadTable(f"it has no photos in a column {column!r}")
        if not inside:
            return file.read_row_group(group, columns=[column]).column(0)
        return pc.struct_field(file.read_row_group(group, columns=[f"{column}.{inside}"]).column(0), inside)
