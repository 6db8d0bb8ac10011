"""Comparing rows, against all cosines and a sort."""

from dataclasses import dataclass
from typing import cast
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.search import rerank
from engine.search.gallery import Gallery
from engine.search.group import best_products
from tests.engine.search.small_index import unit

DIM, NEED = 16, 5


@dataclass
class Rows:
    """As much of a gallery as comparing takes."""

    stored: NDArray[np.float16]
    ordinals: NDArray[np.int32]

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float16]:
        return self.stored[rows]


def oracle(gallery: Rows, rows: NDArray[np.int64], queries: NDArray[np.float32]) -> list[tuple[int, int]]:
    """(product, row of its best photo) of the NEED best products; equals by the order of products, then of rows."""
    scores = np.clip((gallery.stored[rows].astype(np.float32) @ queries.T).max(axis=1), -1, 1).round(5)
    order = sorted(zip((-scores).tolist(), gallery.ordinals[rows].tolist(), rows.tolist(), strict=True))
    best: dict[int, int] = {}
    for _, product, row in order:
        best.setdefault(product, row)
    return list(best.items())[:NEED]


def found(gallery: Rows, rows: NDArray[np.int64], queries: NDArray[np.float32]) -> list[tuple[int, int]]:
    kept, scores = rerank.best_of(cast(Gallery, gallery), rows, queries, NEED)
    assert np.isin(kept, rows).all() and len(np.unique(kept)) == len(kept)
    assert np.allclose(
        scores, np.clip((gallery.stored[kept].astype(np.float32) @ queries.T).max(axis=1), -1, 1), atol=1e-5
    )
    ranking = best_products(gallery.ordinals[kept], kept, scores.round(5), NEED)
    return list(zip(ranking.ordinals.tolist(), ranking.rows.tolist(), strict=True))[:NEED]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 3000),
    products=st.integers(1, 400),
    distinct=st.sampled_from([3, 40, 10**6]),
    queries=st.sampled_from([1, 1, 3]),
)
def test_the_best_products_are_those_of_comparing_every_row(
    seed: int, count: int, products: int, distinct: int, queries: int
) -> None:
    """Few `distinct` vectors make ties, few products photos by the hundred, which crowd the others out."""
    rng = np.random.default_rng(seed)
    vectors = unit(rng.standard_normal((min(distinct, count), DIM))).astype(np.float16)
    # the first product has half of the photos
    owners = np.where(rng.random(count) < 0.5, 0, rng.integers(0, products, count)).astype(np.int32)
    gallery = Rows(vectors[rng.integers(0, len(vectors), count)], owners)
    rows = np.flatnonzero(rng.random(count) < 0.9).astype(np.int64)
    asked = unit(rng.standard_normal((queries, DIM))).astype(np.float32)
    with patch.object(rerank, "HALVES_BLOCK", 900):
        assert found(gallery, rows, asked) == oracle(gallery, rows, asked)


@pytest.mark.parametrize("nearest_has", [60, 2000])
def test_a_product_with_very_many_photos_hides_no_other(nearest_has: int) -> None:
    rng = np.random.default_rng(1)
    query = unit(rng.standard_normal((1, DIM))).astype(np.float32)
    near = unit(query + 0.01 * rng.standard_normal((nearest_has, DIM)))
    gallery = Rows(
        np.concatenate([near, unit(rng.standard_normal((1000, DIM)))]).astype(np.float16),
        np.concatenate([np.zeros(nearest_has), np.arange(1, 1001)]).astype(np.int32),
    )
    rows = np.arange(nearest_has + 1000)
    assert found(gallery, rows, query) == oracle(gallery, rows, query)


def test_of_many_rows_only_those_that_decide_are_kept() -> None:
    rng = np.random.default_rng(2)
    gallery = Rows(unit(rng.standard_normal((3000, DIM))).astype(np.float16), np.arange(3000, dtype=np.int32))
    query = unit(rng.standard_normal((1, DIM))).astype(np.float32)
    assert len(rerank.best_of(cast(Gallery, gallery), np.arange(3000), query, NEED)[0]) == 8 * NEED
