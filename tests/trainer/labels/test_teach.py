"""Top classes per photo, top photos per class, against the plainest reading."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainer.labels.teach import Candidates, choose, likeliest


def plainly(probabilities: np.ndarray, readable: np.ndarray, classes_per_photo: int, photos_per_class: int) -> list:
    chosen: list[list[int]] = [[] for _ in probabilities]
    ranks = [sorted(range(len(row)), key=lambda c: (-row[c], c))[:classes_per_photo] for row in probabilities]
    for c in range(probabilities.shape[1]):
        candidates = [n for n in range(len(ranks)) if readable[n] and c in ranks[n]]
        for n in sorted(candidates, key=lambda n: (-probabilities[n][c], n))[:photos_per_class]:
            chosen[n].append(c)
    return [tuple(sorted(each, key=ranks[n].index)) for n, each in enumerate(chosen)]


@given(st.integers(1, 12), st.integers(1, 6), st.integers(1, 7), st.integers(1, 5), st.integers(0, 2**31))
def test_it_chooses_as_the_paper_says(photos: int, classes: int, per_photo: int, per_class: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # few values, so that many are equal
    probabilities = (rng.integers(0, 4, (photos, classes)) / 4).astype(np.float32)
    readable = rng.random(photos) < 0.8
    places, figures = likeliest(probabilities, per_photo)
    places[~readable] = -1
    expected = plainly(probabilities, readable, per_photo, per_class)
    assert choose(Candidates(places, figures), per_class) == expected


def test_classes_come_out_balanced_where_the_photos_are_not() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([8, 1, 1], 200).astype(np.float32)
    chosen = choose(Candidates(*likeliest(probabilities, 2)), 20)
    assert np.bincount([c for each in chosen for c in each], minlength=3).tolist() == [20, 20, 20]
