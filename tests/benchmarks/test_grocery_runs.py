"""The ablation's variants are recipes, and its tables say what the answers do."""

from typing import Any

import numpy as np
import pytest

from benchmarks.grocery_runs import RECIPE, VARIANTS, is_hidden
from benchmarks.grocery_table import Answers, difference, read_answers, tables
from benchmarks.runs import changed
from trainer.recipe import parse_recipe


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "recipe"])
def test_every_variant_is_a_recipe_that_differs_from_the_one_it_varies(variant: str) -> None:
    text = RECIPE.read_text(encoding="utf-8")
    assert parse_recipe(changed(text, *VARIANTS[variant]), variant).model_dump() != parse_recipe(text, "").model_dump()


def test_about_a_third_of_the_products_is_kept_from_training() -> None:
    share = np.mean([is_hidden(f"product {number}") for number in range(3000)])
    assert 0.3 < share < 0.37


def run(kind: str, variant: str, seed: int, right: list[int], hidden: tuple[str, ...] = ()) -> dict[str, Any]:
    answers = {"products": ["a", "a", "b", "c"], "product_id": right, "category": [1, 1, 1, 0]}
    measured = {"model": "m", "limit": None}
    return {
        "kind": kind,
        "variant": variant,
        "seed": seed,
        "steps": 9,
        "hidden": list(hidden),
        "measured": measured,
        "answers": answers,
    }


def test_a_variant_is_compared_with_the_recipe_by_the_seeds_that_both_have() -> None:
    recipe = [run("ablation", "recipe", seed, [seed, 0, 0, 0]) for seed in (0, 1)]
    variant = run("ablation", "ArcFace", 1, [1, 0, 1, 0])
    one, other = (read_answers([*recipe, variant], "ablation", name) for name in ("ArcFace", "recipe"))
    assert one is not None and other is not None
    assert difference(one, other).startswith("+25.0 ")  # against seed 1 alone; against both it would be 37.5


def test_variants_without_a_common_seed_are_not_compared() -> None:
    one, other = (
        Answers(np.array(["a"]), {seed: {"product_id": np.ones(1)} for seed in seeds}) for seeds in ([2], [0, 1])
    )
    assert difference(one, other) == "-"


def test_the_unseen_third_is_judged_by_its_own_queries_against_the_best_untrained_trunk() -> None:
    runs = [
        run("unseen", "untrained, gem", 0, [1, 0, 0, 0], ("a",)),
        run("unseen", "untrained, average", 0, [0, 0, 1, 1], ("a",)),
        run("unseen", "trained", 0, [1, 1, 0, 0], ("a",)),
    ]
    trained = tables(runs).splitlines()[-1]
    assert trained.startswith("| trained | 1 | 2 | 1.000 (1.000 to 1.000) |") and "| +50.0 " in trained
