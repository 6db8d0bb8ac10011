import json
from dataclasses import replace

import pytest

from engine.search.plan import Plan, products_needed, scaled

LISTS = Plan(
    path="lists",
    generation="000007",
    model_id="abc",
    shards=2,
    lists_visited=8,
    lists_total=128,
    rows_scanned=3120,
    rows_reranked=100,
    survivors=None,
    matching_products=9583,
    expected_recall=0.987,
    milliseconds={"encode": 6.0, "scan": 0.25},
)


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        (
            LISTS,
            "8 of 128 lists visited in 2 shards, 3,120 photos scanned by their codes, 100 compared exactly; expected "
            "recall 0.987; 6.2 ms.",
        ),
        (
            replace(LISTS, shards=1, expected_recall=None, lists_total=1, lists_visited=1),
            "1 of 1 list visited, 3,120 photos scanned by their codes, 100 compared exactly; 6.2 ms.",
        ),
        (
            replace(LISTS, path="filtered lists", survivors=4000, matching_products=2500, rows_reranked=900, shards=1),
            "2,500 products with 4,000 photos pass the filter: 8 of 128 lists visited, 900 photos compared exactly; "
            "expected recall 0.987; 6.2 ms.",
        ),
        (
            replace(LISTS, path="exact", survivors=1, matching_products=1, rows_reranked=1),
            "1 product with 1 photo passes the filter: 1 photo compared exactly, all there are; 6.2 ms.",
        ),
        (
            replace(LISTS, path="exact", rows_reranked=600),
            "600 photos compared exactly, all there are; 6.2 ms.",
        ),
        (replace(LISTS, path="nothing", survivors=0), "No product passes the filter; 6.2 ms."),
    ],
)
def test_sentence_tells_what_was_done(plan: Plan, sentence: str) -> None:
    assert plan.sentence() == sentence


def test_plan_is_plain_json_with_its_sentence() -> None:
    data = json.loads(json.dumps(LISTS.to_dict()))
    assert data["sentence"] == LISTS.sentence()
    assert data["milliseconds"] == {"encode": 6.0, "scan": 0.25}


def test_effort_grows_with_k_beyond_what_was_measured() -> None:
    assert [scaled(100, k) for k in (1, 10, 11, 1000)] == [100, 100, 110, 10_000]
    assert scaled(1, 11) == 2


def test_similar_chooses_from_more_than_it_shows() -> None:
    assert products_needed(10, similar=False) == 10
    # what was found is left out, and the product that asks: k others must remain
    assert all(products_needed(k, similar=True) - 2 >= k for k in range(2, 50))
