"""The types a facet can have, and what a product and a photo are.

A facet is a typed attribute of a product that can filter. Its values in Python, by type:

=========  =====================================================
keyword    ``str``
keywords   ``tuple[str, ...]``, sorted, without repeats
number     ``float``
boolean    ``bool``
time       ``datetime`` with ``tzinfo=UTC``
=========  =====================================================

A product without a value for a facet simply lacks the key.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from engine.errors import BadCall

MAX_NAME = 200  # characters of a product_id or a facet's name

FacetValue = str | tuple[str, ...] | float | bool | datetime


class FacetType(StrEnum):
    """What the values of a facet are."""

    KEYWORD = "keyword"
    KEYWORDS = "keywords"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Facet:
    """One attribute that products can be filtered by."""

    name: str
    type: FacetType


@dataclass(frozen=True, slots=True)
class Product:
    """One thing sold. `product_id` is the client's own string: 1-200 printable characters, no `/`."""

    product_id: str
    title: str | None = None
    facets: Mapping[str, FacetValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Photo:
    """One picture of a product, kept where it is.

    `photo_id` is given by the catalogue and never used again; `content_hash` is the sha256 of the file's bytes, in
    hex; `uri` says where the bytes are (see `engine.sources.photos`); `columns` are the table's columns that vary
    within a product (`split`, `kind`): usable in `--where`, never facets.
    """

    photo_id: int
    product_id: str
    content_hash: str
    uri: str
    columns: Mapping[str, str] = field(default_factory=dict)


def check_product_id(product_id: str) -> None:
    """Raises BadCall unless this can be a product's id."""
    if not 1 <= len(product_id) <= MAX_NAME or not product_id.isprintable() or "/" in product_id:
        raise BadCall(
            f"{_shortened(product_id)} cannot be a product_id; use 1 to {MAX_NAME} printable characters and no slash."
        )


def check_facet_name(name: str) -> None:
    """Raises BadCall unless a facet can be called this."""
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise BadCall(f"{_shortened(name)} cannot be a facet's name; use 1 to {MAX_NAME} printable characters.")


def _shortened(text: str) -> str:
    return repr(text) if len(text) <= 40 else f"{text[:40]!r}…"
