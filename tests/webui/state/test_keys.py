"""Keys: made once, kept as hashes, revoked for good."""

import re
import sqlite3
from pathlib import Path

import pytest

from engine.errors import BadCall
from webui.state.key_store import KNOWN_FOR_S, KnownKeys
from webui.state.keys import ApiKey, Scope, digest_of, new_secret, public_part
from webui.state.state import State


def test_a_key_is_256_random_bits_behind_a_public_id() -> None:
    made = [new_secret() for _ in range(100)]

    assert all(re.fullmatch(r"lk_[0-9a-f]{12}_[0-9a-f]{64}", one.text) for one in made)
    assert all(one.text.startswith(f"{one.key_id}_") for one in made)
    assert len({one.text.split("_")[2] for one in made}) == len({one.key_id for one in made}) == 100
    assert made[0].text.split("_")[2] not in repr(made[0])


@pytest.mark.parametrize(
    ("text", "public"),
    [("lk_0123456789ab", "lk_0123456789ab"), ("lk_0123456789ab_" + "f" * 64, "lk_0123456789ab"), ("f" * 99, "f" * 20)],
)
def test_no_more_than_the_id_of_a_key_gets_into_sentences(text: str, public: str) -> None:
    assert public_part(text) == public


@pytest.mark.parametrize("strange", ["", "ü", "\udcff", "\x00", "x" * 100_000])
def test_any_text_has_a_digest(strange: str) -> None:
    assert len(digest_of(strange)) == 32


def test_keys_are_listed_in_the_order_in_which_they_were_made_with_all_that_is_known(state: State) -> None:
    first = state.keys.create("Shop ☂", Scope.READ)
    second = state.keys.create("merchandiser", Scope.WRITE, per_minute=30)
    state.keys.revoke(first.key_id)

    listed = state.keys.list()

    assert [(key.key_id, key.name, key.scope, key.per_minute) for key in listed] == [
        (first.key_id, "Shop ☂", Scope.READ, None),
        (second.key_id, "merchandiser", Scope.WRITE, 30),
    ]
    assert listed[1].revoked is None
    assert listed[0].revoked is not None
    assert listed[0].created <= listed[0].revoked


def test_a_revoked_key_stays_revoked_at_the_time_of_the_first_time(state: State) -> None:
    secret = state.keys.create("shop", Scope.READ)

    first = state.keys.revoke(secret.key_id)

    assert first.revoked is not None
    assert state.keys.revoke(secret.text) == first


def test_a_key_that_there_is_not_is_told_without_what_may_be_secret(state: State) -> None:
    stranger = new_secret()

    with pytest.raises(BadCall, match=stranger.key_id) as raised:
        state.keys.revoke(stranger.text)

    assert stranger.text.split("_")[2][:8] not in str(raised.value)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 201, "\x00"])
def test_names_that_would_spoil_a_listing_are_refused(state: State, name: str) -> None:
    with pytest.raises(BadCall, match="name"):
        state.keys.create(name, Scope.READ)
    assert state.keys.list() == []


@pytest.mark.parametrize("per_minute", [0, -1, 10**9])
def test_a_rate_that_cannot_be_makes_no_key(state: State, per_minute: int) -> None:
    with pytest.raises(BadCall, match="rate"):
        state.keys.create("shop", Scope.READ, per_minute=per_minute)
    assert state.keys.list() == []


def test_no_byte_of_a_secret_is_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with State.open(path, create=True) as state:
        secret = state.keys.create("shop", Scope.READ)
        state.admit(secret.text, Scope.READ)
        written = b"".join(file.read_bytes() for file in tmp_path.iterdir())  # the write-ahead log too

    assert secret.key_id.encode() in written
    assert digest_of(secret.text) in written
    hidden = secret.text.split("_")[2]
    assert hidden.encode() not in written
    assert bytes.fromhex(hidden) not in written


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    with State.open(tmp_path / "state.db", create=True) as state:
        state.keys.create("shop", Scope.READ)
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}

    assert len(modes) == 3  # the file, its log and the log's index
    assert set(modes.values()) == {0o600}


def test_what_a_revocation_wrote_is_synced(tmp_path: Path) -> None:
    with State.open(tmp_path / "state.db", create=True) as state:
        database = state._database
        for engine, level in ((database.durable, 2), (database.quick, 1)):
            with engine.connect() as connection:
                assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == level
                assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    assert sqlite3.sqlite_version_info >= (3, 35)  # RETURNING


# --- What a process knows of them ------------------------------------------------------------------------------------


class Reader:
    """Counts how often it is asked; answers or raises what it is told to. Its clock stands until it is moved."""

    def __init__(self) -> None:
        self.asked = 0
        self.time = 100.0
        self.takes_s = 0.0
        self.answer: dict[bytes, ApiKey] | Exception = {}

    def read(self) -> dict[bytes, ApiKey]:
        self.asked += 1
        self.time += self.takes_s
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_keys_are_read_once_in_a_while_however_often_they_are_needed() -> None:
    reader = Reader()
    known = KnownKeys(reader.read, lambda: reader.time)

    for _ in range(1000):
        known.now()
    assert reader.asked == 1

    reader.time += KNOWN_FOR_S
    known.now()
    assert reader.asked == 2


def test_what_was_read_is_as_old_as_the_moment_when_reading_began() -> None:
    reader = Reader()
    reader.takes_s = KNOWN_FOR_S  # so slowly that a key may have been revoked before the answer was there
    known = KnownKeys(reader.read, lambda: reader.time)

    known.now()
    known.now()

    assert reader.asked == 2


def test_a_state_that_fails_is_left_alone_for_a_moment_and_then_asked_again() -> None:
    reader = Reader()
    reader.answer, reader.takes_s = BadCall("Down."), 3.0
    known = KnownKeys(reader.read, lambda: reader.time)

    for _ in range(100):
        with pytest.raises(BadCall, match="Down"):
            known.now()
    assert reader.asked == 1

    reader.answer = {}
    reader.time += KNOWN_FOR_S
    assert known.now() == {}
