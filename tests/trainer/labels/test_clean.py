"""Cleaning interactions: every rule against a plain reading of it, agreement against all pairs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.labels import clean as cleaning
from trainer.labels.clean import Interaction, Rules, agreement, clean, fits, mean_cosine


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def pair_cosines(vectors: np.ndarray) -> np.ndarray:
    """[n, n] cosines, the diagonal and photos that could not be read as not-a-number."""
    there = vectors.any(axis=1)
    cosines = vectors.astype(np.float64) @ vectors.astype(np.float64).T
    cosines[~there] = np.nan
    cosines[:, ~there] = np.nan
    np.fill_diagonal(cosines, np.nan)
    return cosines


@given(st.integers(2, 12), st.integers(0, 3), st.integers(0, 2**31))
def test_agreement_and_fit_are_means_over_all_pairs(count: int, unread: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = unit(rng.normal(size=(count + unread, 5)) + 0.5)
    vectors[rng.permutation(len(vectors))[:unread]] = 0
    cosines = pair_cosines(vectors)
    there = vectors.any(axis=1)
    background = -0.25
    assert mean_cosine(vectors) == pytest.approx(np.nanmean(cosines), abs=1e-6)
    assert agreement(vectors, background) == pytest.approx((np.nanmean(cosines) + 0.25) / 1.25, abs=1e-6)
    expected = [(np.nanmean(row) + 0.25) / 1.25 if known else 1 for row, known in zip(cosines, there, strict=True)]
    np.testing.assert_allclose(fits(vectors, background), expected, atol=1e-6)


def test_spellings_and_repeats_of_a_query_count_together() -> None:
    interactions = [Interaction(0, "Red Shoe"), Interaction(0, "red  shoe!"), Interaction(1, "red shoe", count=3)]
    found = clean(interactions, Rules(min_count=2, min_photos=2))
    assert found.labels == {0: ("red shoe",), 1: ("red shoe",)}
    assert not found.dropped


def test_rare_queries_and_accidents_are_dropped_with_what_fell_short() -> None:
    often = [Interaction(photo, "shoe", count=5) for photo in range(3)]
    found = clean([*often, Interaction(3, "shoe"), Interaction(0, "boot", 5), Interaction(1, "..")], Rules(0, 2, 3))
    assert found.labels == {0: ("shoe",), 1: ("shoe",), 2: ("shoe",)}
    assert {(each.query, each.photo, each.reason, each.figure) for each in found.dropped} == {
        ("..", 1, cleaning.NO_WORDS, 0),
        ("shoe", 3, cleaning.TOO_RARE, 1),
        ("boot", None, cleaning.TOO_FEW, 1),
    }


def test_titles_give_several_labels_a_photo() -> None:
    found = clean([Interaction(0, "Red Shirt"), Interaction(1, "Red Shoe")], Rules(longest_phrase=2, min_photos=2))
    assert found.labels == {0: ("red",), 1: ("red",)}


def groups(rng: np.random.Generator, sizes: tuple[int, ...]) -> np.ndarray:
    """Photos in groups that look alike, each group round a direction of its own."""
    centres = np.eye(len(sizes), 16)
    return unit(np.concatenate([centres[g] + 0.05 * rng.normal(size=(n, 16)) for g, n in enumerate(sizes)]))


def test_a_query_whose_photos_disagree_is_dropped_and_a_stray_photo_leaves_one_that_agrees() -> None:
    vectors = groups(np.random.default_rng(0), (10, 10, 10))
    shoes = [Interaction(photo, "shoe") for photo in (*range(10), 25)]  # one of them shows something else
    gifts = [Interaction(photo, "gift") for photo in range(0, 30, 3)]
    found = clean([*shoes, *gifts], Rules(min_photos=5), vectors)
    assert [kept.query for kept in found.queries] == ["shoe"]
    assert sorted(found.labels) == list(range(10))
    reasons = {(each.query, each.photo): each.reason for each in found.dropped}
    assert reasons == {("gift", None): cleaning.DISAGREE, ("shoe", 25): cleaning.MISFIT}
    assert found.queries[0].agreement == pytest.approx(1, abs=0.1)


def test_a_query_that_loses_too_many_photos_goes_as_well() -> None:
    vectors = groups(np.random.default_rng(1), (6, 20))
    interactions = [Interaction(photo, "shoe") for photo in (*range(6), 10)]
    found = clean(interactions, Rules(min_photos=7), vectors)
    assert not found.labels
    assert [each.reason for each in found.dropped] == [cleaning.MISFIT, cleaning.TOO_FEW_LEFT]


def test_photos_that_cannot_be_read_keep_their_labels() -> None:
    vectors = groups(np.random.default_rng(2), (6, 20))
    vectors[3] = 0
    found = clean([Interaction(photo, "shoe") for photo in range(6)], Rules(min_photos=6), vectors)
    assert sorted(found.labels) == list(range(6))
