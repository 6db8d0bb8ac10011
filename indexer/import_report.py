"""What an import did, in numbers and names; and `rejected.csv`, the list of rows it could not take."""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from heapq import nsmallest
from pathlib import Path

from engine.catalogue.schema import Facet, FacetValue
from engine.errors import MissingFile
from indexer.gather import Clash, Facts
from indexer.survey import Columns, Origin

EXAMPLES = 3  # values shown of a facet


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that was not imported. Rows count from 1, the heading not counted."""

    row: int
    product_id: str
    image: str
    reason: str


@dataclass(frozen=True, slots=True)
class FacetReport:
    """A facet as the table fills it: where its type is from, how many products have it, how many values there are.

    `examples` are the most frequent values, at most EXAMPLES.
    """

    facet: Facet
    origin: Origin
    products: int
    distinct: int
    examples: tuple[FacetValue, ...]


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did to the catalogue, and what it made of the table.

    `rows` passed `--where`; a row is one photo. `photos_repeated` are rows whose photo an earlier row of the same
    product brought already. `left_out` maps columns that became neither facets nor photo columns to why.
    `rejected_path` is None where no row was rejected.
    """

    rows: int
    rows_rejected: int
    products_new: int
    products_changed: int
    products_unchanged: int
    products_deleted: int
    photos_new: int
    photos_changed: int
    photos_unchanged: int
    photos_repeated: int
    photos_deleted: int
    clashes: tuple[Clash, ...]
    facets: tuple[FacetReport, ...]
    photo_columns: tuple[str, ...]
    left_out: Mapping[str, str]
    rejected_path: Path | None
    change_number: int


def report_facets(columns: Columns, products: Iterable[Facts]) -> tuple[FacetReport, ...]:
    """How the products fill each facet."""
    counts: dict[str, Counter[FacetValue]] = {facet.name: Counter() for facet in columns.facets}
    holders: Counter[str] = Counter()
    for product in products:
        holders.update(product.facets.keys())
        for name, value in product.facets.items():
            counts[name].update(value if isinstance(value, tuple) else (value,))
    return tuple(
        FacetReport(
            facet,
            columns.origins[facet.name],
            holders[facet.name],
            len(counts[facet.name]),
            _most_frequent(counts[facet.name]),
        )
        for facet in columns.facets
    )


def _most_frequent(counts: Counter[FacetValue]) -> tuple[FacetValue, ...]:
    # equally frequent ones in their own order, so that the same table always gives the same report
    first = nsmallest(EXAMPLES, counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(value for value, _ in first)


def check_rejected_path(path: Path) -> None:
    """Raises MissingFile where `write_rejected` could not write, so that it is known before the work and not after."""
    if path.is_dir() or not path.parent.is_dir():
        raise MissingFile(f"{path} cannot be written, it is not a file in an existing folder; correct --rejected.")


def write_rejected(path: Path, rejected: Sequence[Rejected]) -> Path | None:
    """Writes the list and gives its path; without rejected rows an earlier list is emptied and there is no path."""
    if not rejected and not path.exists():
        return None
    names = [column.name for column in fields(Rejected)]
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(names)
        lines.writerows([getattr(row, name) for name in names] for row in rejected)
    return path if rejected else None
