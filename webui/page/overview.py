"""What the catalogue offers as a whole: its facets, and a few products to start from. Read once per generation."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from itertools import zip_longest
from math import ceil
from threading import Lock
from typing import Any

from PIL import Image, ImageDraw

from engine.catalogue.schema import FacetType
from webui.client import Client
from webui.wire import Card, FacetsAnswer, FacetSummary

EXAMPLES = 8
RANGED = (FacetType.NUMBER, FacetType.TIME)


@dataclass(frozen=True, slots=True)
class Overview:
    """A catalogue without any filter. `offered` are the facets worth filtering by, in the catalogue's order."""

    generation: str
    products: int
    types: Mapping[str, FacetType]
    offered: tuple[str, ...]
    examples: tuple[Card, ...]

    @property
    def ranged(self) -> frozenset[str]:
        """The facets that have ends instead of values to pick."""
        return frozenset(name for name, type in self.types.items() if type in RANGED)


class OverviewReader:
    """The overview of what the API serves, read again only when it serves another generation. Thread-safe.

    `latest` is what was read last, None before: good enough to show while the API does not answer.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = Lock()
        self.latest: Overview | None = None

    def read(self) -> Overview:
        """Raises what the client raises: Unavailable when the API does not answer."""
        health = self._client.health()
        with self._lock:
            if self.latest is None or self.latest.generation != health.generation:
                self.latest = self._read(health.generation)
            return self.latest

    def _read(self, generation: str) -> Overview:
        answer = self._client.facets()
        offered = tuple(facet.name for facet in answer.facets if tells_apart(facet))
        return Overview(
            generation=generation,
            products=answer.products,
            types={facet.name: facet.type for facet in answer.facets},
            offered=offered,
            examples=_examples(self._client, answer, offered),
        )


def tells_apart(facet: FacetSummary) -> bool:
    """Has more than one value, and values that products share: a barcode filters nothing worth filtering."""
    if facet.type in RANGED:
        return facet.minimum is not None and facet.minimum != facet.maximum
    return len(facet.values) > 1 and facet.values[0].count > 1


def _examples(client: Client, answer: FacetsAnswer, offered: tuple[str, ...]) -> tuple[Card, ...]:
    """Products of the most frequent kinds, one of each in turn.

    Of each kind those most like a picture of a grey disc: such photos tend to show one thing on a quiet ground.
    """
    facet = _kinds(answer, offered)
    if facet is None:
        return _plainest(client, None, EXAMPLES)
    kinds = [choice.value for choice in facet.values[:EXAMPLES]]
    each = ceil(EXAMPLES / len(kinds))
    found = [_plainest(client, {"in": {facet.name: [kind]}}, each) for kind in kinds]
    in_turn = [card for row in zip_longest(*found) for card in row if card is not None]
    return tuple(in_turn[:EXAMPLES])


def _kinds(answer: FacetsAnswer, offered: tuple[str, ...]) -> FacetSummary | None:
    """The facet that says what things are: the first one with enough values for a row of examples."""
    worded = [facet for facet in answer.facets if facet.name in offered and facet.type == FacetType.KEYWORD]
    return next((facet for facet in worded if len(facet.values) >= EXAMPLES // 2), None)


def _plainest(client: Client, filter: Mapping[str, Any] | None, k: int) -> tuple[Card, ...]:
    answer = client.search(photo=_plain_photo(), k=k, mode="exact", filter=filter)
    return tuple(answer.exact.products) if answer.exact else ()


def _plain_photo() -> bytes:
    file = BytesIO()
    picture = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(picture).ellipse((14, 14, 50, 50), fill=(150, 150, 150))
    picture.save(file, "PNG")
    return file.getvalue()
