"""*Products like it*: near-copies folded away, the rest ranked by cosine and agreement of attributes.

Agreement asks the query's own heads: a product gets, for each head whose label is one of its facets, the probability
that the head gives to the product's value, averaged over the heads that know the value. Products about which no head
knows anything get the average of the others, so that missing data neither helps nor hurts.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.schema import FacetType
from engine.search.group import Ranking
from engine.storage.facets import FacetTable
from engine.vision.model import Head

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

NEAR_COPY = 0.985  # Lookalike default: best photos with a cosine above this show the same thing
AGREEMENT_WEIGHT = 0.1  # Lookalike default: full agreement is worth this much cosine


class Attributes:
    """What heads and facets have in common: heads whose label is a facet of text."""

    def __init__(self, heads: Sequence[Head], table: FacetTable) -> None:
        self._table = table
        self._heads = [head for head in heads if table.types.get(head.label) in (FacetType.KEYWORD, FacetType.KEYWORDS)]
        # the class of every code, where the head has that class: predictions become a table from codes to probability
        self._classes: dict[str, Ints] = {}
        for head in self._heads:
            places = {name: place for place, name in enumerate(head.classes)}
            values = table.keyword_values(head.label)
            self._classes[head.name] = np.array([places.get(value, -1) for value in values], np.int64)

    def said(self, probabilities: Mapping[str, Floats], ordinals: Ints) -> Floats:
        """Heads' probabilities [classes] by head name, products [n] -> the probability that each head which is asked
        gives to the product's value, float32 [heads, n]; NaN where head or product says nothing."""
        asked = [head for head in self._heads if head.name in probabilities]
        rows = [self._said(head, probabilities[head.name], ordinals) for head in asked]
        return np.stack(rows).astype(np.float32) if rows else np.empty((0, len(ordinals)), np.float32)

    def certain(self, ordinal: int) -> dict[str, Floats]:
        """The facets of a product as if its heads had predicted them: what there is when no photo was encoded."""
        probabilities = {}
        for head in self._heads:
            classes = self._classes[head.name][self._codes(head, ordinal)]
            classes = classes[classes >= 0]
            if len(classes):
                probabilities[head.name] = np.zeros(len(head.classes), np.float32)
                probabilities[head.name][classes] = 1
        return probabilities

    def _said(self, head: Head, probabilities: Floats, ordinals: Ints) -> Floats:
        classes = self._classes[head.name]
        by_code = np.append(np.where(classes < 0, np.nan, probabilities[classes]), np.nan)
        if self._table.types[head.label] is FacetType.KEYWORD:
            said: Floats = by_code[self._table.keyword_codes(head.label)[ordinals]]  # -1 reads the NaN at the end
            return said
        # fmax passes over NaN
        best = [np.fmax.reduce(by_code[self._codes(head, ordinal)], initial=-np.inf) for ordinal in ordinals.tolist()]
        return np.where(np.isneginf(best), np.nan, best).astype(np.float32)

    def _codes(self, head: Head, ordinal: int) -> NDArray[np.int32]:
        table, name = self._table, head.label
        if table.types[name] is FacetType.KEYWORD:
            codes = table.keyword_codes(name)[ordinal : ordinal + 1]
            return codes[codes >= 0]
        start, end = table.keywords_offsets(name)[ordinal : ordinal + 2]
        return table.keywords_codes(name)[start:end]


def agreement(said: Floats) -> Floats:
    """What heads said of products (`Attributes.said`), [heads, n] -> the products' agreement, float32 [n] in [0, 1]."""
    known = ~np.isnan(said)
    heads = known.sum(axis=0)
    mean = np.where(known, said, 0).sum(axis=0) / np.maximum(heads, 1)
    fill = mean[heads > 0].mean() if heads.any() else 0.0
    return np.where(heads > 0, mean, fill).astype(np.float32)


def like_it(ranking: Ranking, vectors: Floats, agreement: Floats, *, found: Collection[int]) -> Ranking:
    """The products of a ranking in the order in which to show them as *similar*.

    `vectors` float32 [n, dim] are their best photos; `agreement` [n]. The products at the places `found` are left out.
    Of near-copies the first stays in its place; the others, and copies of what was found, go to the end: they are
    shown only where fewer others than asked for exist.
    """
    order = np.argsort(-(ranking.scores + AGREEMENT_WEIGHT * agreement), kind="stable")
    kept: list[int] = []
    copies: list[int] = []
    seen = np.empty_like(vectors)  # what a product must not be a copy of: [:count]
    count = len(found)
    seen[:count] = vectors[list(found)]
    for place in order.tolist():
        if place in found:
            continue
        if count and (seen[:count] @ vectors[place]).max() >= NEAR_COPY:
            copies.append(place)
            continue
        kept.append(place)
        seen[count] = vectors[place]
        count += 1
    return ranking.take(np.array(kept + copies, np.int64))
