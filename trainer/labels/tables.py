"""Tables of photos in, the same tables with labels out: some rows of the one, with columns of their own."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import BadCall, BadTable, LookalikeError, MissingFile
from engine.search.filter_syntax import parse
from engine.search.filters import matches, require_names
from engine.sources.photos import PhotoSource, open_photos, read_photo
from engine.sources.tables import PROBLEM, Row, columns, open_parquet, read_rows
from engine.storage.files import replacing

Cells = Mapping[str, str | float | None]

Columns = Mapping[str, type[str] | type[float]]  # that are added to a table, in their order

SEPARATOR = "|"  # between the labels of one cell, as `trainer.tables` reads them


@dataclass(frozen=True, slots=True)
class PhotoTable:
    """What is read: a table, the folder or tar of its photos (None: in the table), the rows' filters, the photos'
    column."""

    table: Path
    images: Path | None = None
    where: tuple[str, ...] = ()
    image_column: str = "image"


@dataclass(frozen=True)
class TablePhotos:
    """The photos of a table, each once: a photo's row is the first that has it, the others repeat it.

    Where photos are in the table itself, rows with the same bytes have the same photo; else rows with the same address.
    """

    uris: tuple[str, ...]
    numbers: tuple[int, ...]  # of each photo's row
    rows: tuple[tuple[int, Row, int | None], ...]  # all rows: number, cells, place in `uris`; None: there is no photo

    @property
    def gone(self) -> int:
        """Rows that name no photo, or one that is not there."""
        return sum(place is None for _, _, place in self.rows)

    @property
    def repeated(self) -> int:
        """Rows whose photo an earlier one has."""
        return len(self.rows) - self.gone - len(self.uris)


def read_photo_table(source: PhotoTable, needed: Sequence[str], *, by_address: bool = False) -> TablePhotos:
    """The photos of the rows that pass the filters, of a table with the columns `needed`.

    With `by_address` every row of a table with photos inside has a photo of its own: nothing of them is read.

    Raises MissingFile, also where not one photo is there; BadTable where the table cannot be read, lacks a column, has
    no such row or one with a problem; BadFilter.
    """
    places: dict[str | bytes, int] = {}
    uris: list[str] = []
    numbers: list[int] = []
    rows: list[tuple[int, Row, int | None]] = []
    for number, row, uri in _located(source, needed):
        place = None
        if uri is not None:
            place = places.setdefault(uri if by_address else _identity(uri), len(uris))
            if place == len(uris):
                uris.append(uri)
                numbers.append(number)
        rows.append((number, row, place))
    if not rows:
        filters = " and ".join(source.where)
        what = f"row that passes {filters}; correct the filter" if filters else "rows; fill it"
        raise BadTable(f"{source.table} has no {what}.")
    if not uris:
        where = f"in {source.images}" if source.images else "there"
        raise MissingFile(
            f"Not one of {len(rows)} photos that {source.table} names in {source.image_column!r} is {where}; correct "
            "the column or where the photos are."
        )
    return TablePhotos(tuple(uris), tuple(numbers), tuple(rows))


def _identity(uri: str) -> str | bytes:
    """What tells photos apart: rows of a Parquet table have addresses of their own whatever photo they hold."""
    if not uri.startswith("parquet:"):
        return uri
    try:
        return sha256(read_photo(uri)).digest()
    except LookalikeError:
        return uri  # whoever reads it next will count it as unreadable


def _located(source: PhotoTable, needed: Sequence[str]) -> Iterator[tuple[int, Row, str | None]]:
    """(row number, cells, photo's URI or None) of the rows that pass every filter."""
    table, image_column = source.table, source.image_column
    filter = parse(source.where)
    there = columns(table)
    for name in (image_column, *needed):
        if name not in there:
            raise BadTable(f"{table} has no column {name!r}; it has {', '.join(there)}.")
    if filter is not None:
        require_names(filter, there, "column")
    photos = open_photos(table, source.images)
    for number, row in read_rows(table):
        if PROBLEM in row:  # whose cells may be another column's: a wrong label is worse than none
            raise BadTable(f"{table}, row {number}: {row[PROBLEM]} Mend the row or take it out.")
        if filter is None or matches(filter, row):
            yield number, row, _locate(photos, row, number, image_column)


def _locate(photos: PhotoSource, row: Row, number: int, column: str) -> str | None:
    """The photo's URI; None where the row names none or it is gone, which a log of some age cannot help."""
    if row.get(column) in (None, ""):
        return None
    try:
        return photos.locate(row, number, column)
    except MissingFile:
        return None


def write_labelled(table: Path, out: Path, added: Columns, cells: Mapping[int, Cells]) -> None:
    """Writes the rows of `table` whose numbers `cells` has to `out`, in their order, with the columns `added`.

    A column of the same name is replaced. A Parquet table keeps its photos. `out` is whole or as it was. Raises BadCall
    where `out` is the table itself or of another kind than `table`.
    """
    check_out(table, out)
    suffix = table.suffix.lower()
    with replacing(out) as partial:
        if suffix in {".parquet", ".pq"}:
            _write_parquet(table, partial, added, cells)
        elif suffix in {".csv", ".tsv"}:
            _write_csv(table, partial, added, cells, "\t" if suffix == ".tsv" else ",")
        else:
            _write_json_lines(table, partial, added, cells)


def check_out(table: Path, out: Path) -> None:
    """BadCall where `write_labelled` could not write: ask before long work."""
    if out.suffix.lower() != table.suffix.lower():
        raise BadCall(f"{out} must end in {table.suffix}, as {table} does; give --out such a name.")
    if out.resolve() == table.resolve():
        raise BadCall(f"{out} is the table that is read; give --out another name.")
    if not out.parent.is_dir():
        raise BadCall(f"There is no folder {out.parent} to write {out.name} to; make it first.")


def _write_csv(table: Path, partial: Path, added: Columns, cells: Mapping[int, Cells], delimiter: str) -> None:
    header = [*(name for name in columns(table) if name not in added), *added]
    with partial.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, delimiter=delimiter)
        lines.writerow(header)
        for number, row in read_rows(table):
            if number in cells:
                values = {**row, **cells[number]}
                lines.writerow(["" if values.get(name) is None else values[name] for name in header])


def _write_json_lines(table: Path, partial: Path, added: Columns, cells: Mapping[int, Cells]) -> None:
    with partial.open("w", encoding="utf-8") as file:
        for number, row in read_rows(table):
            if number in cells:
                file.write(json.dumps({**row, **dict.fromkeys(added), **cells[number]}, ensure_ascii=False) + "\n")


def _write_parquet(table: Path, partial: Path, added: Columns, cells: Mapping[int, Cells]) -> None:
    with open_parquet(table) as file:
        fields = [field for field in file.schema_arrow if field.name not in added]
        types = {name: pa.float64() if kind is float else pa.string() for name, kind in added.items()}
        schema = pa.schema([*fields, *(pa.field(name, type) for name, type in types.items())])
        names = [field.name for field in fields]
        first = 1
        with pq.ParquetWriter(partial, schema) as writer:
            # few rows at a time: they have photos in them
            for batch in file.iter_batches(batch_size=256, columns=names):
                numbers = [number for number in range(first, first + batch.num_rows) if number in cells]
                if numbers:
                    rows = batch.take(pa.array([number - first for number in numbers]))
                    arrays = [rows.column(rows.schema.get_field_index(name)) for name in names]
                    arrays += [
                        pa.array([cells[number].get(name) for number in numbers], type) for name, type in types.items()
                    ]
                    writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
                first += batch.num_rows
