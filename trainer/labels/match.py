"""Photos that nobody labelled -> training data: each takes the product of the known photo it is nearest to, if near.

GrokNet's weak supervision: objects found in unlabelled photos, embedded, and taken for the nearest known product where
the distance is below 0.2. The distance here is the squared L2 distance of unit vectors, 2 - 2 cos, the one its
pairwise loss uses; 0.2 is a cosine of 0.9. (Which distance the paper means is not said.)
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.search.many import Neighbour

DISTANCE = 0.2


@dataclass(frozen=True, slots=True)
class MatchRules:
    """What is near enough. `lead` and `per_product` are Lookalike's own, off by default."""

    distance: float = DISTANCE  # below which a photo is taken to show the product, squared L2, (0, 4]
    lead: float = 0.0  # by which the nearest product must be nearer than the next one, squared L2
    per_product: int | None = None  # the nearest so many photos of each product; None: all


@dataclass(frozen=True, slots=True)
class Match:
    """A photo, the product it is taken to show, and how far it is from that product's nearest photo."""

    photo: int
    product_id: str
    distance: float


@dataclass(frozen=True, slots=True)
class Matches:
    """Who was matched, in the order of the photos, and how many were left out for which reason."""

    matches: tuple[Match, ...]
    left_out: Mapping[str, int]


TOO_FAR = "no product is near enough"
AMBIGUOUS = "two products are about as near"
ENOUGH = "its product has nearer photos enough"


def squared_distance(cosine: float) -> float:
    """|a - b|^2 of two unit vectors, in [0, 4]."""
    return max(0.0, 2 - 2 * cosine)


def choose(neighbours: Mapping[int, Sequence[Neighbour]], rules: MatchRules) -> Matches:
    """Decides for each photo by its nearest products, the best first (two are enough for `lead`)."""
    found: list[Match] = []
    left_out: Counter[str] = Counter()
    for photo, near in neighbours.items():
        distances = [squared_distance(each.score) for each in near[:2]]
        if not distances or distances[0] >= rules.distance:
            left_out[TOO_FAR] += 1
        elif len(distances) > 1 and distances[1] - distances[0] < rules.lead:
            left_out[AMBIGUOUS] += 1
        else:
            found.append(Match(photo, near[0].product_id, distances[0]))
    if rules.per_product is not None:
        kept = _nearest_of_each(found, rules.per_product)
        left_out[ENOUGH] += len(found) - len(kept)
        found = kept
    return Matches(tuple(sorted(found, key=lambda match: match.photo)), {k: n for k, n in left_out.items() if n})


def _nearest_of_each(matches: Sequence[Match], limit: int) -> list[Match]:
    taken: Counter[str] = Counter()
    kept = []
    for match in sorted(matches, key=lambda match: (match.distance, match.photo)):
        taken[match.product_id] += 1
        if taken[match.product_id] <= limit:
            kept.append(match)
    return kept
