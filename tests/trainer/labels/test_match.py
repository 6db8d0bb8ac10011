"""Which unlabelled photos take the product they are nearest to."""

import pytest

from engine.search.many import Neighbour
from trainer.labels import match
from trainer.labels.match import MatchRules, choose, squared_distance


def near(*found: tuple[str, float]) -> tuple[Neighbour, ...]:
    return tuple(Neighbour(product, cosine, 0) for product, cosine in found)


def test_the_distance_is_the_squared_one_of_unit_vectors() -> None:
    assert squared_distance(0.9) == pytest.approx(0.2)
    assert squared_distance(-1) == 4
    assert squared_distance(1 + 1e-6) == 0


def test_only_near_photos_take_a_product() -> None:
    found = choose({0: near(("a", 0.95), ("b", 0.94)), 1: near(("a", 0.89)), 2: ()}, MatchRules())
    assert [(each.photo, each.product_id) for each in found.matches] == [(0, "a")]
    assert found.left_out == {match.TOO_FAR: 2}


def test_the_very_distance_is_not_below_it() -> None:
    assert not choose({0: near(("a", 0.5))}, MatchRules(distance=1.0)).matches


def test_a_photo_between_two_products_takes_none() -> None:
    rules = MatchRules(lead=0.05)
    found = choose({0: near(("a", 0.95), ("b", 0.94)), 1: near(("a", 0.97), ("b", 0.94)), 2: near(("c", 0.95))}, rules)
    assert [each.photo for each in found.matches] == [1, 2]
    assert found.left_out == {match.AMBIGUOUS: 1}


def test_a_product_takes_its_nearest_photos_first() -> None:
    cosines = {0: 0.93, 1: 0.99, 2: 0.96}
    neighbours = {photo: near(("a", cosine)) for photo, cosine in cosines.items()} | {3: near(("b", 0.92))}
    found = choose(neighbours, MatchRules(per_product=2))
    assert [each.photo for each in found.matches] == [1, 2, 3]
    assert found.left_out == {match.ENOUGH: 1}
