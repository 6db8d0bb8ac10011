"""Queries as typed -> queries that compare."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.labels.queries import normalise, phrases


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("  Red   SHOES ", "red shoes"),
        ("s.Oliver, Women-Top!", "s oliver women top"),
        ("Women\u2019s T-shirt", "womens t shirt"),
        ("cafe\u0301", "caf\u00e9"),  # an accent of its own
        ("\uff32ed", "red"),  # a letter as wide as an ideograph
        ("Stra\u00dfe", "strasse"),
        ("\u0938\u093e\u0921\u093c\u0940", "\u0938\u093e\u0921\u093c\u0940"),  # Hindi: marks are parts of words
        ("?!", ""),
    ],
)
def test_what_means_the_same_is_spelt_the_same(typed: str, wanted: str) -> None:
    assert normalise(typed) == wanted


@given(st.text())
def test_a_normalised_query_stays_as_it_is(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


def test_phrases_are_all_runs_of_words() -> None:
    assert sorted(phrases("red cotton shirt", 2)) == ["cotton", "cotton shirt", "red", "red cotton", "shirt"]
    assert list(phrases("red cotton shirt", 0)) == ["red cotton shirt"]
    assert list(phrases("red", 5)) == ["red"]
    assert list(phrases("", 0)) == list(phrases("", 2)) == []
