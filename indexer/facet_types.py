"""What type the values of a table's column have, and reading them as that type.

Cells come as text (CSV) or as Python values (JSON Lines, Parquet). A type fits a column when it fits every cell:

=========  =============================================================================================
boolean    true, false, yes, no in any case; JSON and Parquet booleans
number     12, -3.5, .5, 1e3, but not 007: what begins with a needless zero is a code; JSON and Parquet numbers
time       ISO 8601 from the day on: 2026-05-01, 2026-05-01T12:00:00+02:00; without an offset it is UTC
keywords   lists of words: ``["a", "b"]`` as JSON, or Parquet's lists
keyword    all other text
=========  =============================================================================================
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from types import NoneType
from typing import Any

from engine.catalogue.schema import FacetType, FacetValue

TRUTHS: Mapping[str, bool] = {"true": True, "yes": True, "false": False, "no": False}
TOO_LONG = 80  # mean characters per value, above which text is a description and no keyword

_NUMBER = re.compile(r"[+-]?(0|[1-9]\d*)?(\.\d*)?([eE][+-]?\d+)?", re.ASCII)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_SCALARS = (str, bool, int, float, Decimal, date)
_PREFERENCE = (FacetType.BOOLEAN, FacetType.NUMBER, FacetType.TIME, FacetType.KEYWORD)


def tidy(cell: Any) -> Any:
    """A cell without spaces at its ends; None where it holds nothing: empty text, NaN, an empty list."""
    if isinstance(cell, str):
        return cell.strip() or None
    if isinstance(cell, float) and math.isnan(cell):
        return None
    if isinstance(cell, list | tuple) and not cell:
        return None
    return cell


class ColumnType:
    """The type of one column, learnt cell by cell."""

    def __init__(self) -> None:
        self._fitting = frozenset(_PREFERENCE)
        self._lists = 0
        self._cells = 0
        self._characters = 0
        self.unusable: str | None = None
        """The Python type of a cell that no facet can hold (a struct, bytes), or None."""

    def add(self, cell: Any) -> None:
        """Takes a tidy cell into account."""
        self._cells += 1
        if isinstance(cell, str):
            self._characters += len(cell)
        items = _as_list(cell)
        odd = [value for value in ([cell] if items is None else items) if not isinstance(value, (*_SCALARS, NoneType))]
        if odd:
            self.unusable = type(odd[0]).__name__
        elif items is not None:
            self._lists += 1
        elif self._fitting != {FacetType.KEYWORD}:
            self._fitting &= _fitting(cell)

    @property
    def empty(self) -> bool:
        return self._cells == 0

    @property
    def facet_type(self) -> FacetType:
        """The narrowest type that fits every cell; a single list makes them all keywords."""
        if self._lists:
            return FacetType.KEYWORDS
        return next(type for type in _PREFERENCE if type in self._fitting)

    @property
    def is_prose(self) -> bool:
        """Whether the column holds sentences to read rather than words to filter by."""
        return self.facet_type is FacetType.KEYWORD and self._characters > TOO_LONG * self._cells


def _fitting(cell: Any) -> frozenset[FacetType]:
    narrow: FacetType | None = None
    if isinstance(cell, bool) or (isinstance(cell, str) and cell.lower() in TRUTHS):
        narrow = FacetType.BOOLEAN
    elif isinstance(cell, int | float | Decimal) or (isinstance(cell, str) and _reads_as_number(cell)):
        narrow = FacetType.NUMBER
    elif isinstance(cell, date) or (isinstance(cell, str) and _reads_as_time(cell)):
        narrow = FacetType.TIME
    return frozenset({FacetType.KEYWORD} if narrow is None else {FacetType.KEYWORD, narrow})


def _reads_as_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None and any(c.isdigit() for c in text) and _reads(_number, text)


def _reads_as_time(text: str) -> bool:
    return _DAY.match(text) is not None and _reads(_time, text)


def _reads(reader: Callable[[Any], object], cell: Any) -> bool:
    try:
        reader(cell)
    except ValueError:
        return False
    return True


def _as_list(cell: Any) -> list[Any] | None:
    """The items of a list, or of the JSON of a list of scalars; None for everything else."""
    if isinstance(cell, list | tuple):
        return list(cell)
    if isinstance(cell, str) and cell.startswith("[") and cell.endswith("]"):
        with suppress(ValueError, RecursionError):
            items: list[Any] = json.loads(cell)
            return items if all(item is None or isinstance(item, _SCALARS) for item in items) else None
    return None


def parse(type: FacetType, cell: Any) -> FacetValue | None:
    """A tidy cell as a value of a facet of this type; None where nothing is left of it (a list of empty text).

    Raises ValueError("which is not a number"), or whatever it is not.
    """
    return _READERS[type](cell)


def text_of(cell: Any) -> str:
    """A tidy cell as text: numbers without needless digits, booleans, times and lists as JSON has them.

    Raises ValueError for what has no text, or text that no database keeps.
    """
    match cell:
        case str():
            if "\0" in cell or not _encodable(cell):
                raise ValueError("which no database can keep: it has a NUL or half a character in it")
            return cell
        case bool():
            return "true" if cell else "false"
        case float() if cell.is_integer():
            return str(int(cell))
        case int() | float() | Decimal():
            return str(cell)
        case date():
            return cell.isoformat()
        case list() | tuple():
            return json.dumps([text_of(item) for item in cell], ensure_ascii=False)
    raise ValueError("which is not text")


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _keywords(cell: Any) -> tuple[str, ...] | None:
    items = _as_list(cell)
    texts = [text_of(item) for item in map(tidy, [cell] if items is None else items) if item is not None]
    return tuple(sorted(set(texts))) or None


def _number(cell: Any) -> float:
    number = math.nan
    if isinstance(cell, str | int | float | Decimal) and not isinstance(cell, bool):
        with suppress(ValueError, OverflowError):
            number = float(cell)
    if not math.isfinite(number):
        raise ValueError("which is not a number")
    return number


def _boolean(cell: Any) -> bool:
    if isinstance(cell, bool):
        return cell
    if isinstance(cell, str) and cell.lower() in TRUTHS:
        return TRUTHS[cell.lower()]
    if cell in (0, 1, "0", "1"):
        return bool(int(cell))
    raise ValueError("which is not true, false, yes or no")


def _time(cell: Any) -> datetime:
    with suppress(ValueError, OverflowError):
        time = datetime.fromisoformat(cell) if isinstance(cell, str) else cell
        if isinstance(time, date) and not isinstance(time, datetime):
            time = datetime(time.year, time.month, time.day)
        if isinstance(time, datetime):
            return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    raise ValueError("which is not an ISO 8601 time")


_READERS: Mapping[FacetType, Callable[[Any], FacetValue | None]] = {
    FacetType.KEYWORD: text_of,
    FacetType.KEYWORDS: _keywords,
    FacetType.NUMBER: _number,
    FacetType.BOOLEAN: _boolean,
    FacetType.TIME: _time,
}
