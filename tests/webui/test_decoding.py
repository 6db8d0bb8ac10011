"""Decoding in child processes: the same pixels as here, and whatever a photo does to its child stays there."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.errors import BadImage, Busy, Unavailable
from engine.settings import settings
from engine.vision.preprocess import load
from tests.fakes import photo_bytes, small_preprocess
from tests.webui.hostile_jobs import CoreLimit, Devour, Die, Echo, Exceed, Hang, Leave, Stumble, Write
from tests.webui.malformed import scan_bomb
from webui.decoding import NAME, DecodingPool
from webui.decoding_child import Job
from webui.thumbnails import thumbnail

PREPROCESS = small_preprocess()
RED, BLUE = photo_bytes((200, 30, 30)), photo_bytes((30, 30, 200), kind="JPEG", side=300)
GENEROUS_S = 60.0  # where nothing should take long, however busy the machine is
SHORT_S = 3.0  # where something never ends


@pytest.fixture(scope="module", autouse=True)
def fork_server_of_our_own() -> None:
    """What other tests left has torch in it, and with that so much memory freed again that large pictures fit in."""
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def deaths() -> list[object]:
    """An entry for every child of `pool` that was ended."""
    return []


@pytest.fixture(scope="module")
def pool(deaths: list[object]) -> Iterator[DecodingPool]:
    with DecodingPool(processes=2, timeout_s=GENEROUS_S, on_death=lambda: deaths.append(None)) as pool:
        yield pool


@pytest.fixture(scope="module")
def impatient() -> Iterator[DecodingPool]:
    """One child, and little patience with it."""
    with DecodingPool(processes=1, timeout_s=SHORT_S) as pool:
        yield pool


def children() -> list[int]:
    """The process ids of all decoders."""
    return [child.pid for child in multiprocessing.active_children() if child.name == NAME and child.pid is not None]


def still_decodes(pool: DecodingPool) -> bool:
    for _ in range(10):  # a busy machine may need longer than the patience to start a child
        try:
            return np.array_equal(pool(RED, "red", PREPROCESS), load(RED, "red", PREPROCESS))
        except Busy:
            continue
    return False


# --- What comes back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("box", [None, (0.1, 0.2, 0.7, 0.9)])
def test_a_photo_becomes_what_it_becomes_here(
    pool: DecodingPool, kind: str, box: tuple[float, float, float, float] | None
) -> None:
    data = photo_bytes((90, 160, 30), side=200, kind=kind)

    found = pool(data, "a photo", PREPROCESS, box)

    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, load(data, "a photo", PREPROCESS, box))


def test_a_thumbnail_is_the_one_made_here(pool: DecodingPool) -> None:
    assert pool.thumbnail(BLUE, "blue", 64) == thumbnail(BLUE, "blue", 64)


@pytest.mark.parametrize("data", [b"", b"text", b"GIF89a" + bytes(50), RED[:200], b"\xff\xd8\xff" + bytes(99)])
def test_what_is_no_picture_is_told_as_here(pool: DecodingPool, deaths: list[object], data: bytes) -> None:
    with pytest.raises(BadImage) as here:
        load(data, "photo 7", PREPROCESS)
    before = len(deaths)

    with pytest.raises(BadImage) as there:
        pool(data, "photo 7", PREPROCESS)

    assert str(there.value) == str(here.value)
    assert len(deaths) == before  # no need for a fresh child


def test_the_server_s_limits_hold_in_children_that_were_forked_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_MAX_PHOTO_PIXELS", "2000")
    settings.cache_clear()
    try:
        with DecodingPool(processes=1, timeout_s=GENEROUS_S) as strict, pytest.raises(BadImage, match="2,000 pixels"):
            strict(RED, "a photo", PREPROCESS)
    finally:
        monkeypatch.undo()
        settings.cache_clear()


# --- What a photo may do to its child --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (Die(), "ends its decoder"),
        (Die(number=signal.SIGSEGV), "ends its decoder"),
        (Leave(), "ends its decoder"),
        (Devour(), "more memory"),
        (Stumble(), "cannot be decoded"),
        (Exceed(), "ends its decoder"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_photo_that_ends_its_child_is_a_bad_image_and_the_next_is_answered(
    pool: DecodingPool, deaths: list[object], job: Job, said: str
) -> None:
    before = len(deaths)

    with pytest.raises(BadImage, match=f"photo 7 .*{said}"):
        pool.run(job, RED, "photo 7")

    assert len(deaths) == before + 1
    assert still_decodes(pool)


def test_a_mistake_of_ours_is_in_the_log_and_not_in_the_answer(
    pool: DecodingPool, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(BadImage) as raised:
        pool.run(Stumble(), RED, "photo 7")

    assert "ZeroDivisionError: of" in caplog.text
    assert "ZeroDivision" not in str(raised.value)


def test_a_child_that_hangs_is_replaced(impatient: DecodingPool) -> None:
    with pytest.raises(BadImage, match=r"photo 7 takes more than 3 seconds"):
        impatient.run(Hang(), RED, "photo 7")

    assert still_decodes(impatient)


def test_a_child_that_does_not_even_listen_is_replaced(impatient: DecodingPool) -> None:
    assert still_decodes(impatient)
    (child,) = impatient.pids
    os.kill(child, signal.SIGSTOP)

    with pytest.raises(BadImage, match="photo 7 takes more than"):
        impatient.run(Echo(), bytes(20_000_000), "photo 7")  # more than fits into the socket

    assert still_decodes(impatient)
    assert impatient.pids != (child,)


def test_a_small_file_that_takes_for_ever_is_refused(impatient: DecodingPool) -> None:
    with pytest.raises(BadImage, match="takes more than"):
        impatient(scan_bomb(), "photo 7", PREPROCESS)

    assert still_decodes(impatient)


def test_a_picture_that_takes_too_much_memory_is_refused() -> None:
    file = BytesIO()
    Image.new("RGB", (4800, 4800)).save(file, "PNG", compress_level=1)  # 66 MiB
    with DecodingPool(processes=1, timeout_s=GENEROUS_S, memory_bytes=32 * 1024**2) as frugal:
        with pytest.raises(BadImage, match="photo 7 takes more memory"):
            frugal(file.getvalue(), "photo 7", PREPROCESS)

        assert still_decodes(frugal)


def test_a_child_that_ends_while_idle_costs_no_photo(pool: DecodingPool) -> None:
    before = pool.pids
    for child in before:
        os.kill(child, signal.SIGKILL)
    while any(child in children() for child in before):
        time.sleep(0.01)

    assert still_decodes(pool)
    assert not set(before) & set(pool.pids)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_that_mean_the_server_do_not_end_its_children(number: signal.Signals) -> None:
    deaths: list[object] = []
    with DecodingPool(processes=2, timeout_s=GENEROUS_S, on_death=lambda: deaths.append(None)) as fresh:
        before = fresh.pids  # all are ready, none is just being started
        for child in before:
            os.kill(child, number)

        assert still_decodes(fresh)
        assert still_decodes(fresh)
        assert (fresh.pids, deaths) == (before, [])


def test_a_program_that_never_closes_its_pool_ends_all_the_same() -> None:
    program = "from webui.decoding import DecodingPool; print(*DecodingPool(processes=2).pids)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=300, text=True, check=True)

    for child in map(int, ended.stdout.split()):
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)


def test_a_child_cannot_leave_a_photo_on_the_disk(pool: DecodingPool, tmp_path: Path) -> None:
    path = tmp_path / "photo"

    said = pool.run(Write(path=str(path)), RED, "photo 7")

    assert bytes(said) == b"File too large"
    assert not path.exists() or path.read_bytes() == b""
    assert bytes(pool.run(CoreLimit(), RED, "photo 7")) == b"(0, 0)"


# --- Many at once ----------------------------------------------------------------------------------------------------


def test_answers_never_change_hands_while_children_die(pool: DecodingPool) -> None:
    def ask(number: int) -> bool:
        own = f"photo {number}".encode() * 3000
        if number % 7 == 0:
            with pytest.raises(BadImage, match=f"photo {number} "):
                pool.run(Die(), own, f"photo {number}")
            return True
        return bytes(pool.run(Echo(), own, f"photo {number}")) == own

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, random.Random(0).sample(range(1, 101), 100)))

    assert still_decodes(pool)


def test_where_all_decoders_are_taken_one_is_told_to_come_again() -> None:
    with DecodingPool(processes=1, timeout_s=SHORT_S) as small, ThreadPoolExecutor(8) as threads:
        waiting = [threads.submit(small.run, Hang(), RED, "a photo") for _ in range(8)]

        kinds = {type(one.exception()) for one in waiting}

    assert kinds == {BadImage, Busy}


# --- The end ---------------------------------------------------------------------------------------------------------


def test_a_closed_pool_leaves_nobody_and_says_so() -> None:
    others = set(children())
    closed = DecodingPool(processes=2, timeout_s=GENEROUS_S)
    mine = set(closed.pids)
    assert len(mine) == 2
    assert mine <= set(children())
    hanging = ThreadPoolExecutor(1)
    answer = hanging.submit(closed.run, Hang(), RED, "a photo")
    sent = threading.Timer(0.5, closed.close)
    sent.start()

    assert isinstance(answer.exception(GENEROUS_S), Unavailable)
    sent.join()
    hanging.shutdown()
    assert set(children()) <= others
    with pytest.raises(Unavailable):
        closed(RED, "a photo", PREPROCESS)
    closed.close()  # once more does nothing
