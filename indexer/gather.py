"""What a table says about its products, gathered from all their rows; and the rows that cannot be imported.

Rows of one product are read in the order of the table: the first value wins, a later row fills what the first ones
lack, and a later row that says otherwise is a clash.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from sys import intern
from typing import Any, TypeVar

from engine.catalogue.schema import FacetValue, Product, check_product_id
from engine.errors import BadCall
from engine.search.filters import Filter, matches
from engine.sources.tables import PROBLEM, read_rows
from indexer.facet_types import parse, text_of, tidy
from indexer.survey import TITLE, Columns

Row = Mapping[str, Any]
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Clash:
    """A row that says something else about its product than an earlier one, which won."""

    row: int
    product_id: str
    column: str
    kept: FacetValue
    refused: FacetValue


@dataclass(slots=True)
class Facts:
    """What is known about one product."""

    title: str | None = None
    facets: dict[str, FacetValue] = field(default_factory=dict)


@dataclass(slots=True)
class Gathered:
    """What a table says.

    `products` are in order of appearance; `rejected` maps row numbers to reasons; `doubtful` are the products that
    have a rejected row, of which the table says less than it means to.
    """

    products: dict[str, Facts] = field(default_factory=dict)
    clashes: list[Clash] = field(default_factory=list)
    rejected: dict[int, str] = field(default_factory=dict)
    doubtful: set[str] = field(default_factory=set)
    rows: int = 0

    def product(self, product_id: str) -> Product:
        facts = self.products[product_id]
        return Product(product_id, facts.title, facts.facets)


def selected(table: Path, where: Filter | None) -> Iterator[tuple[int, Row]]:
    """The rows that pass `where`, with their numbers in the table."""
    for number, row in read_rows(table):
        if where is None or matches(where, row):
            yield number, row


def product_id_of(row: Row, column: str) -> str:
    """The row's product id; raises ValueError where it has none that can be."""
    if tidy(row.get(column)) is None:
        raise ValueError(f"The row has no {column}; give it one.")
    try:
        # not tidied: the id is the client's own string, and theirs to keep clean
        product_id = text_of(row[column])
        check_product_id(product_id)
    except BadCall as error:
        raise ValueError(str(error)) from None
    except ValueError as error:
        raise ValueError(f"Its {column} is something {error}; correct it.") from None
    return product_id


def gather(rows: Iterable[tuple[int, Row]], columns: Columns, product_column: str) -> Gathered:
    """Reads the facts of every row; a row with one that cannot be read as its column's type is rejected whole."""
    found = Gathered()
    clashing: set[tuple[str, str]] = set()
    for number, row in rows:
        found.rows += 1
        product_id = None
        try:
            product_id = product_id_of(row, product_column)
            facts = _facts_of(row, columns)
        except ValueError as error:
            found.rejected[number] = str(error)
            if product_id is not None:
                found.doubtful.add(product_id)
            continue
        known = found.products.setdefault(product_id, Facts())
        for name, kept, refused in _merge(known, facts):
            if (product_id, name) not in clashing:
                clashing.add((product_id, name))
                found.clashes.append(Clash(number, product_id, name, kept, refused))
    return found


def photo_columns_of(row: Row, columns: Columns) -> dict[str, str]:
    """The row's values of the columns that belong to the photo, as text; raises ValueError for what has none."""
    cells = {name: tidy(row.get(name)) for name in columns.photo}
    return {name: _read(name, cell, text_of) for name, cell in cells.items() if cell is not None}


def _facts_of(row: Row, columns: Columns) -> Facts:
    if PROBLEM in row:
        raise ValueError(row[PROBLEM])
    title = tidy(row.get(TITLE))
    facts = Facts(None if title is None else _read(TITLE, title, text_of))
    for facet in columns.facets:
        cell = tidy(row.get(facet.name))
        value = None if cell is None else _read(facet.name, cell, partial(parse, facet.type))
        if value is not None:
            # products share most of their keywords; so do the strings in memory
            facts.facets[facet.name] = intern(value) if type(value) is str else value
    return facts


def _read(name: str, cell: Any, reader: Callable[[Any], _Value]) -> _Value:
    try:
        return reader(cell)
    except ValueError as error:
        shown = repr(cell)
        raise ValueError(
            f"Its {name} is {shown if len(shown) <= 60 else shown[:57] + '...'}, {error}; correct it."
        ) from None


def _merge(known: Facts, facts: Facts) -> Iterator[tuple[str, FacetValue, FacetValue]]:
    """Fills `known` with what it lacks; yields (column, kept, refused) where it has another value."""
    if known.title is None:
        known.title = facts.title
    elif facts.title not in (None, known.title):
        yield TITLE, known.title, facts.title
    for name, value in facts.facets.items():
        kept = known.facets.setdefault(name, value)
        if kept != value:
            yield name, kept, value
