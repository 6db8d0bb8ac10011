"""Writers killed with `kill -9`, at points with names or at any moment: what was acknowledged is there and found, what
was not is whole or absent, and nothing that was deleted comes back."""

import multiprocessing
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from hashlib import sha256
from itertools import count
from pathlib import Path

from engine.catalogue.store import Catalogue
from engine.errors import UnknownProduct
from engine.search.search_engine import SearchEngine
from engine.sources.photos import read_photo
from engine.updates import Updates, Upsert
from engine.vision.model import Model
from tests.engine.test_updates import vectors
from tests.indexer.shop import Shop, draw, encoder_of, shop
from tests.stepwise import Steps

TIMEOUT_S = 300
REPORT = "report.txt"
KEPT = "kept"  # a product that is there all the time, and changes

State = dict[str, tuple[str | None, frozenset[str]]]  # title and contents of photos, by product


# --- At points with names --------------------------------------------------------------------------------------------


def upserts(number: int) -> list[Upsert]:
    """What the `number`-th writer does, in one transaction: changes a product, and adds one with two new photos."""
    own, shared = draw(number, 0), draw(number, 1)
    return [Upsert(KEPT, f"Title {number}", photos=[shared]), Upsert(f"new{number}", "New", photos=[own, shared])]


def after(state: State, changes: Sequence[Upsert]) -> State:
    """The oracle: the products as they are when all of this is done."""
    state = dict(state)
    for one in changes:
        title, contents = state.get(one.product_id, (None, frozenset()))
        new = frozenset(sha256(photo).hexdigest() for photo in one.photos)
        state[one.product_id] = one.title or title, contents | new
    return state


def write(folder: Path, where: str, number: int) -> None:
    """The process that is killed at its `number`-th step, unless it is done before; it tells what it acknowledges."""
    encoder = encoder_of(Model.open(folder / "model"))
    with Catalogue.open(where) as catalogue:
        steps = Steps(folder / REPORT, folder / "photos", number, statements=True)
        done = Updates(catalogue, encoder, folder / "photos").upsert_many(upserts(number))
        steps.tell(f"acknowledged {done.change_number}")
        steps.over()


def committed(done: list[str]) -> bool:
    """Whether, after these steps, the transaction that writes was committed; readers commit too."""
    logged = [place for place, step in enumerate(done) if step.startswith("INSERT INTO changes")]
    return bool(logged) and "commit" in done[logged[0] :]


def seen(opened: Shop) -> State:
    """The products of the catalogue, whose photos must all be on the disk and have a vector."""
    kept = vectors(opened)
    with opened.catalogue.snapshot() as view:
        titles = {product.product_id: product.title for product in view.products()}
        photos = list(view.photos())
    contents: dict[str, set[str]] = {product_id: set() for product_id in titles}
    for photo in photos:
        assert sha256(read_photo(photo.uri)).hexdigest() == photo.content_hash
        assert photo.content_hash in kept or photo.product_id.startswith("p")  # the shop's first stock was imported
        contents[photo.product_id].add(photo.content_hash)
    return {product_id: (title, frozenset(contents[product_id])) for product_id, title in titles.items()}


def check_found(opened: Shop, engine: SearchEngine, state: State) -> None:
    """A following engine shows these products and no others."""
    assert engine.caught_up(opened.catalogue.change_number(), timeout_s=30)
    assert engine.products == len(state)
    for product_id, (title, contents) in state.items():
        product = engine.product(product_id)
        assert (product.title, len(product.photo_ids)) == (title, len(contents))


def test_an_upsert_killed_at_any_step_is_whole_or_absent(tmp_path: Path, where: str) -> None:
    pool = multiprocessing.get_context("forkserver")
    pool.set_forkserver_preload(["tests.engine.test_killed_updates"])
    killed_at: list[str] = []
    with shop(tmp_path, products=3, where=where) as opened:
        opened.build()
        updates = Updates(opened.catalogue, opened.encoder, tmp_path / "photos")
        updates.upsert(Upsert(KEPT, "Title", photos=[draw(1000, 0)]))
        with SearchEngine.open(opened.index, catalogue=opened.catalogue, encoder=opened.encoder) as engine:
            state = seen(opened)
            for number in count(1):
                process = pool.Process(target=write, args=(tmp_path, where, number))
                process.start()
                process.join(TIMEOUT_S)
                told = (tmp_path / REPORT).read_text().splitlines()
                before, wanted = state, after(state, upserts(number))
                state = seen(opened)
                check_found(opened, engine, state)
                if process.exitcode == 0:
                    assert told[-1] == f"acknowledged {opened.catalogue.change_number()}"
                    assert state == wanted
                    break
                assert process.exitcode == -signal.SIGKILL
                assert len(told) == number
                killed_at.append(told[-1].split()[0])
                assert state == (wanted if committed(told[:-1]) else before), told  # the last step was not done
                updates.upsert_many(upserts(number))  # as whoever got no answer does: once more
                state = seen(opened)
                assert state == wanted
                check_found(opened, engine, state)
            assert engine.problem is None
    assert {"os.mkdir", "open", "os.rename", "INSERT", "UPDATE", "commit", "let"} <= set(killed_at)


# --- At any moment ---------------------------------------------------------------------------------------------------


def kill_writers(folder: Path, kills: int, seed: int, where: str | None = None) -> dict[str, int]:
    """Kills a writer again and again at random moments; after each, what is in the catalogue must be whole, and a
    following engine must find just that. What happened, in numbers: of what was acknowledged, nothing should be lost
    and nothing that was deleted come back."""
    rng = random.Random(seed)
    acknowledged = deletions = lost = came_back = 0
    with shop(folder, products=3, where=where) as opened:
        opened.build()
        database = where or str(folder / "shop.db")
        with SearchEngine.open(opened.index, catalogue=opened.catalogue, encoder=opened.encoder) as engine:
            for number in range(kills):
                lines = _killed_after(opened, database, number, rng.uniform(0.0, 0.5))
                there, gone, doubtful, last = _told(lines)
                acknowledged += sum(verb != "deleting" for verb, *_ in lines)
                deletions += len(gone)
                shown = _shown(opened, engine, f"{number}-", there | gone | doubtful, last)
                lost += len(there - shown)
                came_back += len(gone & shown)
            assert engine.problem is None
    return {
        "kills": kills,
        "acknowledged": acknowledged,
        "deletions": deletions,
        "lost": lost,
        "came_back": came_back,
    }


def _killed_after(opened: Shop, database: str, number: int, seconds: float) -> list[list[str]]:
    """What a writer says until it is killed, so many seconds after its first word."""
    command = [sys.executable, "-m", "tests.engine.crash_writer", database, str(opened.model.path)]
    arguments = [str(opened.folder / "photos"), str(number)]
    with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(seconds)
        process.kill()
        rest = process.stdout.read()
    return [line.split() for line in (first + rest).splitlines(keepends=True) if line.endswith("\n")]


def _told(lines: list[list[str]]) -> tuple[set[str], set[str], set[str], int]:
    """What is acknowledged to be there, what to be gone, what may be either, and the last number told."""
    there: set[str] = set()
    gone: set[str] = set()
    asked: set[str] = set()
    last = 0
    for verb, product_id, *number in lines:
        asked.discard(product_id)
        if verb == "deleting":
            asked.add(product_id)
            there.discard(product_id)
        elif verb == "deleted":
            gone.add(product_id)
        else:
            there.add(product_id)
        last = max([last, *map(int, number)])
    return there, gone, asked, last


def _shown(opened: Shop, engine: SearchEngine, prefix: str, known: set[str], last: int) -> set[str]:
    """The writer's products that the catalogue has, each with the photo that came with it, and that the engine shows.

    One that is not `known` may be among them, which was being written; `last` is the last number told.
    """
    kept = vectors(opened)
    with opened.catalogue.snapshot() as view:
        number = view.change_number
        mine = {product.product_id for product in view.products() if product.product_id.startswith(prefix)}
        photos = view.photos_of_all(mine)
    assert number >= last
    assert len(mine - known) <= 1
    assert {photo.product_id for photo in photos} == mine  # no product without the photo that came with it
    for photo in photos:
        assert photo.content_hash in kept
        assert sha256(read_photo(photo.uri)).hexdigest() == photo.content_hash
    assert engine.caught_up(number, timeout_s=30)
    for product_id in known | mine:
        try:
            found = len(engine.product(product_id).photo_ids) == 1
        except UnknownProduct:
            found = False
        assert found == (product_id in mine), product_id
    return mine


def test_what_was_acknowledged_before_a_kill_is_there_and_found(tmp_path: Path) -> None:
    done = kill_writers(tmp_path, kills=2, seed=1)
    assert done["acknowledged"] >= 2
    assert (done["lost"], done["came_back"]) == (0, 0)


def test_a_kill_on_postgresql_loses_nothing_either(tmp_path: Path, postgres_url: str) -> None:
    done = kill_writers(tmp_path, kills=1, seed=2, where=postgres_url)
    assert done["acknowledged"] >= 1
    assert (done["lost"], done["came_back"]) == (0, 0)
