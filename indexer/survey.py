"""What the columns of a table of photos are: facets and their types, columns of the photos, or neither.

Told from all rows of the table, before any `--where`: a column does not become another thing because fewer rows are
imported.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.catalogue.schema import MAX_NAME, Facet, FacetType
from indexer.facet_types import ColumnType, tidy

TITLE = "title"
MAX_CLASHING = 0.1
"""The share of products, among those with several values of a column, in which the values may differ before the column
counts as one of the photos. Below it, a difference is a slip of the pen in a column that describes the product."""

Origin = Literal["inferred", "declared", "catalogue"]


@dataclass(frozen=True, slots=True)
class Columns:
    """What each column of a table is. `left_out` maps the names of the remaining ones to why they are not used."""

    facets: tuple[Facet, ...]
    origins: Mapping[str, Origin]
    photo: tuple[str, ...]
    left_out: Mapping[str, str]


@dataclass(slots=True)
class Known:
    """What is settled before the table is read: by the caller, then by earlier imports."""

    declared: Mapping[str, FacetType]
    declared_photo: Collection[str]
    facets: Mapping[str, FacetType]
    photo: Collection[str]


@dataclass(slots=True)
class _Column:
    """One column's evidence. Of each product only a hash of its first value is kept: it need only tell a difference."""

    type: ColumnType = field(default_factory=ColumnType)
    first: dict[str, int] = field(default_factory=dict)
    several: set[str] = field(default_factory=set)
    differing: set[str] = field(default_factory=set)

    def add(self, product_id: str, cell: Any) -> None:
        self.type.add(cell)
        value = hash(cell if isinstance(cell, str) else repr(cell))
        first = self.first.setdefault(product_id, value)
        if first != value:
            self.differing.add(product_id)

    @property
    def varies(self) -> bool:
        return len(self.differing) > MAX_CLASHING * len(self.several)


def survey(rows: Iterable[Mapping[str, Any]], names: Sequence[str], product_column: str, known: Known) -> Columns:
    """Decides what each of the columns `names` is; the product's, the image's and the title's are not among them."""
    evidence = {name: _Column() for name in names}
    for row in rows:
        product_id = str(row.get(product_column))
        for name, column in evidence.items():
            cell = tidy(row.get(name))
            if cell is None:
                continue
            if product_id in column.first:
                column.several.add(product_id)
            column.add(product_id, cell)
    return _decide(evidence, known)


def _decide(evidence: Mapping[str, _Column], known: Known) -> Columns:
    facets: list[Facet] = []
    origins: dict[str, Origin] = {}
    photo: list[str] = []
    left_out: dict[str, str] = {}
    for name, column in evidence.items():
        if name in known.declared_photo:
            photo.append(name)
        elif name in known.declared:
            facets.append(Facet(name, known.declared[name]))
            origins[name] = "declared"
        elif name in known.facets:
            facets.append(Facet(name, known.facets[name]))
            origins[name] = "catalogue"
        elif reason := _unfit(name, column.type):
            left_out[name] = reason
        elif name in known.photo or column.varies:
            photo.append(name)
        elif column.type.is_prose:
            left_out[name] = f"long text; --facet '{name}:keyword' makes it a facet"
        else:
            facets.append(Facet(name, column.type.facet_type))
            origins[name] = "inferred"
    return Columns(tuple(facets), origins, tuple(photo), left_out)


def _unfit(name: str, type: ColumnType) -> str | None:
    if type.empty:
        return "empty"
    if type.unusable is not None:
        return f"holds {type.unusable} values"
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        return "has no name that a facet could have"
    return None
