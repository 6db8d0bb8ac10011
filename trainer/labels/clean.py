"""Noisy (photo, query) interactions -> labels that can be trained on, and what was dropped, each with its reason.

Behaviour labels photos for nothing, and badly: a click may be an accident, a query rare, or mean many things
("gift"). GrokNet learned from search queries of which only those with 300 photos and more were left after cleaning;
how it cleaned is not published, so all that is below but that number is Lookalike's own.

A query's **agreement** says how alike its photos look: the mean cosine of two of them, on a scale where two photos
drawn from all are 0 and two equal ones 1. A photo's **fit** is its part of that: its mean cosine with the query's other
photos, on the same scale. Both come from the sum of the vectors, so they cost one pass, never all pairs.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.labels.queries import normalise, phrases

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Interaction:
    """Somebody who asked for `query` chose the photo of that number, `count` times."""

    photo: int
    query: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Rules:
    """What is kept."""

    longest_phrase: int = 0  # words; 0: queries as they are, else each run of so many words in them is a query
    min_count: int = 1  # interactions of a photo with a query
    min_photos: int = 300  # photos of a query (GrokNet's number)
    min_agreement: float = 0.1  # of a query, where there are vectors (Lookalike default)
    min_fit: float = 0.0  # of a photo in a query: 0 is what a photo drawn from all has (Lookalike default)


@dataclass(frozen=True, slots=True)
class Dropped:
    """A query, or with `photo` one of its labels, that was not kept. `figure` is what fell short of the rule."""

    query: str
    photo: int | None
    reason: str
    figure: float


@dataclass(frozen=True, slots=True)
class Kept:
    """A query that became a label. `agreement` is of its kept photos; None where no vectors were given."""

    query: str
    photos: int
    agreement: float | None


@dataclass(frozen=True)
class CleanLabels:
    """`labels` by photo, sorted; `queries` by falling number of photos; `dropped` in the order of the steps."""

    labels: Mapping[int, tuple[str, ...]]
    queries: tuple[Kept, ...]
    dropped: tuple[Dropped, ...]


NO_WORDS = "it has no words"
TOO_RARE = "too few interactions"
TOO_FEW = "too few photos"
DISAGREE = "its photos do not look alike"
MISFIT = "it does not look like the query's other photos"
TOO_FEW_LEFT = "too few photos that look alike"


def clean(interactions: Iterable[Interaction], rules: Rules, vectors: Floats | None = None) -> CleanLabels:
    """Normalises, counts, and drops what is rare or does not agree.

    `vectors` float32 [photos, dim], L2 norm 1, by a photo's number; a row of zeros is a photo that could not be read
    and takes no part in agreement. Without vectors nothing is dropped for how photos look.
    """
    dropped: list[Dropped] = []
    photos_of = _counted(interactions, rules, dropped)
    photos_of = _large_enough(photos_of, rules.min_photos, TOO_FEW, dropped)
    agreements: dict[str, float] = {}
    if vectors is not None:
        background = mean_cosine(vectors)
        photos_of = _agreeing(photos_of, rules, vectors, background, dropped)
        photos_of = _large_enough(photos_of, rules.min_photos, TOO_FEW_LEFT, dropped)
        agreements = {query: agreement(vectors[photos], background) for query, photos in photos_of.items()}
    labels: dict[int, list[str]] = {}
    for query in sorted(photos_of):
        for photo in photos_of[query].tolist():
            labels.setdefault(photo, []).append(query)
    kept = [Kept(query, len(photos), agreements.get(query)) for query, photos in photos_of.items()]
    return CleanLabels(
        {photo: tuple(texts) for photo, texts in sorted(labels.items())},
        tuple(sorted(kept, key=lambda each: (-each.photos, each.query))),
        tuple(dropped),
    )


def mean_cosine(vectors: Floats) -> float:
    """The mean cosine of two different rows of unit vectors [n, dim], zero rows left out; 0 where there are no two."""
    there = vectors[vectors.any(axis=1)].astype(np.float64)
    if len(there) < 2:
        return 0.0
    # |sum v|^2 is the sum over all pairs, n of them of a row with itself
    return float((np.square(there.sum(axis=0)).sum() - np.square(there).sum()) / (len(there) * (len(there) - 1)))


def agreement(vectors: Floats, background: float) -> float:
    """How alike the photos of a query look: 0 as any two photos, 1 all the same; 1 where there are no two."""
    if np.count_nonzero(vectors.any(axis=1)) < 2:
        return 1.0
    return _scaled(mean_cosine(vectors), background)


def fits(vectors: Floats, background: float) -> NDArray[np.float64]:
    """[n, dim] photos of a query -> [n] how alike each looks to the others; 1 for a row of zeros: nobody knows."""
    there = vectors.any(axis=1)
    exact = vectors.astype(np.float64)
    others = max(1, int(there.sum()) - 1)
    cosines = (exact @ exact.sum(axis=0) - np.square(exact).sum(axis=1)) / others
    known = there & (there.sum() > 1)
    return np.where(known, (cosines - background) / max(1 - background, 1e-9), 1.0)


def _scaled(cosine: float, background: float) -> float:
    return (cosine - background) / max(1 - background, 1e-9)


def _counted(interactions: Iterable[Interaction], rules: Rules, dropped: list[Dropped]) -> dict[str, Ints]:
    """The photos of each query, rising, whose interactions are enough."""
    counts: Counter[tuple[str, int]] = Counter()
    for each in interactions:
        query = normalise(each.query)
        if not query:
            dropped.append(Dropped(each.query, each.photo, NO_WORDS, 0))
        for phrase in set(phrases(query, rules.longest_phrase)):
            counts[phrase, each.photo] += each.count
    photos: dict[str, list[int]] = {}
    for (query, photo), count in sorted(counts.items()):
        if count >= rules.min_count:
            photos.setdefault(query, []).append(photo)
        else:
            dropped.append(Dropped(query, photo, TOO_RARE, count))
    return {query: np.array(each, np.int64) for query, each in photos.items()}


def _large_enough(photos_of: Mapping[str, Ints], smallest: int, reason: str, dropped: list[Dropped]) -> dict[str, Ints]:
    small = [query for query, photos in photos_of.items() if len(photos) < smallest]
    dropped.extend(Dropped(query, None, reason, len(photos_of[query])) for query in small)
    return {query: photos for query, photos in photos_of.items() if len(photos) >= smallest}


def _agreeing(
    photos_of: Mapping[str, Ints], rules: Rules, vectors: Floats, background: float, dropped: list[Dropped]
) -> dict[str, Ints]:
    """The queries whose photos agree, without the photos that fit none of the others."""
    kept: dict[str, Ints] = {}
    for query, photos in photos_of.items():
        figure = agreement(vectors[photos], background)
        if figure < rules.min_agreement:
            dropped.append(Dropped(query, None, DISAGREE, round(figure, 4)))
            continue
        each = fits(vectors[photos], background)
        misfits: Sequence[int] = np.flatnonzero(each < rules.min_fit).tolist()
        dropped.extend(Dropped(query, int(photos[place]), MISFIT, round(float(each[place]), 4)) for place in misfits)
        kept[query] = np.delete(photos, misfits)
    return kept
