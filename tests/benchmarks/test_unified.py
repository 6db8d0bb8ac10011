"""The unified model and its specialists see the same photos, and are compared query by query."""

from typing import Any

import numpy as np
import pytest

from benchmarks.unified import MODELS, QUOTAS, TASKS, recipe_for, split_of
from benchmarks.unified_table import as_markdown, check_alike, compare, figures_of
from trainer.recipe import Recipe, Task

GENDER = TASKS[4]


def test_a_task_has_the_same_photos_steps_and_losses_whoever_learns_it() -> None:
    unified = recipe_for("unified", TASKS, 1, 220, 160)
    losses = {task.name: task for task in unified.task}
    learnt: dict[str, Task] = {}
    for name, tasks in MODELS.items():
        recipe = recipe_for(name, tasks, 1, 220, 160)
        assert (recipe.trunk, recipe.augment, recipe.seed) == (unified.trunk, unified.augment, unified.seed)
        assert schedule_without_head_rate(recipe) == schedule_without_head_rate(unified)
        assert {each.name: each.quota for each in recipe.dataset}.items() <= QUOTAS.items()
        assert all(task == losses[task.name] for task in recipe.task)
        learnt |= {task.name: task for task in recipe.task if name != "unified"}
    assert learnt == losses


def schedule_without_head_rate(recipe: Recipe) -> dict[str, Any]:
    return recipe.schedule.model_dump(exclude={"head_learning_rate"})


def test_new_layers_learn_faster_with_the_square_root_of_the_batch() -> None:
    unified = recipe_for("unified", TASKS, 0, 220, 160)
    for name, tasks in MODELS.items():
        recipe = recipe_for(name, tasks, 0, 220, 160)
        less = (recipe.batch / unified.batch) ** 0.5
        assert recipe.schedule.head_learning_rate == pytest.approx(less * unified.schedule.head_learning_rate, rel=0.01)


def test_four_fifths_of_the_products_train_and_a_tenth_each_measures() -> None:
    splits = [split_of(str(number)) for number in range(5000)]
    assert abs(splits.count("train") / 5000 - 0.8) < 0.02 and abs(splits.count("test") / 5000 - 0.1) < 0.02
    assert split_of("42") == split_of("42")


def run(**by_label: list[int | None]) -> dict[str, Any]:
    products = ["a", "a", "b", "c"]
    answers = {
        f"fashion/{label}": {"products": products, "nearest": right, "head": right} for label, right in by_label.items()
    }
    return {"measured": {"model": "m", "limit": None, "fashion_split": "test"}, "answers": answers}


def test_a_task_of_two_labels_is_the_mean_over_those_that_a_query_has() -> None:
    runs = {
        "fashion-gender-and-usage-0": run(gender=[1, 0, 0, None], usage=[1, 1, 0, None]),
        "unified-0": run(gender=[1, 1, 0, None], usage=[1, 1, 1, None]),
    }
    found = compare(GENDER, "head", runs)
    assert found is not None
    assert found.specialist == pytest.approx((1 + 0.5 + 0) / 3) and found.unified == pytest.approx((1 + 1 + 0.5) / 3)
    assert found.differences.values.tolist() == [0, 0.5, 0.5] and found.differences.clusters.tolist() == [0, 0, 1]


def test_only_seeds_of_both_models_are_compared() -> None:
    right = {"gender": [1, 1, 1, 1], "usage": [1, 1, 1, 1]}
    wrong = {"gender": [0, 0, 0, 0], "usage": [0, 0, 0, 0]}
    runs = {
        "fashion-gender-and-usage-0": run(**wrong),
        "fashion-gender-and-usage-1": run(**right),
        "unified-1": run(**right),
        "unified-2": run(**wrong),
    }
    found = compare(GENDER, "nearest", runs)
    assert found is not None and found.seeds == (1,) and found.by_seed == (0.0,)
    assert compare(TASKS[0], "nearest", runs) is None


def test_the_table_gives_points_and_intervals_that_hold_them() -> None:
    runs = {
        "fashion-gender-and-usage-0": run(gender=[1, 0, 0, 1], usage=[1, 1, 0, 1]),
        "unified-0": run(gender=[1, 1, 0, 0], usage=[1, 1, 1, 0]),
    }
    found = compare(GENDER, "head", runs)
    assert found is not None
    figures = figures_of([found])
    low, high = figures["tasks"][0]["interval_95"]
    assert low <= figures["tasks"][0]["difference"] <= high
    assert figures["mean"]["head"]["difference"] == figures["tasks"][0]["difference"] == 0.0
    assert "| fashion gender and usage | head | 4 | 0.625 | 0.625 | +0.0 (" in as_markdown(figures)


def test_runs_measured_on_different_photos_are_not_compared() -> None:
    one, other = run(gender=[1], usage=[1]), run(gender=[1], usage=[1])
    check_alike({"a": one, "b": other})
    other["measured"]["fashion_split"] = "val"
    with pytest.raises(SystemExit, match="measured differently"):
        check_alike({"a": one, "b": other})
    with pytest.raises(SystemExit, match="measured differently"):
        check_alike({"a": {**one, "measured": {**one["measured"], "limit": 100}}})


def test_bootstrap_rows_of_one_dataset_are_drawn_together() -> None:
    """So a mean over its tasks has the width of the tasks, not a narrower one as if they were other photos."""
    right = [1, 1, 0, 0]
    runs = {
        "fashion-gender-and-usage-0": run(gender=right, usage=right),
        "unified-0": run(gender=right[::-1], usage=right[::-1]),
    }
    found = compare(GENDER, "head", runs)
    assert found is not None
    one, twice = figures_of([found]), figures_of([found, found])
    assert np.allclose(one["mean"]["head"]["interval_95"], twice["mean"]["head"]["interval_95"])
