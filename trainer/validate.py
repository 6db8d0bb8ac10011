"""Precision@1 while training: does a query's nearest gallery photo have the query's label?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.vision.preprocess import Preprocess
from trainer.encoder import Floats, encode_photos
from trainer.network import Network
from trainer.tables import ValidationData

Ints = NDArray[np.int64]


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
    forbidden = _forbidden(data, gallery_readable)
    rows, cosines = nearest_photos(queries, gallery, forbidden)
    first = next(iter(data.query_labels))
    wrong = _differs(data.query_labels[first], data.gallery_labels[first])
    right_rows, right_cosines = nearest_photos(queries, gallery, forbidden | wrong)
    nobody = (forbidden | wrong).all(axis=1)
    return Nearest(rows, cosines, np.where(nobody, -1, right_rows), np.where(nobody, 0, right_cosines), readable)


def precisions(data: ValidationData, nearest: Nearest) -> dict[str, float]:
    """Precision@1 by label, in [0, 1], of the photos that can be read."""
    asked = np.flatnonzero(nearest.readable)
    return {
        label: precision_at_1(
            [labels[row] for row in asked], [data.gallery_labels[label][nearest.rows[row]] for row in asked]
        )
        for label, labels in data.query_labels.items()
    }


def nearest_photos(queries: Floats, gallery: Floats, forbidden: NDArray[np.bool_]) -> tuple[Ints, Floats]:
    """[q] the gallery row with the highest cosine for each query, of those not `forbidden` [q, g], and that cosine."""
    scores = np.where(forbidden, -np.inf, queries @ gallery.T)
    rows = np.asarray(scores.argmax(axis=1), np.int64)
    best = np.take_along_axis(scores, rows[:, None], axis=1)[:, 0]
    return rows, best.clip(-1, 1).astype(np.float32)  # -1 also where every photo is forbidden


def precision_at_1(wanted: Sequence[str | None], found: Sequence[str | None]) -> float:
    """The share of queries that have a label whose nearest photo has the same one; 0 where no query has one."""
    hits = [want == find for want, find in zip(wanted, found, strict=True) if want is not None]
    return sum(hits) / len(hits) if hits else 0.0


def _forbidden(data: ValidationData, gallery_readable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[q, g]: the query's own photo, and photos that could not be read."""
    places: Mapping[str, int] = {uri: place for place, uri in enumerate(data.gallery)}
    forbidden = np.tile(~gallery_readable, (len(data.queries), 1))
    for row, uri in enumerate(data.queries):
        if uri in places:
            forbidden[row, places[uri]] = True
    return forbidden


def _differs(wanted: Sequence[str | None], there: Sequence[str | None]) -> NDArray[np.bool_]:
    """[q, g]: the gallery photo lacks the query's label, or the query has none."""
    of = np.array([text is not None for text in wanted])
    same = np.array(wanted, object)[:, None] == np.array(there, object)[None, :]
    return np.asarray(~(same & of[:, None]), np.bool_)
