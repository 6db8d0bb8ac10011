"""Tables of photos, one row a photo: CSV, JSON Lines or Parquet, told apart by the suffix, read as a stream.

Row numbers count data rows from 1, without the header and without blank lines. A single bad row must not stop a
long import, so it is not an error here: it comes as a row with a sentence under the key `PROBLEM`, for the reader to
reject or to raise. What makes the whole table unreadable is a BadTable.
"""

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import BadTable, MissingFile

# The key of a bad row's sentence; no table can have a column of this name, because ours are stripped.
PROBLEM = " problem"

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = {".jsonl", ".ndjson"}
_PARQUET = {".parquet", ".pq"}
_BATCH_ROWS = 4096

Row = dict[str, Any]


def read_rows(table: Path) -> Iterator[tuple[int, Row]]:
    """The rows of a table with their numbers, from 1, as they are read.

    CSV cells are strings without the spaces around them, and None where empty. JSON and Parquet values are what they
    are in Python, NaN is None. Photos kept inside a Parquet file are not loaded: such a column's value is the photo's
    own path, or "row 12" where it has none, and None where there is no photo (`engine.sources.photos` has the bytes).

    Raises:
        MissingFile: there is no such file.
        BadTable: it cannot be read as what its suffix says, from this row on.
    """
    suffix = _checked_suffix(table)
    if suffix in _DELIMITERS:
        return _read_csv(table, _DELIMITERS[suffix])
    return _read_json_lines(table) if suffix in _JSON_LINES else _read_parquet(table)


def columns(table: Path) -> list[str]:
    """The names of a table's columns in their order; of JSON Lines, every key that any row has.

    Raises MissingFile and BadTable as `read_rows` does.
    """
    suffix = _checked_suffix(table)
    if suffix in _DELIMITERS:
        with _text(table) as file:
            return [name for name in _csv_header(csv.reader(file, delimiter=_DELIMITERS[suffix]), table) if name]
    if suffix in _JSON_LINES:
        return list(dict.fromkeys(key for _, row in _read_json_lines(table) for key in row if key != PROBLEM))
    with open_parquet(table) as file:
        return list(file.schema_arrow.names)


def open_parquet(path: Path) -> pq.ParquetFile:
    """A Parquet file with its footer read. Raises MissingFile, or BadTable where it is no Parquet file."""
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError:
        raise MissingFile(f"There is no {path}; correct the path.") from None
    except (OSError, pa.ArrowException) as error:
        raise BadTable(f"{path} cannot be read as Parquet ({_short(error)}); write it anew.") from None


def photo_field(kind: pa.DataType) -> str | None:
    """Where a Parquet column of this type keeps photos: "" in itself, "bytes" in that field, None nowhere."""
    if _is_binary(kind):
        return ""
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 and _is_binary(kind.field("bytes").type):
        return "bytes"
    return None


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _checked_suffix(table: Path) -> str:
    suffix = table.suffix.lower()
    if not table.exists():
        raise MissingFile(f"There is no table {table}; correct the path.")
    if not table.is_file() or suffix not in {*_DELIMITERS, *_JSON_LINES, *_PARQUET}:
        raise BadTable(f"{table} is no table I can read; use a .csv, .tsv, .jsonl or .parquet file.")
    return suffix


# --- CSV ---------------------------------------------------------------------------------------------------------


def _text(table: Path) -> Any:
    # utf-8-sig drops the byte order mark that Excel writes; newlines belong to the csv module
    return table.open(encoding="utf-8-sig", newline="")


def _read_csv(table: Path, delimiter: str) -> Iterator[tuple[int, Row]]:
    number = 0
    with _text(table) as file:
        lines = csv.reader(file, delimiter=delimiter, strict=True)
        header = _csv_header(lines, table)
        try:
            for cells in lines:
                if cells:
                    number += 1
                    yield number, _csv_row(header, cells)
        except (csv.Error, UnicodeDecodeError) as error:
            raise BadTable(_csv_problem(table, number + 1, error)) from None


def _csv_header(lines: Iterator[list[str]], table: Path) -> list[str]:
    try:
        header = [name.strip() for name in next(lines, [])]
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadTable(_csv_problem(table, 0, error)) from None
    if not any(header):
        raise BadTable(f"{table} has no header; its first line must name the columns.")
    if len(header) == 1 and (other := next((mark for mark in ",;\t|" if mark in header[0]), None)):
        raise BadTable(f"{table} seems to be separated by {other!r}; save .csv with commas or .tsv with tabs.")
    _refuse_repeats(header, table)
    return header


def _refuse_repeats(names: list[str], table: Path) -> None:
    repeated = next((name for place, name in enumerate(names) if name and name in names[:place]), None)
    if repeated is not None:
        raise BadTable(f"{table} has two columns {repeated!r}; rename one.")


def _csv_row(header: list[str], cells: list[str]) -> Row:
    # columns without a name (pandas writes its row numbers so) are left out
    row: Row = {name: cell.strip() or None for name, cell in zip(header, cells, strict=False) if name}
    if len(cells) != len(header):
        row[PROBLEM] = f"It has {len(cells)} cells, the header {len(header)}; is a comma or a quote missing?"
    return row


def _csv_problem(table: Path, number: int, error: Exception) -> str:
    where = f"row {number}" if number else "the header"
    if isinstance(error, UnicodeDecodeError):
        return f"{table} is not UTF-8, in or soon after {where}; save it as UTF-8."
    return f"{table} cannot be read from {where} on ({error}); correct the quotes there."


# --- JSON Lines --------------------------------------------------------------------------------------------------


def _read_json_lines(table: Path) -> Iterator[tuple[int, Row]]:
    number = 0
    with table.open(encoding="utf-8-sig") as file:
        try:
            for line in file:
                if line.strip():
                    number += 1
                    yield number, _json_row(line)
        except UnicodeDecodeError:
            raise BadTable(f"{table} is not UTF-8, in or soon after row {number + 1}; save it as UTF-8.") from None


def _json_row(line: str) -> Row:
    try:
        row = json.loads(line, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        return {PROBLEM: f"It is no JSON ({error})."}
    return row if isinstance(row, dict) else {PROBLEM: "It is no JSON object."}


# --- Parquet -----------------------------------------------------------------------------------------------------


def _read_parquet(table: Path) -> Iterator[tuple[int, Row]]:
    with open_parquet(table) as file:
        schema = file.schema_arrow
        _refuse_repeats(schema.names, table)
        photos = {field.name for field in schema if photo_field(field.type) is not None}
        wanted = [path for field in schema for path in _paths_to_load(field)]
        number = 0
        try:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=wanted):
                rows = batch.to_pylist() if batch.num_columns else [{} for _ in range(batch.num_rows)]
                for row in rows:
                    number += 1
                    yield number, _parquet_row(row, number, photos, schema.names)
        except (OSError, pa.ArrowException) as error:
            raise BadTable(
                f"{table} cannot be read from row {number + 1} on ({_short(error)}); write it anew."
            ) from None


def _paths_to_load(field: pa.Field) -> list[str]:
    inside = photo_field(field.type)
    if inside is None:
        return [field.name]
    # the photo's own name is small and nice to have; its bytes stay on disk
    return [f"{field.name}.path"] if inside and field.type.get_field_index("path") >= 0 else []


def _parquet_row(row: Row, number: int, photos: set[str], names: list[str]) -> Row:
    return {name: _photo_name(row, name, number) if name in photos else _without_nan(row[name]) for name in names}


def _photo_name(row: Row, name: str, number: int) -> str | None:
    if name in row and row[name] is None:
        return None
    path = row[name]["path"] if name in row else None
    return path or f"row {number}"


def _without_nan(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _short(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
