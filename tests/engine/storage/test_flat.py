"""Rows compared where they lie, against the same in float64."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.storage import flat
from engine.storage.flat import FlatRows
from engine.storage.ivf import allow

DIM = 24


def unit(rng: np.random.Generator, count: int) -> np.ndarray:
    rows = rng.standard_normal((count, DIM))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 70),
    queries=st.integers(1, 3),
    depth=st.integers(1, 80),
    share=st.sampled_from([0.0, 0.2, 1.0]),
    seed=st.integers(0, 1000),
)
def test_the_best_of_every_chunk_that_pass_are_found_with_their_cosines(
    count: int, queries: int, depth: int, share: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rows, asked = unit(rng, count).astype(np.float16), unit(rng, queries).astype(np.float32)
    passing = rng.random(count) < share
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flat, "CHUNK", 32)
        searched = FlatRows(rows)
        starts = list(searched.starts)
        found = [searched.search(asked, start, depth, allow(passing)) for start in starts]
    assert starts == list(range(0, count, 32))
    true = rows.astype(np.float64) @ asked.astype(np.float64).T
    for start, (scores, places) in zip(starts, found, strict=True):
        chunk = np.flatnonzero(passing[start : start + 32]) + start
        for number in range(queries):
            wanted = chunk[np.argsort(-true[chunk, number], kind="stable")][:depth]
            mine = places[number][places[number] >= 0]
            assert sorted(mine) == sorted(wanted)
            np.testing.assert_allclose(scores[number][: len(mine)], true[mine, number], atol=2e-6)
            assert (np.diff(scores[number][: len(mine)]) <= 0).all()


def test_mapped_rows_are_not_copied(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", unit(np.random.default_rng(0), 200).astype(np.float16))
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r+")
    searched = FlatRows(mapped)
    query, everything = np.eye(1, DIM, dtype=np.float32), allow(np.ones(200, np.bool_))
    mapped[7] = query[0]
    scores, places = searched.search(query, 0, 1, everything)
    assert (scores[0, 0], places[0, 0]) == (1.0, 7)
