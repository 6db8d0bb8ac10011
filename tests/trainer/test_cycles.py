"""Batches of p products with k photos each: always full, no product twice, everything in its turn."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.cycles import ProductCycles, capped_shares
from trainer.sampler import BatchSampler
from trainer.tables import TrainingSet, balanced_weights


def training_set(sizes: list[int], quota: int, per_product: int, balance: float = 0.0) -> TrainingSet:
    """A product a size, its photos scattered over the table."""
    products = np.random.default_rng(1).permutation(np.repeat(np.arange(len(sizes)), sizes))
    uris = tuple(map(str, range(len(products))))
    return TrainingSet("s", quota, uris, {}, balanced_weights(products, balance), products, per_product)


@st.composite
def sets(draw: st.DrawFn) -> TrainingSet:
    per_product, products = draw(st.integers(2, 4)), draw(st.integers(1, 5))
    sizes = draw(st.lists(st.integers(1, 12), min_size=products, max_size=15))
    return training_set(sizes, products * per_product, per_product, draw(st.sampled_from([0.0, 0.5, 1.0])))


@settings(max_examples=60, deadline=None)
@given(each=sets(), seed=st.integers(0, 99))
def test_every_batch_has_p_products_with_k_photos_each(each: TrainingSet, seed: int) -> None:
    assert each.products is not None
    sampler = BatchSampler([each], seed)
    sizes = Counter(each.products.tolist())
    for batch in sampler.batches(0, 2 * sampler.steps_per_epoch + 1):
        assert len(batch) == each.quota
        rows = [draw.row for draw in batch]
        products = [int(each.products[row]) for row in rows]
        assert set(Counter(products).values()) == {each.per_product}
        for product, count in Counter(products).items():
            different = len({row for row in rows if each.products[row] == product})
            assert different == min(count, sizes[product])


def test_unbalanced_products_come_by_their_photos_and_no_photo_much_oftener_than_another() -> None:
    each = training_set([3, 6, 9, 12, 30, 6, 6], quota=6, per_product=3)
    sampler = BatchSampler([each], 0)
    seen = Counter(draw.row for batch in sampler.batches(0, 12) for draw in batch)
    assert sampler.steps_per_epoch == 12
    assert {seen[row] for row in range(72)} == {1}  # sizes that k divides: exactly once an epoch


def test_balanced_products_come_equally_often() -> None:
    each = training_set([3, 6, 9, 12, 30, 6, 6], quota=6, per_product=3, balance=1.0)
    assert each.products is not None
    seen = Counter(int(each.products[draw.row]) for batch in BatchSampler([each], 0).batches(0, 700) for draw in batch)
    np.testing.assert_allclose([seen[product] for product in range(7)], 700 * 6 / 7, rtol=0.03)


def test_a_product_with_most_of_the_photos_comes_once_a_batch() -> None:
    each = training_set([1000, 4, 4, 4], quota=8, per_product=4)
    assert each.products is not None
    for batch in BatchSampler([each], 0).batches(0, 50):
        assert Counter(int(each.products[draw.row]) for draw in batch)[0] == 4


def test_photos_of_no_known_product_come_too() -> None:
    products = np.array([0, 0, 0, 1, 1, 1, -1, -1, -1, -1, -1])
    cycles = ProductCycles(products, np.full(11, 1 / 11), quota=4, per_product=2)
    seen = {int(row) for seed in range(30) for row in cycles.draw(np.random.default_rng(seed))}
    assert seen == set(range(11))


def test_batches_depend_on_the_seed_and_the_step_and_on_nothing_else() -> None:
    each = training_set([5, 9, 2, 7, 30, 6, 6], quota=6, per_product=2, balance=0.5)
    forwards = list(BatchSampler([each], 5).batches(0, 40))
    resumed = BatchSampler([each], 5)
    assert list(resumed.batches(23, 40)) == forwards[23:]
    assert resumed.batch(3) == forwards[3]
    assert BatchSampler([each], 6).batch(3) != forwards[3]


@settings(max_examples=50, deadline=None)
@given(weights=st.lists(st.floats(0.01, 1000), min_size=1, max_size=20), data=st.data())
def test_shares_are_proportional_as_far_as_none_is_above_1(weights: list[float], data: st.DataObject) -> None:
    total = data.draw(st.integers(1, len(weights)))
    shares = capped_shares(np.array(weights), total)
    np.testing.assert_allclose(shares.sum(), total, rtol=1e-9)
    assert (shares <= 1 + 1e-6).all()
    free = shares < 1 - 1e-6
    if free.any():
        np.testing.assert_allclose(np.ptp(np.log(shares[free] / np.array(weights)[free])), 0, atol=1e-6)
