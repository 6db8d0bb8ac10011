"""Tables of photos in, the same tables with labels out: some rows of the one, with columns of their own."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import BadCall, BadTable
from engine.search.filter_syntax import parse
from engine.search.filters import matches, require_names
from engine.sources.photos import PhotoSource, open_photos
from engine.sources.tables import PROBLEM, Row, columns, open_parquet, read_rows
from engine.storage.files import replacing

Cells = Mapping[str, str | float | None]

SEPARATOR = "|"  # between the labels of one cell, as `trainer.tables` reads them


def read_table(
    table: Path, images: Path | None, where: Sequence[str], needed: Sequence[str], image_column: str = "image"
) -> Iterator[tuple[int, Row, str]]:
    """(row number, cells, photo's URI) of the rows that pass every filter in `where`.

    Raises MissingFile, BadTable where the table cannot be read, lacks a `needed` column or has a row with a problem,
    BadFilter.
    """
    filter = parse(where)
    there = columns(table)
    for name in (image_column, *needed):
        if name not in there:
            raise BadTable(f"{table} has no column {name!r}; it has {', '.join(there)}.")
    if filter is not None:
        require_names(filter, there, "column")
    source: PhotoSource = open_photos(table, images)
    for number, row in read_rows(table):
        if PROBLEM in row:  # whose cells may be another column's: a wrong label is worse than none
            raise BadTable(f"{table}, row {number}: {row[PROBLEM]} Mend the row or take it out.")
        if filter is None or matches(filter, row):
            yield number, row, source.locate(row, number, image_column)


def write_labelled(table: Path, out: Path, cells: Mapping[int, Cells]) -> None:
    """Writes the rows of `table` whose numbers `cells` has to `out`, in their order, with those columns added.

    A column of the same name is replaced. A Parquet table keeps its photos. `out` is whole or as it was. Raises BadCall
    where `out` is the table itself or of another kind than `table`.
    """
    check_out(table, out)
    suffix = table.suffix.lower()
    with replacing(out) as partial:
        if suffix in {".parquet", ".pq"}:
            _write_parquet(table, partial, cells)
        elif suffix in {".csv", ".tsv"}:
            _write_csv(table, partial, cells, "\t" if suffix == ".tsv" else ",")
        else:
            _write_json_lines(table, partial, cells)


def check_out(table: Path, out: Path) -> None:
    """BadCall where `write_labelled` could not write: ask before long work."""
    if out.suffix.lower() != table.suffix.lower():
        raise BadCall(f"{out} must end in {table.suffix}, as {table} does; give --out such a name.")
    if out.resolve() == table.resolve():
        raise BadCall(f"{out} is the table that is read; give --out another name.")
    if not out.parent.is_dir():
        raise BadCall(f"There is no folder {out.parent} to write {out.name} to; make it first.")


def _new_columns(cells: Mapping[int, Cells]) -> list[str]:
    return list(dict.fromkeys(name for each in cells.values() for name in each))


def _write_csv(table: Path, partial: Path, cells: Mapping[int, Cells], delimiter: str) -> None:
    added = _new_columns(cells)
    header = [name for name in columns(table) if name not in added] + added
    with partial.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, delimiter=delimiter)
        lines.writerow(header)
        for number, row in read_rows(table):
            if number in cells:
                values = {**row, **cells[number]}
                lines.writerow(["" if values.get(name) is None else values[name] for name in header])


def _write_json_lines(table: Path, partial: Path, cells: Mapping[int, Cells]) -> None:
    with partial.open("w", encoding="utf-8") as file:
        for number, row in read_rows(table):
            if number in cells:
                file.write(json.dumps({**row, **cells[number]}, ensure_ascii=False) + "\n")


def _write_parquet(table: Path, partial: Path, cells: Mapping[int, Cells]) -> None:
    added = _new_columns(cells)
    with open_parquet(table) as file:
        fields = [field for field in file.schema_arrow if field.name not in added]
        types = {name: _type_of([each.get(name) for each in cells.values()]) for name in added}
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


def _type_of(values: Sequence[Any]) -> pa.DataType:
    numbers = [value for value in values if value is not None]
    return pa.float64() if numbers and all(isinstance(value, float) for value in numbers) else pa.string()
