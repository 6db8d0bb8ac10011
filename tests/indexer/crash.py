"""A shop whose writers are killed, at points with names (`tests.stepwise`) or at any moment, and what must hold
whatever they left."""

import multiprocessing
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.schema import Product
from engine.catalogue.store import Catalogue, Writer
from engine.errors import IndexMissing, LogTrimmed
from engine.storage.generation import Generation, generation_names, generation_path, open_index, read_current
from engine.storage.manifest import Manifest
from engine.vision.model import Model
from engine.vision.photo_vectors import PRECISION
from engine.vision.preprocess import load
from indexer.build import BuildOptions, build_index
from indexer.merge import merge_index
from indexer.prune import prune_index
from indexer.repair import repair_index
from indexer.verify import verify_index
from tests.indexer.shop import Shop, draw, encoder_of
from tests.stepwise import Steps

SHARDS = 2
TIMEOUT_S = 300
REPORT = "report.txt"

Photos = dict[int, tuple[str, str]]  # product and content by photo id


def act(folder: Path, action: str, at: int, workers: int) -> None:
    """What the process does that is to be killed at its `at`-th step, or never for 0; it reports how far it got."""
    model = Model.open(folder / "model")
    encoder = encoder_of(model)
    options = BuildOptions(shards=SHARDS, workers=workers)
    with Catalogue.open(folder / "shop.db") as catalogue:
        steps = Steps(folder / REPORT, folder / "index", at)
        match action:
            case "build":
                build_index(catalogue, model, folder / "index", encoder=encoder, options=options)
            case "merge":
                merge_index(catalogue, model, folder / "index", encoder=encoder, options=options)
            case "prune":
                prune_index(catalogue, folder / "index")
            case "repair":
                repair_index(catalogue, model, folder / "index", encoder=encoder, options=options)
    steps.over()
    steps.tell(f"done {steps.count}")


@dataclass
class Storm:
    """A shop whose every state is remembered, so that each generation can be held against the state it is of."""

    folder: Path
    seed: int
    kills: int = 0
    completions: int = 0
    points: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.index = self.folder / "index"
        self.shop = Shop(self.folder)
        self.states: dict[int, Photos] = {}
        self.vectors: dict[str, NDArray[np.float32]] = {}
        self.upserted: set[str] = set()  # contents whose vectors were acknowledged
        self.next_product = 0
        self.steps = Counter({"build": 60, "merge": 60, "prune": 12, "repair": 60})
        self.seconds = Counter({"build": 0.5, "merge": 0.5, "prune": 0.1, "repair": 0.5})
        self.pool = multiprocessing.get_context("forkserver")
        self.pool.set_forkserver_preload(["tests.indexer.crash"])
        for _ in range(6):
            self.change()

    def change(self) -> None:
        """Adds a product or two, live or imported, deletes one or renames one."""
        with self.shop.catalogue.transaction() as writer:
            photos = self.states.get(max(self.states, default=0), {})
            owners = sorted({product for product, _ in photos.values()})
            kind = self.rng.integers(4) if len(owners) > 4 else 0
            if kind == 1:
                writer.delete_product(str(self.rng.choice(owners)))
            elif kind == 2:
                writer.upsert_product(Product(str(self.rng.choice(owners)), f"Renamed {self.rng.integers(1000)}"))
            else:
                self._add(writer, live=bool(self.rng.integers(2)))
        with self.shop.catalogue.snapshot() as view:
            self.states[view.change_number] = {
                photo.photo_id: (photo.product_id, photo.content_hash) for photo in view.photos()
            }

    def _add(self, writer: Writer, live: bool) -> None:
        number = self.next_product
        self.next_product += 1
        writer.upsert_product(Product(f"p{number:04d}"))
        for photo in range(2):
            data = draw(number, photo)
            content = sha256(data).hexdigest()
            path = self.folder / f"p{number:04d}-{photo}.png"
            path.write_bytes(data)
            pixels = load(data, "photo", self.shop.encoder.preprocess)
            (self.vectors[content],) = self.shop.encoder.encode(pixels[None]).embeddings
            writer.add_photo(f"p{number:04d}", content, path.as_uri())
            if live:
                self.upserted.add(content)
                writer.put_vector(content, self.shop.encoder.model_id, PRECISION, self.vectors[content])

    def strike(self, action: str, *, timed: bool = False, workers: int = 1, at: int | None = None) -> bool:
        """Starts an action and kills it somewhere; whether it was killed before it was done."""
        if at is None:
            at = 0 if timed else int(self.rng.integers(1, self.steps[action] + 3))
        process = self.pool.Process(target=act, args=(self.folder, action, at, workers))
        (self.folder / REPORT).write_text("")
        begun = time.monotonic()
        process.start()
        if timed:
            process.join(float(self.rng.uniform(0, 1.2 * self.seconds[action])))
            process.kill()
        process.join(TIMEOUT_S)
        assert process.exitcode is not None, f"{action} did not end"
        report = (self.folder / REPORT).read_text().rstrip("\n").rpartition("\n")[2]
        if process.exitcode == 0:
            self.completions += 1
            self.steps[action] = int(report.removeprefix("done "))
            self.seconds[action] = time.monotonic() - begun
            return False
        assert process.exitcode == -signal.SIGKILL, (action, process.exitcode)
        self.kills += 1
        self.points[f"{action}: {'any moment' if timed else report}"] += 1
        return True

    def check(self, *, damaged: bool = False) -> None:
        """What holds after every kill: the catalogue has all that was acknowledged; every generation is one that was
        written whole, of one state of the catalogue; and one of them answers."""
        self._check_catalogue()
        names = generation_names(self.index) if self.index.exists() else []
        try:
            current = read_current(self.index)
        except IndexMissing:
            assert not self.completions
            return
        assert current in names
        if damaged:
            # a flipped bit may be in it, which opening does not look for
            generation = open_index(self.index, allow_damaged=True)
            self._check_rows(generation, whole=not generation.damaged, vectors=False)
            return
        assert verify_index(self.index) == []
        for name in names:
            self._check_rows(Generation(self.index, name), whole=True)

    def _check_rows(self, generation: Generation, *, whole: bool, vectors: bool = True) -> None:
        state = self.states[generation.manifest.change_number]
        found: Photos = {}
        for shard in generation.shards:
            for row in range(shard.rows):
                content = shard.contents[row].tobytes().hex()
                product_id = generation.products.product_id(int(shard.ordinals[row]))
                found[int(shard.photo_ids[row])] = (product_id, content)
                assert not vectors or np.allclose(shard.vectors[row], self.vectors[content], atol=2e-3)
        assert found == state if whole else found.items() <= state.items()

    def _check_catalogue(self) -> None:
        with self.shop.catalogue.snapshot() as view:
            assert view.change_number == max(self.states)
            photos = {photo.photo_id: (photo.product_id, photo.content_hash) for photo in view.photos()}
            assert photos == self.states[view.change_number]
            vectors = {content.hex(): vector for content, vector in view.vectors(self.shop.encoder.model_id, PRECISION)}
        for content, vector in vectors.items():
            assert np.allclose(vector, self.vectors[content], atol=2e-3)
        held = [self._held(name) for name in self._names()]
        everywhere = frozenset.intersection(*held) if held else frozenset()
        needed = {content for _, content in photos.values()} & self.upserted
        assert needed - everywhere <= vectors.keys()
        for name in self._names():
            self._check_log(Manifest.read(generation_path(self.index, name)).change_number)

    def _names(self) -> list[str]:
        return generation_names(self.index) if self.index.exists() else []

    def _held(self, name: str) -> frozenset[str]:
        number = Manifest.read(generation_path(self.index, name)).change_number
        return frozenset(content for _, content in self.states[number].values())

    def _check_log(self, number: int) -> None:
        """A reader of a generation can follow the log from where the generation ends."""
        try:
            self.shop.catalogue.changes_since(number)
        except LogTrimmed as trimmed:
            raise AssertionError(number) from trimmed

    def damage(self) -> None:
        """Breaks a file of one shard of the generation that answers; of that generation alone."""
        path = generation_path(self.index, read_current(self.index))
        name = str(self.rng.choice([".faiss", ".vectors.npy", ".rows.arrow"]))
        file = path / f"shard-{int(self.rng.integers(SHARDS)):04d}{name}"
        data = file.read_bytes()
        file.unlink()
        match int(self.rng.integers(3)):
            case 0:
                file.write_bytes(data[: len(data) // 2])
            case 1:
                file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))

    def finish(self, action: str) -> None:
        """The action, without a kill; what killed ones left is no hindrance."""
        assert not self.strike(action, at=0)


def rage(storm: Storm, kills: int) -> None:
    """Kills, checks, goes on; now and then lets an action come to its end."""
    while storm.kills < kills:
        for _ in range(int(storm.rng.integers(3))):
            storm.change()
        timed, workers = bool(storm.rng.integers(4) == 0), 1 + int(storm.rng.integers(20) == 0)
        draw = storm.rng.random()
        if not storm.completions:
            storm.strike("build", timed=timed)
        elif draw < 0.1:
            storm.damage()
            while storm.strike("repair", timed=timed) and storm.rng.random() < 0.7:
                storm.check(damaged=True)
            storm.finish("repair")
        elif draw < 0.35:
            storm.strike("build", timed=timed, workers=workers)
        elif draw < 0.75:
            storm.strike("merge", timed=timed, workers=workers)
        else:
            storm.strike("prune", timed=timed)
        storm.check()
        if storm.rng.random() < 0.15:
            storm.finish(str(storm.rng.choice(["build", "merge"])) if storm.completions else "build")
            storm.check()
    for action in ("build", "prune"):
        storm.finish(action)
        storm.check()
    left = sorted(path.name for path in storm.index.iterdir())
    assert left == ["CURRENT", "LOCK", "generations", "models"], left
