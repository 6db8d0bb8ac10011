import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.search.group import best_per_product

photos = st.lists(st.tuples(st.integers(0, 5), st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0])), max_size=20)


@given(photos, st.integers(0, 99))
def test_product_stands_where_its_best_photo_stands(several: list[tuple[int, float]], seed: int) -> None:
    rows = np.random.default_rng(seed).permutation(len(several)).tolist()  # photos may be found in any order
    ordinals = np.array([several[row][0] for row in rows], np.int32)
    scores = np.array([several[row][1] for row in rows], np.float32)
    ranking = best_per_product(ordinals, np.array(rows, np.int64), scores)
    best = {
        product: min((-score, row) for row, (owner, score) in enumerate(several) if owner == product)
        for product in {product for product, _ in several}
    }
    expected = sorted((negative, product, row) for product, (negative, row) in best.items())
    found = zip((-ranking.scores).tolist(), ranking.ordinals.tolist(), ranking.rows.tolist(), strict=True)
    assert list(found) == expected
