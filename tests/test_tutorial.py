"""docs/tutorial.md, from an empty folder on: each block run as it stands, each output compared with the one shown."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
import pytest

TUTORIAL = Path(__file__).parents[1] / "docs" / "tutorial.md"
BLOCK = re.compile(r"^(?P<before><!-- a terminal of its own -->\n)?```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.M | re.S)
PORT = "8000"
PATIENCE_S = 300.0


@dataclass(frozen=True)
class Block:
    kind: str
    text: str
    aside: bool  # in a terminal of its own


def blocks(port: str) -> list[Block]:
    """All blocks, in their order, with the port that is free here."""
    text = TUTORIAL.read_text(encoding="utf-8").replace(PORT, port)
    return [Block(found["kind"], found["text"], found["before"] is not None) for found in BLOCK.finditer(text)]


def free_port() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return str(taken.getsockname()[1])


class Reader:
    """Somebody who follows the tutorial in a folder."""

    def __init__(self, folder: Path, port: str) -> None:
        self.folder = folder
        self.health = f"http://127.0.0.1:{port}/healthz"
        self.names: dict[str, Any] = {"__name__": "tutorial"}
        self.printed = ""
        self.servers: list[subprocess.Popen[bytes]] = []
        programs = folder / ".programs"  # what an installed Lookalike puts on the path
        programs.mkdir()
        program = programs / "lookalike"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lookalike "$@"\n')
        program.chmod(0o755)
        root = str(TUTORIAL.parents[1])
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("LOOKALIKE_")},
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]),
            "LOOKALIKE_THREADS": "1",  # so much work is not worth sharing among cores that others use
            "OMP_NUM_THREADS": "1",
        }

    def does(self, block: Block) -> None:
        match block.kind:
            case "python":
                with redirect_stdout(StringIO()) as out:
                    exec(compile(block.text, "docs/tutorial.md", "exec"), self.names)
                self.printed = out.getvalue()
            case "text":
                assert self.printed == block.text
            case "toml":
                name = block.text.splitlines()[0].removeprefix("# ")
                (self.folder / name).write_text(block.text)
            case "sh" if block.aside:
                self.serves(block.text)
            case "sh":
                done = subprocess.run(
                    ["sh", "-e", "-c", block.text], env=self.environment, capture_output=True, text=True, check=False
                )
                assert done.returncode == 0, done.stderr

    def serves(self, command: str) -> None:
        server = subprocess.Popen(["sh", "-c", f"exec {command}"], env=self.environment)
        self.servers.append(server)
        deadline = monotonic() + PATIENCE_S
        while monotonic() < deadline:
            assert server.poll() is None, "the server ended by itself"
            try:
                if httpx.get(self.health, trust_env=False).is_success:
                    return
            except httpx.HTTPError:
                sleep(0.1)
        raise AssertionError("the server does not answer")


@contextmanager
def reader(folder: Path, port: str) -> Iterator[Reader]:
    somebody = Reader(folder, port)
    try:
        yield somebody
    finally:
        for server in somebody.servers:
            server.terminate()
        assert [server.wait(60) for server in somebody.servers] == [0] * len(somebody.servers)


@pytest.mark.skipif(shutil.which("sh") is None, reason="the tutorial's commands are for a POSIX shell")
@pytest.mark.skipif(find_spec("timm") is None, reason="the tutorial trains: install lookalike[train]")
def test_every_block_of_the_tutorial_runs_and_prints_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    port = free_port()
    wanted = blocks(port)
    assert {block.kind for block in wanted} == {"python", "text", "toml", "sh"}
    assert sum(block.aside for block in wanted) == 1
    with reader(tmp_path, port) as somebody:
        for block in wanted:
            somebody.does(block)


def test_no_block_is_overlooked() -> None:
    fences = re.findall(r"^```", TUTORIAL.read_text(encoding="utf-8"), re.M)
    assert len(fences) == 2 * len(blocks(PORT))
