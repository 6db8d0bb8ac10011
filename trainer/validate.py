"""Precision@1 while training: does a query's nearest gallery photo have the query's label?"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from engine.vision.preprocess import Preprocess
from trainer.encoder import Floats, encode_photos
from trainer.network import Network
from trainer.tables import ValidationData


def measure(network: Network, data: ValidationData, preprocess: Preprocess) -> dict[str, float]:
    """Precision@1 by label, in [0, 1], of the photos that can be read."""
    gallery, gallery_readable = encode_photos(network, data.gallery, preprocess)
    queries, readable = encode_photos(network, data.queries, preprocess)
    nearest = nearest_photos(queries, gallery, _forbidden(data, gallery_readable))
    return {
        label: precision_at_1(
            [labels[row] for row in np.flatnonzero(readable)],
            [data.gallery_labels[label][nearest[row]] for row in np.flatnonzero(readable)],
        )
        for label, labels in data.query_labels.items()
    }


def nearest_photos(queries: Floats, gallery: Floats, forbidden: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[q] the gallery row with the highest cosine for each query, of those not `forbidden` [q, g]."""
    scores = np.where(forbidden, -np.inf, queries @ gallery.T)
    return np.asarray(scores.argmax(axis=1), np.int64)


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
