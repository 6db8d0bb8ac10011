"""The whole way from photos to an index that answers, each step a command line in a process of its own.

This is what `lookalike demo` does. It knows the commands only as a person does: by what one types. Everything it makes
lies in one folder: data/ (unless photos were given), model/, catalogue.db, index/, benchmark.json, and demo.json, which
says what they were made of, so that a second run knows what it may use again.
"""

import json
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

from engine.errors import BadCall, LookalikeError, MissingFile

TABLE, IMAGES = "photos.csv", "images"
GALLERY, QUERIES = "split=catalogue|train", "split=val"
LABELS = ("product_id", "category")


@dataclass(frozen=True)
class Step:
    """A command line. `module` is what `python -m` runs, `name` what it is called in the table at the end."""

    name: str
    module: str
    arguments: tuple[str, ...]

    @property
    def typed(self) -> str:
        """As a person would type it."""
        front = "lookalike" if self.module == "lookalike" else f"python -m {self.module}"
        return f"{front} {shlex.join(self.arguments)}"


Runner = Callable[[Step], int]  # runs a step, returns its exit code


def run_process(step: Step) -> int:
    """Runs a step in a process of its own, its bars and tables on this terminal; returns its exit code.

    Ctrl-C reaches the step too, which ends in its own time and says how; a second one, or SIGTERM, ends it at once.
    """
    process: subprocess.Popen[bytes] | None = None
    interrupts = 0

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal interrupts
        interrupts += number == signal.SIGINT
        if process is not None and (number == signal.SIGTERM or interrupts > 1):
            process.terminate()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        process = subprocess.Popen([sys.executable, "-m", step.module, *step.arguments])
        return process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class StepFailed(Exception):
    """A step ended with an error, and has said itself which."""

    def __init__(self, step: Step, exit_code: int) -> None:
        super().__init__(f"{step.typed} ended with exit code {exit_code}.")
        self.exit_code = exit_code


class StepStopped(LookalikeError):
    """A step was killed before it could say anything: run the demo again."""

    code = "step_stopped"


@dataclass(frozen=True)
class Inputs:
    """What the model, the catalogue and the index in a folder were made of."""

    photos: str
    table: str
    recipe: str
    weights: str | None
    epochs: int | None


@dataclass(frozen=True)
class Walkthrough:
    """Where things come from and go to. `data` None: the sample, drawn into out/data with `seed`."""

    out: Path
    recipe: Path
    data: Path | None = None
    weights: str | None = None
    epochs: int | None = None
    seed: int = 0

    @property
    def photos(self) -> Path:
        return self.out / "data" if self.data is None else self.data

    @property
    def model(self) -> Path:
        return self.out / "model"

    @property
    def index(self) -> Path:
        return self.out / "index"

    @property
    def figures(self) -> Path:
        return self.out / "benchmark.json"

    @property
    def _catalogue(self) -> Path:
        return self.out / "catalogue.db"

    @property
    def _record(self) -> Path:
        return self.out / "demo.json"

    def check(self) -> None:
        """Raises before any work what would stop it: no table, no recipe, a folder with things of somebody else."""
        if self.data is not None and not (self.data / TABLE).is_file():
            raise MissingFile(
                f"{self.data} has no {TABLE}; put one there with the columns image, product_id and split "
                f"(catalogue, train, val), the photos in {IMAGES}/."
            )
        if not self.recipe.is_file():
            raise MissingFile(f"There is no recipe {self.recipe}; pass one with --recipe.")
        if not self._record.is_file() and any(path.exists() for path in self._made()):
            raise BadCall(f"{self.out} holds a model or an index that the demo did not make; choose another --out.")

    def draw(self) -> Step:
        return Step("draw", "lookalike.sample", ("--out", str(self.photos), "--seed", str(self.seed)))

    def drawn(self) -> bool:
        """Whether the sample is there, whole, and of this seed."""
        from lookalike.sample.catalogue import items, table_text

        table = self.photos / TABLE  # written last
        return table.is_file() and table.read_text(encoding="utf-8") == table_text(items(self.seed), self.seed)

    def train(self) -> Step:
        """Goes on where a training of the same inputs was stopped."""
        arguments = ["train", str(self.recipe), "--data", str(self.photos), "--out", str(self.model)]
        if self.weights is not None:
            arguments += ["--weights", self.weights]
        if self.epochs is not None:
            arguments += ["--epochs", str(self.epochs)]
        if self.model.is_dir():
            arguments.append("--resume")
        return Step("train", "lookalike", tuple(arguments))

    def trained(self) -> bool:
        return (self.model / "model.json").is_file()  # written last

    def rest(self) -> tuple[Step, ...]:
        """What follows training: import, index, benchmark."""
        table = str(self.photos / TABLE)
        images = ("--images", str(self.photos / IMAGES))
        catalogue = ("--catalogue", str(self._catalogue))
        labels = tuple(word for label in LABELS for word in ("--label", label))
        asked = ("--queries", table, *images, "--where", QUERIES, *labels)
        return (
            Step("import", "lookalike", ("import", table, *images, *catalogue, "--where", GALLERY, "--replace")),
            Step("index", "lookalike", ("index", *catalogue, "--model", str(self.model), "--out", str(self.index))),
            Step(
                "benchmark",
                "lookalike",
                ("benchmark", "--index", str(self.index), *asked, "--json", str(self.figures)),
            ),
        )

    def serve(self, *options: str) -> Step:
        return Step("serve", "lookalike", ("serve", "--index", str(self.index), *options))

    def inputs(self) -> Inputs:
        """What is about to be used; the photos must be there."""
        return Inputs(
            photos=str(self.photos.resolve()),
            table=_digest(self.photos / TABLE),
            recipe=_digest(self.recipe),
            weights=self.weights,
            epochs=self.epochs,
        )

    def settle(self, *, fresh: bool) -> bool:
        """Makes the folder fit the inputs: what was made of others is removed. Returns whether anything was."""
        now = asdict(self.inputs())
        same = self._record.is_file() and json.loads(self._record.read_text(encoding="utf-8")) == now
        stale = [path for path in self._made() if path.exists()] if fresh or not same else []
        for path in stale:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self._record.write_text(json.dumps(now, indent=2) + "\n", encoding="utf-8")
        return bool(stale)

    def _made(self) -> tuple[Path, ...]:
        """Everything of the folder that follows from the inputs."""
        beside = [self._catalogue.with_name(self._catalogue.name + end) for end in ("", "-wal", "-shm")]
        return (self.model, self.index, self.figures, *beside)


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def walk(
    way: Walkthrough,
    *,
    fresh: bool,
    say: Callable[[str], None],
    run: Runner = run_process,
) -> dict[str, float]:
    """Everything up to the benchmark; returns the seconds each step took, those left out not among them.

    `say` gets one line before every step: its command line, or why it is left out. Raises StepFailed, StepStopped.
    """
    way.check()
    seconds: dict[str, float] = {}
    if way.data is None:
        if not fresh and way.drawn():
            say(f"The photos in {way.photos} are there already; --fresh draws them anew.")
        else:
            _take(way.draw(), seconds, say, run)
    way.out.mkdir(parents=True, exist_ok=True)
    if way.settle(fresh=fresh) and not fresh:
        say(f"Photos, recipe or weights are others than before: what was made of them in {way.out} is made anew.")
    if way.trained():
        say(f"The model in {way.model} was trained on these photos already; --fresh trains it anew.")
    else:
        _take(way.train(), seconds, say, run)
    for step in way.rest():
        _take(step, seconds, say, run)
    return seconds


def _take(step: Step, seconds: dict[str, float], say: Callable[[str], None], run: Runner) -> None:
    say(f"$ {step.typed}")
    began = monotonic()
    code = run(step)
    if code < 0:
        why = " (no memory left?)" if -code == signal.SIGKILL else ""
        raise StepStopped(
            f"The step {step.name} was stopped by signal {-code}{why}; run the demo again and it goes on."
        )
    if code:
        raise StepFailed(step, code)
    seconds[step.name] = monotonic() - began


def figure_rows(figures: dict[str, Any]) -> list[tuple[str, str]]:
    """What was measured, from the benchmark's JSON: (what, how much)."""
    results = {result["label"]: result for result in figures["results"]}
    index, latency = figures["index"], figures["latency_ms"]
    rows = [
        ("products", f"{index['products']:,}"),
        ("photos in the index", f"{index['photos']:,}"),
        ("photos asked with", f"{figures['queries']:,}"),
    ]
    for label in LABELS:
        named = label.removesuffix("_id")
        rows += [(f"{metric} by {named}", f"{results[label][metric]:.3f}") for metric in ("precision@1", "recall@10")]
    return [
        *rows,
        ("encoding a photo, median", f"{latency['encode']['p50']:.1f} ms"),
        ("searching, median", f"{latency['search']['p50']:.1f} ms"),
        ("bytes per photo in the index", f"{figures['bytes_per_photo']:,.0f}"),
    ]


def duration(seconds: float) -> str:
    """`8.4 s`, `2 min 5 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60} s"
