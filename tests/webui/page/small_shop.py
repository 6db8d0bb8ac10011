"""A small shop behind the real API: products drawn here, and an engine that compares every photo with every query.

`python -m tests.webui.page.small_shop PORT [FEEDBACK [KEY]]` serves it, for looking at the page without an index: keeps
feedback as lines of JSON in a file, and wants the key of whoever asks for more than its health.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from engine.catalogue.schema import Facet, FacetType, FacetValue
from engine.errors import UnknownPhoto, UnknownProduct
from engine.search.facet_counts import FacetSummary, without
from engine.search.filters import Filter, bind, matches
from engine.search.plan import Plan
from engine.search.query import Exact, Hit, Query, SearchResult
from engine.vision.heads import Prediction
from engine.vision.image import crop, decode
from tests.fakes import Floats
from webui.ports import Feedback

COLOURS = {"Red": (196, 52, 44), "Blue": (44, 84, 178), "Green": (52, 128, 74), "Sand": (206, 178, 132)}
KINDS = ("Mug", "Lamp", "Chair", "Bag", "Vase")
MATERIALS = ("Clay", "Steel", "Wood")
FACETS = (
    Facet("category", FacetType.KEYWORD),
    Facet("colour", FacetType.KEYWORD),
    Facet("material", FacetType.KEYWORD),
    Facet("price", FacetType.NUMBER),
    Facet("sale", FacetType.BOOLEAN),
)
NASTY_TITLE = "<script>document.title='taken over'</script> Mug & {{value}} ${value} 'quoted' \"twice\""


@dataclass(frozen=True)
class Thing:
    """A product of the shop and its one photo; `look` is the photo's vector, of length one."""

    photo_id: int
    product_id: str
    title: str | None
    facets: Mapping[str, FacetValue]
    file: bytes
    look: Floats


class SmallShop:
    """An engine as `webui.service` wants it: exact, slow, obvious."""

    generation = "000001"
    change_number = 1
    live_photos = 0
    unreadable_photos = 0
    problem: str | None = None
    manifest = SimpleNamespace(model_id="small-shop")

    def __init__(self, things: Sequence[Thing], facets: Sequence[Facet]) -> None:
        self.things = things
        self.facets = tuple(facets)

    @property
    def products(self) -> int:
        return len(self.things)

    @property
    def photos(self) -> int:
        return len(self.things)

    def search(self, query: Query) -> SearchResult:
        look = self._look(query)
        passing = self._passing(query.filter)
        ranked = sorted(passing, key=lambda thing: -float(thing.look @ look))
        hits = [
            Hit(thing.product_id, thing.title, thing.facets, float(thing.look @ look), thing.photo_id)
            for thing in ranked[: query.k + 1]
        ]
        return SearchResult(
            exact=Exact(tuple(hits[: query.k])) if query.mode != "similar" else None,
            similar=tuple(hits[1:]) if query.mode != "exact" else None,
            predictions=self._predict(look),
            matching=len(passing),
            plan=self._plan(query, len(passing)),
        )

    def product(self, product_id: str) -> SimpleNamespace:
        thing = self._by_product(product_id)
        return SimpleNamespace(
            product_id=product_id, title=thing.title, facets=thing.facets, photo_ids=(thing.photo_id,)
        )

    def photo(self, photo_id: int) -> bytes:
        if not 0 < photo_id <= len(self.things):
            raise UnknownPhoto(f"There is no photo {photo_id}.")
        return self.things[photo_id - 1].file

    def matching(self, filter: Filter | None) -> NDArray[np.bool_]:
        passing = {thing.photo_id for thing in self._passing(filter)}
        return np.array([thing.photo_id in passing for thing in self.things], bool)

    def facet_counts(self, filter: Filter | None = None, *, limit: int = 50) -> tuple[FacetSummary, ...]:
        return tuple(self._count(facet, self._passing(without(filter, facet.name)), limit) for facet in self.facets)

    def _passing(self, filter: Filter | None) -> list[Thing]:
        bound = None if filter is None else bind(filter, self.facets)
        return [thing for thing in self.things if bound is None or matches(bound, thing.facets)]

    def _look(self, query: Query) -> Floats:
        if query.product_id is not None:
            return self._by_product(query.product_id).look
        assert isinstance(query.photo, bytes)
        photo = decode(query.photo, "the photo")
        box = query.box
        return look_of(crop(photo, (box.left, box.top, box.right, box.bottom)) if box else photo)

    def _by_product(self, product_id: str) -> Thing:
        for thing in self.things:
            if thing.product_id == product_id:
                return thing
        raise UnknownProduct(f"There is no product {product_id!r}.")

    def _predict(self, look: Floats) -> tuple[Prediction, ...]:
        """The colour and category of the nearest thing: enough to have something to show."""
        nearest = max(self.things, key=lambda thing: float(thing.look @ look))
        sure = max(0.0, min(0.97, float(nearest.look @ look)))
        heads = [name for name in ("category", "article_type", "colour", "gender") if name in nearest.facets]
        return tuple(Prediction(head, str(nearest.facets[head]), sure * 0.98**i) for i, head in enumerate(heads))

    def _plan(self, query: Query, matching: int) -> Plan:
        return Plan(
            path="exact" if matching else "nothing",
            generation=self.generation,
            model_id="small-shop",
            shards=1,
            lists_visited=1,
            lists_total=1,
            rows_scanned=matching,
            rows_reranked=matching,
            survivors=None if query.filter is None else matching,
            matching_products=matching,
            expected_recall=1.0,
            milliseconds={"encode": 0.4, "rerank": 0.2, "group": 0.1},
        )

    def _count(self, facet: Facet, things: Sequence[Thing], limit: int) -> FacetSummary:
        values = [thing.facets[facet.name] for thing in things if facet.name in thing.facets]
        missing = len(things) - len(values)
        if facet.type in (FacetType.NUMBER, FacetType.TIME):
            ends = [value for value in values if isinstance(value, float | datetime)]
            low, high = (min(ends), max(ends)) if ends else (None, None)
            return FacetSummary(facet.name, facet.type, (), len(set(ends)), low, high, missing)
        counts = Counter(part for value in values for part in (value if isinstance(value, tuple) else (value,)))
        ordered = tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
        return FacetSummary(facet.name, facet.type, ordered[:limit], len(ordered), None, None, missing)


def look_of(photo: Image.Image) -> Floats:
    """float32 [192], length 1: an 8 x 8 picture of the photo about mid-grey."""
    small = np.asarray(photo.convert("RGB").resize((8, 8), Image.Resampling.BOX), np.float32).ravel() - 128
    return np.asarray(small / max(float(np.linalg.norm(small)), 1e-6), np.float32)


def drawn_shop(count: int = 60, seed: int = 0) -> SmallShop:
    """`count` things in five kinds and four colours; the first has a title that means harm, the second none at all."""
    rng = np.random.default_rng(seed)
    things = []
    for number in range(1, count + 1):
        kind, colour = KINDS[number % len(KINDS)], list(COLOURS)[int(rng.integers(len(COLOURS)))]
        material = MATERIALS[int(rng.integers(len(MATERIALS)))]
        photo = draw(kind, COLOURS[colour], rng)
        file = BytesIO()
        photo.save(file, "JPEG", quality=88)
        title = {1: NASTY_TITLE, 2: None}.get(number, f"{colour} {material} {kind} no. {number}")
        facets: dict[str, FacetValue] = {
            "category": kind,
            "colour": colour,
            "material": material,
            "price": float(rng.integers(500, 9900)) / 100,
            "sale": bool(rng.integers(2)),
        }
        things.append(Thing(number, f"sku-{number}", title, facets, file.getvalue(), look_of(photo)))
    return SmallShop(things, FACETS)


def draw(kind: str, colour: tuple[int, int, int], rng: np.random.Generator) -> Image.Image:
    """A plain picture of such a thing, shifted and shaded a little as `rng` decides."""
    photo = Image.new("RGB", (240, 240), "white")
    pen = ImageDraw.Draw(photo)
    x, y = (int(shift) for shift in rng.integers(-14, 15, 2))
    tone = tuple(int(np.clip(part + rng.integers(-24, 25), 0, 255)) for part in colour)
    body = {
        "Mug": (70, 80, 160, 190),
        "Lamp": (60, 40, 180, 110),
        "Chair": (80, 110, 170, 140),
        "Bag": (50, 90, 190, 200),
        "Vase": (85, 60, 155, 210),
    }[kind]
    pen.rounded_rectangle((body[0] + x, body[1] + y, body[2] + x, body[3] + y), 16, fill=tone)
    if kind in ("Mug", "Bag"):
        pen.arc((130 + x, 50 + y, 200 + x, 150 + y), 180, 90, fill=tone, width=12)
    if kind in ("Lamp", "Chair"):
        pen.line((120 + x, 105 + y, 120 + x, 215 + y), fill=tone, width=10)
        pen.line((80 + x, 215 + y, 165 + x, 215 + y), fill=tone, width=10)
    return photo


@dataclass(frozen=True)
class FileFeedback:
    """Feedback as lines of JSON, for another process to read."""

    path: Path

    def record(self, feedback: Feedback) -> None:
        with self.path.open("a") as lines:
            lines.write(json.dumps(asdict(feedback)) + "\n")


def locked(app: Callable[..., Iterable[bytes]], key: str) -> Callable[..., Iterable[bytes]]:
    """The WSGI application, for those who have the key."""

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/healthz" and environ.get("HTTP_AUTHORIZATION") != f"Bearer {key}":
            start("401 Unauthorized", [])
            return []
        return app(environ, start)

    return answer


def serve(shop: SmallShop, port: int, feedback: Path | None = None, key: str | None = None) -> None:
    from waitress import serve as listen

    from webui.api.app import create_app
    from webui.service import SearchService

    app = create_app(SearchService(shop, feedback=FileFeedback(feedback) if feedback else None))
    listen(locked(app, key) if key else app, host="127.0.0.1", port=port, threads=8)


if __name__ == "__main__":
    serve(drawn_shop(), int(sys.argv[1]), *map(Path, sys.argv[2:3]), *sys.argv[3:4])
