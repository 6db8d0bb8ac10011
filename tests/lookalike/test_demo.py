"""`lookalike demo`: real command lines, in order, each once, used again when nothing changed."""

import json
import signal
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest

from engine.errors import BadCall, MissingFile
from lookalike.main import COMMANDS, main
from lookalike.sample.catalogue import items, table_text
from lookalike.walkthrough import (
    Step,
    StepFailed,
    StepStopped,
    Walkthrough,
    duration,
    figure_rows,
    run_process,
    walk,
)

FIGURES: dict[str, Any] = {
    "queries": 12,
    "results": [
        {"label": "product_id", "precision@1": 0.75, "recall@10": 0.9},
        {"label": "category", "precision@1": 0.98, "recall@10": 1.0},
    ],
    "latency_ms": {"encode": {"p50": 7.25}, "search": {"p50": 0.5}},
    "bytes_per_photo": 1234.5,
    "index": {"products": 300, "photos": 2400},
}


@cache
def sample_table() -> str:
    return table_text(items(0))


class FakeSteps:
    """Does what the commands leave behind, and remembers what was asked."""

    def __init__(self, out: Path, *, failing: str = "", code: int = 1) -> None:
        self.out = out
        self.failing, self.code = failing, code
        self.taken: list[Step] = []

    @property
    def names(self) -> list[str]:
        return [step.name for step in self.taken]

    def __call__(self, step: Step) -> int:
        self.taken.append(step)
        if step.name == self.failing:
            return self.code
        if step.name == "draw":
            (self.out / "data").mkdir(parents=True, exist_ok=True)
            (self.out / "data" / "photos.csv").write_text(sample_table(), encoding="utf-8")
        if step.name == "train":
            (self.out / "model").mkdir()
            (self.out / "model" / "model.json").write_text("{}")
        if step.name == "index":
            (self.out / "index").mkdir(exist_ok=True)
        return 0


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text("name = 'tiny'")
    return path


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "photos.csv").write_text("image,product_id,split\n")
    return folder


def test_all_steps_run_in_order_and_say_their_command_lines(tmp_path: Path, recipe: Path) -> None:
    out = tmp_path / "out"
    steps, said = FakeSteps(out), []
    seconds = walk(Walkthrough(out, recipe), fresh=False, say=said.append, run=steps)
    assert steps.names == ["draw", "train", "import", "index", "benchmark"] == list(seconds)
    assert said == [f"$ {step.typed}" for step in steps.taken]
    assert said[0] == f"$ python -m lookalike.sample --out {out}/data --seed 0"
    assert said[2].endswith("--where 'split=catalogue|train' --replace")


def test_every_command_line_is_one_that_the_commands_take(tmp_path: Path, recipe: Path, shop: Path) -> None:
    way = Walkthrough(tmp_path / "out", recipe, shop, weights="none", epochs=3)
    steps = [way.train(), *way.rest(), way.serve("--port", "0", "--no-page")]
    assert [step.arguments[0] for step in steps] == ["train", "import", "index", "benchmark", "serve"]
    for step in steps:
        name, *arguments = step.arguments
        command: click.Command = import_module(COMMANDS[name][0]).command
        command.make_context(name, arguments)  # raises what the command line would refuse
    drawing: click.Command = import_module("lookalike.sample.__main__").command
    drawing.make_context("sample", list(way.draw().arguments))


def test_a_second_run_uses_photos_and_model_again(tmp_path: Path, recipe: Path) -> None:
    out = tmp_path / "out"
    way = Walkthrough(out, recipe)
    walk(way, fresh=False, say=lambda _: None, run=FakeSteps(out))
    steps, said = FakeSteps(out), []
    walk(way, fresh=False, say=said.append, run=steps)
    assert steps.names == ["import", "index", "benchmark"]
    assert sum("already; --fresh" in line for line in said) == 2


def test_fresh_does_everything_again(tmp_path: Path, recipe: Path) -> None:
    out = tmp_path / "out"
    walk(Walkthrough(out, recipe), fresh=False, say=lambda _: None, run=FakeSteps(out))
    steps = FakeSteps(out)
    walk(Walkthrough(out, recipe), fresh=True, say=lambda _: None, run=steps)
    assert steps.names == ["draw", "train", "import", "index", "benchmark"]


@pytest.mark.parametrize("changed", ["recipe", "table", "epochs"])
def test_what_was_made_of_other_inputs_is_made_anew(tmp_path: Path, recipe: Path, shop: Path, changed: str) -> None:
    out = tmp_path / "out"
    walk(Walkthrough(out, recipe, shop), fresh=False, say=lambda _: None, run=FakeSteps(out))
    if changed == "recipe":
        recipe.write_text("name = 'another'")
    if changed == "table":
        (shop / "photos.csv").write_text("image,product_id,split\na.jpg,a,train\n")
    steps, said = FakeSteps(out), []
    way = Walkthrough(out, recipe, shop, epochs=1 if changed == "epochs" else None)
    walk(way, fresh=False, say=said.append, run=steps)
    assert steps.names == ["train", "import", "index", "benchmark"]
    assert "made anew" in said[0]
    assert "--resume" not in steps.taken[0].arguments


def test_a_training_that_was_stopped_goes_on(tmp_path: Path, recipe: Path, shop: Path) -> None:
    out = tmp_path / "out"
    killed = FakeSteps(out, failing="train", code=-9)
    with pytest.raises(StepStopped, match="stopped by signal 9"):
        walk(Walkthrough(out, recipe, shop), fresh=False, say=lambda _: None, run=killed)
    (out / "model").mkdir()  # with a checkpoint, but no model.json
    (out / "model" / "checkpoint.pt").write_bytes(b"half way")

    def resumed(step: Step) -> int:
        if step.name == "train":
            assert step.arguments[-1] == "--resume"
            assert (out / "model" / "checkpoint.pt").is_file()
        return 0

    assert "train" in walk(Walkthrough(out, recipe, shop), fresh=False, say=lambda _: None, run=resumed)


def test_a_failing_step_ends_the_walk_with_its_own_exit_code(tmp_path: Path, recipe: Path, shop: Path) -> None:
    steps = FakeSteps(tmp_path / "out", failing="index", code=2)
    with pytest.raises(StepFailed) as failed:
        walk(Walkthrough(tmp_path / "out", recipe, shop), fresh=False, say=lambda _: None, run=steps)
    assert failed.value.exit_code == 2
    assert steps.names == ["train", "import", "index"]


def test_a_folder_without_a_table_is_refused_before_any_work(tmp_path: Path, recipe: Path) -> None:
    steps = FakeSteps(tmp_path / "out")
    with pytest.raises(MissingFile, match=r"has no photos\.csv"):
        walk(Walkthrough(tmp_path / "out", recipe, tmp_path), fresh=False, say=lambda _: None, run=steps)
    with pytest.raises(MissingFile, match="There is no recipe"):
        walk(Walkthrough(tmp_path / "out", tmp_path / "no.toml"), fresh=False, say=lambda _: None, run=steps)
    assert not steps.taken
    assert not (tmp_path / "out").exists()


def test_somebody_elses_model_is_not_touched(tmp_path: Path, recipe: Path, shop: Path) -> None:
    (tmp_path / "out" / "model").mkdir(parents=True)
    for fresh in (False, True):
        with pytest.raises(BadCall, match="choose another --out"):
            walk(Walkthrough(tmp_path / "out", recipe, shop), fresh=fresh, say=lambda _: None, run=FakeSteps(tmp_path))
    assert (tmp_path / "out" / "model").is_dir()


def test_steps_are_processes_and_their_exit_codes_come_back() -> None:
    assert run_process(Step("help", "lookalike", ("--help",))) == 0
    assert run_process(Step("wrong", "lookalike", ("serve", "--no-such-option"))) == 2


def python_step(statement: str) -> Step:
    """A step that runs one statement: timeit is a module that does just that."""
    return Step("statement", "timeit", ("-n", "1", "-r", "1", statement))


def test_a_step_that_hears_ctrl_c_ends_in_its_own_time_and_one_that_is_terminated_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)  # ignored, where the tests run in a shell's background
    to_parent = "import os, signal, time; os.kill(os.getppid(), signal.{}); time.sleep({})"
    assert run_process(python_step(to_parent.format("SIGINT", 0.5))) == 0
    assert run_process(python_step(to_parent.format("SIGTERM", 60))) == -signal.SIGTERM
    twice = to_parent.format("SIGINT", 0.5) + "; os.kill(os.getppid(), signal.SIGINT); time.sleep(60)"
    assert run_process(python_step(twice)) == -signal.SIGTERM
    assert signal.getsignal(signal.SIGINT) is before


def test_the_command_ends_with_the_failing_steps_sentence_and_code(
    tmp_path: Path, shop: Path, recipe: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    (shop / "photos.csv").write_text("photo,product_id,split\n")  # `lookalike import` will miss the column image
    walk(Walkthrough(out, recipe, shop), fresh=False, say=lambda _: None, run=FakeSteps(out))
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--data", str(shop), "--recipe", str(recipe), "--out", str(out), "--no-serve"])
    printed = capfd.readouterr()
    assert ended.value.code == 1
    assert "was trained on these photos already" in printed.err
    assert f"$ lookalike import {shop}/photos.csv" in printed.err
    assert printed.err.splitlines()[-1].startswith("Error: ")
    assert "image" in printed.err.splitlines()[-1]
    assert not printed.out


def test_the_table_tells_what_was_measured() -> None:
    rows = dict(figure_rows(json.loads(json.dumps(FIGURES))))
    assert rows["precision@1 by product"] == "0.750"
    assert rows["recall@10 by category"] == "1.000"
    assert rows["searching, median"] == "0.5 ms"
    assert rows["photos in the index"] == "2,400"


@pytest.mark.parametrize(("seconds", "words"), [(8.44, "8.4 s"), (59.9, "59.9 s"), (125.2, "2 min 5 s")])
def test_durations_read_as_people_say_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words
