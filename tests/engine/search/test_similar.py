import numpy as np
import pyarrow as pa
import pytest

from engine.catalogue.schema import Facet, FacetType
from engine.search.group import Ranking
from engine.search.similar import AGREEMENT_WEIGHT, Attributes, agreement, like_it
from engine.storage.facets import PREFIX, FacetTable, facet_column
from engine.vision.model import Head

COLOUR = Head("colour", "colour", ("Blue", "Red"))
STYLE = Head("style", "tags", ("plain", "dotted", "striped"), "multilabel")
FACETS = (Facet("colour", FacetType.KEYWORD), Facet("tags", FacetType.KEYWORDS), Facet("size", FacetType.NUMBER))


@pytest.fixture
def attributes() -> Attributes:
    columns = {
        "colour": ["Red", "Blue", None, "Green", None],
        "tags": [("dotted", "plain"), None, ("striped",), ("woven",), None],
        "size": [1.0, 2.0, 3.0, 4.0, 5.0],
    }
    arrays = {PREFIX + facet.name: facet_column(facet.type, columns[facet.name]) for facet in FACETS}
    table = FacetTable(pa.table(arrays), FACETS)
    return Attributes([COLOUR, STYLE, Head("size", "size", ("1.0",)), Head("shape", "shape", ("round",))], table)


def ranking(*scores: float) -> Ranking:
    places = np.arange(len(scores))
    return Ranking(places, places + 100, np.array(scores, np.float32))


def test_agreement_averages_the_heads_that_know_something(attributes: Attributes) -> None:
    said = {"colour": np.float32([0.2, 0.8]), "style": np.float32([0.1, 0.6, 0.9])}
    found = agreement(attributes.said(said, np.arange(5)))
    known = [(0.8 + 0.6) / 2, 0.2, 0.9]  # of several keywords the likeliest; no tags; no colour
    unknown = sum(known) / 3  # values that no head has, and no values at all
    assert found.tolist() == pytest.approx([*known, unknown, unknown])


def test_agreement_without_predictions_is_nothing(attributes: Attributes) -> None:
    assert agreement(attributes.said({}, np.arange(5))).tolist() == [0] * 5


def test_product_predicts_its_own_facets(attributes: Attributes) -> None:
    certain = attributes.certain(0)
    assert {name: values.tolist() for name, values in certain.items()} == {"colour": [0, 1], "style": [1, 1, 0]}
    assert attributes.certain(3) == {}
    assert attributes.certain(4) == {}


def test_agreement_reorders_near_scores_and_no_others() -> None:
    vectors = np.eye(3, dtype=np.float32)
    close = like_it(ranking(0.5, 0.49, 0.2), vectors, np.float32([0, 1, 1]), found=set())
    assert close.ordinals.tolist() == [1, 0, 2]
    assert close.scores.tolist() == pytest.approx([0.49, 0.5, 0.2])  # the score shown stays the cosine
    apart = like_it(ranking(0.5, 0.49 - AGREEMENT_WEIGHT, 0.2), vectors, np.float32([0, 1, 1]), found=set())
    assert apart.ordinals.tolist() == [0, 1, 2]


def test_near_copies_go_to_the_end_and_what_was_found_goes_away() -> None:
    a, b, c = np.eye(3, dtype=np.float32)
    nearly_b = (b + 0.05 * c) / np.float32(np.hypot(1, 0.05))
    vectors = np.stack([a, b, a, nearly_b, c])
    order = like_it(ranking(0.9, 0.8, 0.7, 0.6, 0.5), vectors, np.zeros(5, np.float32), found={0})
    assert order.ordinals.tolist() == [1, 4, 2, 3]
    all_shown = like_it(ranking(0.9, 0.8, 0.7, 0.6, 0.5), vectors, np.zeros(5, np.float32), found=set())
    assert all_shown.ordinals.tolist() == [0, 1, 4, 2, 3]


def test_nothing_else_is_like_it() -> None:
    only = like_it(ranking(0.9), np.eye(1, dtype=np.float32), np.zeros(1, np.float32), found={0})
    assert len(only) == 0
