"""The sample's products: which there are, what they are called and cost, and how each is photographed."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

import numpy as np

from lookalike.sample import scene
from lookalike.sample.families import FAMILIES
from lookalike.sample.family import Draft, Family, Look, Rng, pick

COLUMNS = (
    "image", "product_id", "title", "category", "colour", "material", "pattern", "style", "price", "kind", "split",
)  # fmt: skip
PHOTOS = 10  # of every product: one for the catalogue, seven to train on, two held out
VALIDATION = 2

NAMES = (
    "Alva", "Bruno", "Cleo", "Dante", "Edda", "Falk", "Greta", "Hugo", "Iris", "Juno", "Kaja", "Lior", "Mira", "Nils",
    "Ottilie", "Pavo", "Quinn", "Runa", "Sanna", "Tilda", "Ulla", "Vigo", "Wanda", "Xenia", "Ylva", "Zora", "Arlo",
    "Berit", "Cato", "Dora", "Elio", "Fenna", "Gusto", "Hedda", "Ivo", "Jette", "Kolja", "Lumi", "Malo", "Noor",
)  # fmt: skip


@dataclass(frozen=True)
class Item:
    """A product of the sample. `family` and `shape` say how it is drawn, the rest is what the table tells."""

    product_id: str
    title: str
    family: int
    shape: Any
    look: Look
    style: str
    price: float

    @property
    def category(self) -> str:
        return FAMILIES[self.family].category


@dataclass(frozen=True)
class Shot:
    """One photo to take of an item: `number` 0 is the catalogue's own."""

    number: int
    split: str
    setting: scene.Setting


def items(seed: int = 0) -> list[Item]:
    """All products. Shapes come in one to four looks, so that most products have look-alikes."""
    return [item for number in range(len(FAMILIES)) for item in _of_family(number, seed)]


def _of_family(number: int, seed: int) -> Iterator[Item]:
    family = FAMILIES[number]
    made = design = 0
    while made < family.count:
        rng = np.random.default_rng([seed, number, design])
        draft = family.draft(rng)
        for look in _looks(family, draft, rng)[: family.count - made]:
            made += 1
            name = NAMES[(design * 7 + number * 5) % len(NAMES)]
            price = draft.price * float(rng.uniform(0.92, 1.1))
            yield Item(
                product_id=f"{family.category[:2].upper()}-{made:03d}",
                title=_title(name, draft, look),
                family=number,
                shape=draft.shape,
                look=look,
                style=draft.style,
                price=round(max(round(price), 4) - pick(rng, (0.0, 0.05, 0.1, 0.5)), 2),
            )
        design += 1


def _looks(family: Family, draft: Draft, rng: Rng) -> list[Look]:
    """One to four looks of a shape, no two alike."""
    wanted = pick(rng, (1, 2, 3, 4), (2, 3, 3, 2))
    looks: dict[tuple[str, str, str], Look] = {}
    while len(looks) < wanted:
        look = family.dress(draft.shape, rng)
        looks.setdefault((look.colour, look.material, look.pattern), look)
    return list(looks.values())


def _title(name: str, draft: Draft, look: Look) -> str:
    """`Alva striped ceramic mug, teal`."""
    words = [look.material.lower(), draft.noun]
    if look.pattern != "plain":
        words.insert(0, look.pattern)
    return f"{name} {' '.join(words)}, {look.colour.lower()}"


def shots(item: Item, seed: int = 0) -> list[Shot]:
    """The photos of an item: each setting from a generator of its own."""
    family = FAMILIES[item.family]
    taken = []
    for number in range(PHOTOS):
        rng = generator(item, number, seed)
        setting = scene.studio(family, rng, front=number == 0) if number < 2 else scene.snapshot(family, rng)
        split = "catalogue" if number == 0 else "val" if number >= PHOTOS - VALIDATION else "train"
        taken.append(Shot(number, split, setting))
    return taken


def generator(item: Item, number: int, seed: int) -> Rng:
    """The randomness of one photo: independent of every other photo and of the order of drawing."""
    return np.random.default_rng([seed, *item.product_id.encode(), number])


def image_name(item: Item, shot: Shot) -> str:
    return f"{item.category.lower().replace(' ', '-')}/{item.product_id}-{shot.number}.jpg"


def rows(item: Item, seed: int = 0) -> list[dict[str, object]]:
    """The item's rows of the table, one per photo."""
    told = {
        "product_id": item.product_id,
        "title": item.title,
        "category": item.category,
        "colour": item.look.colour,
        "material": item.look.material,
        "pattern": item.look.pattern.capitalize(),
        "style": item.style,
        "price": f"{item.price:.2f}",
    }
    return [
        {"image": image_name(item, shot), **told, "kind": shot.setting.kind, "split": shot.split}
        for shot in shots(item, seed)
    ]


def table_text(products: Sequence[Item], seed: int = 0) -> str:
    """photos.csv: one row per photo, in the order of the products."""
    text = StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for item in products:
        writer.writerows(rows(item, seed))
    return text.getvalue()
