"""Precision@1 while training: does a query's nearest gallery photo have the query's label?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.vision.preprocess import Preprocess
from trainer.encoder import Floats, encode_photos
from trainer.network import Network
from trainer.tables import ValidationData

Ints = NDArray[np.int64]
BLOCK = 2**23  # cosines at a time, 32 MB: with their comparisons well within any machine's memory


@dataclass(frozen=True, eq=False)
class Nearest:
    """For each of q queries the gallery photo with the highest cosine, and of those that have its label.

    `rows` [q] into the gallery, `cosines` [q] in [-1, 1]; `readable` [q]: whether the query could be read at all.
    `right_rows` and `right_cosines` are of the nearest photo with the query's first label, -1 and 0 where none has it.
    """

    rows: Ints
    cosines: Floats
    right_rows: Ints
    right_cosines: Floats
    readable: NDArray[np.bool_]


def find_nearest(network: Network, data: ValidationData, preprocess: Preprocess) -> Nearest:
    """Encodes queries and gallery and compares all with all. A query's own photo in the gallery does not count."""
    gallery, gallery_readable = encode_photos(network, data.gallery, preprocess)
    queries, readable = encode_photos(network, data.queries, preprocess)
    places = {uri: place for place, uri in enumerate(data.gallery)}
    own = np.array([places.get(uri, -1) for uri in data.queries], np.int64)
    first = next(iter(data.query_labels))
    wanted, there = label_codes(data.query_labels[first], data.gallery_labels[first])
    hidden = Hidden(own, ~gallery_readable)
    return Nearest(*nearest_photos(queries, gallery, hidden, wanted, there), readable)


def precisions(data: ValidationData, nearest: Nearest) -> dict[str, float]:
    """Precision@1 by label, in [0, 1], of the photos that can be read."""
    asked = np.flatnonzero(nearest.readable)
    return {
        label: precision_at_1(
            [labels[row] for row in asked], [data.gallery_labels[label][nearest.rows[row]] for row in asked]
        )
        for label, labels in data.query_labels.items()
    }


@dataclass(frozen=True, eq=False)
class Hidden:
    """What does not count as found: of each query one gallery row, and of the gallery what could not be read."""

    own: Ints  # [q] the row of the query's own photo, -1 where it is not there
    unreadable: NDArray[np.bool_]  # [g]


def nearest_photos(
    queries: Floats, gallery: Floats, hidden: Hidden, wanted: Ints, there: Ints, *, block: int = BLOCK
) -> tuple[Ints, Floats, Ints, Floats]:
    """[q, dim] and [g, dim] unit vectors -> `rows`, `cosines`, `right_rows` and `right_cosines` as `Nearest` has them.

    `wanted` [q] and `there` [g] are numbers of labels; -1 in `wanted` is a query without one. Some queries at a time:
    memory is that of `block` cosines, whatever the number of queries.
    """
    rows, right_rows = np.zeros(len(queries), np.int64), np.zeros(len(queries), np.int64)
    cosines, right_cosines = np.zeros(len(queries), np.float32), np.zeros(len(queries), np.float32)
    step = max(1, block // max(1, len(gallery)))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        scores = queries[part] @ gallery.T
        scores[:, hidden.unreadable] = -np.inf
        own = hidden.own[part]
        scores[np.flatnonzero(own >= 0), own[own >= 0]] = -np.inf
        rows[part], cosines[part] = _highest(scores)
        scores[wanted[part, None] != there] = -np.inf
        scores[wanted[part] < 0] = -np.inf
        right_rows[part], right_cosines[part] = _highest(scores)
    nobody = np.isneginf(right_cosines)
    # -1 also where every photo is hidden
    return (
        rows,
        cosines.clip(-1, 1),
        np.where(nobody, -1, right_rows),
        np.where(nobody, np.float32(0), right_cosines.clip(-1, 1)),
    )


def _highest(scores: Floats) -> tuple[Ints, Floats]:
    rows = np.asarray(scores.argmax(axis=1), np.int64)
    return rows, np.take_along_axis(scores, rows[:, None], axis=1)[:, 0]


def label_codes(wanted: Sequence[str | None], there: Sequence[str | None]) -> tuple[Ints, Ints]:
    """Labels as numbers, the same text the same number; no label is -1."""
    numbers = {text: number for number, text in enumerate(dict.fromkeys([*wanted, *there])) if text is not None}
    queries, gallery = ([-1 if text is None else numbers[text] for text in each] for each in (wanted, there))
    return np.array(queries, np.int64), np.array(gallery, np.int64)


def precision_at_1(wanted: Sequence[str | None], found: Sequence[str | None]) -> float:
    """The share of queries that have a label whose nearest photo has the same one; 0 where no query has one."""
    hits = [want == find for want, find in zip(wanted, found, strict=True) if want is not None]
    return sum(hits) / len(hits) if hits else 0.0
