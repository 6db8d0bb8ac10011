"""Serving needs neither torch nor gradio: an environment that has neither searches and serves.

The index comes from the ordinary environment, as it would from another machine.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.indexer.shop import Shop, draw, shop

ROOT = Path(__file__).parents[1]
UV = Path(sys.executable).with_name("uv")
ABSENT = ("torch", "torchvision", "timm", "gradio", "onnx")

# every module but the two that are there for what is absent
IMPORT_ALL = """
import importlib, pkgutil, sys
for root in ("engine", "indexer", "webui", "lookalike"):
    for module in pkgutil.walk_packages(importlib.import_module(root).__path__, f"{root}."):
        if not module.name.startswith("webui.page"):
            importlib.import_module(module.name)
print(sorted(set(sys.modules) & set(sys.argv[1:])))
"""


class Environment:
    """A virtual environment with what `pip install lookalike[cpu]` brings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "venv"
        self._elsewhere = folder  # away from the checkout, so that nothing is imported from it
        self.variables = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))
        }
        if "PIP_FIND_LINKS" in os.environ:  # uv does not read pip's setting for folders of wheels
            self.variables.setdefault("UV_FIND_LINKS", os.environ["PIP_FIND_LINKS"])

    def make(self) -> None:
        """Raises CalledProcessError where a package cannot be had."""
        self._uv("venv", "--python", sys.executable, str(self.folder))
        python = str(self.folder / "bin/python")
        self._uv("pip", "install", "--python", python, "-c", str(ROOT / "constraints.txt"), f"{ROOT}[cpu]")

    def _uv(self, *arguments: str) -> None:
        subprocess.run(
            [UV, *arguments], check=True, capture_output=True, text=True, env=self.variables, cwd=ROOT, timeout=300
        )

    def start(self, program: str, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [self.folder / "bin" / program, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.variables,
            cwd=self._elsewhere,
        )

    def run(self, program: str, *arguments: str) -> tuple[int, str, str]:
        """Exit code, standard output and standard error."""
        with self.start(program, *arguments) as process:
            out, err = process.communicate(timeout=120)
        return process.returncode, out, err


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    made = Environment(tmp_path_factory.mktemp("serve-only"))
    if not UV.exists():
        pytest.skip(f"There is no uv at {UV} to make an environment with; `make setup` installs it.")
    try:
        made.make()
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        reason = str(error.stderr or error).strip().splitlines()[-1]
        pytest.skip(f"The packages of an environment without torch cannot be had here: {reason}")
    return made


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("shop")) as opened:
        opened.build()
        yield opened


def test_torch_and_gradio_are_not_there_and_nobody_misses_them(environment: Environment) -> None:
    find = "import sys, importlib.util as u; print([name for name in sys.argv[1:] if u.find_spec(name)])"

    assert environment.run("python", "-c", find, *ABSENT) == (0, "[]\n", "")
    code, loaded, words = environment.run("python", "-c", IMPORT_ALL, *ABSENT)
    assert (code, loaded) == (0, "[]\n"), words


def test_the_command_line_answers(environment: Environment) -> None:
    code, out, _ = environment.run("lookalike", "--help")

    assert code == 0
    assert "search" in out


def test_a_photo_is_searched_for(environment: Environment, stocked: Shop, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(draw(5, 9))

    code, out, words = environment.run("lookalike", "search", str(photo), "--index", str(stocked.index), "--json")

    assert code == 0, words
    answer = json.loads(out)
    assert answer["exact"]["products"][0]["product_id"] == "p0005"
    assert len(answer["exact"]["products"]) == 10


def test_the_api_is_served_and_searched(environment: Environment, stocked: Shop) -> None:
    wishes = ["--index", str(stocked.index), "--no-page", "--port", "0"]

    with environment.start("lookalike", "serve", *wishes) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        response = httpx.post(f"{address}/search", files={"photo": draw(7, 9)}, data={"filter": "colour=Green"})
        process.terminate()

        assert process.wait(20) == 0

    assert response.status_code == 200
    assert response.json()["exact"]["products"][0]["product_id"] == "p0007"
    assert response.json()["matching"] == 4


def test_a_page_that_is_asked_for_names_the_extra_that_brings_it(environment: Environment, stocked: Shop) -> None:
    code, out, words = environment.run("lookalike", "serve", "--index", str(stocked.index))

    assert (code, out) == (1, "")
    assert "lookalike[page]" in words
    assert "--no-page" in words
    assert len(words.splitlines()) == 1
