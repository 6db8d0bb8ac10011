"""Opening a state, and who is let through."""

import pickle
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic, sleep

import pytest

from engine.catalogue.store import Catalogue
from engine.errors import (
    BadCall,
    DamagedFile,
    Forbidden,
    MissingFile,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnsupportedFormat,
)
from tests.postgres import PostgresServer
from webui.ports import Feedback
from webui.state.key_store import KNOWN_FOR_S
from webui.state.keys import Scope, new_secret
from webui.state.opening import Access, access_for_server, is_loopback
from webui.state.rates import Rate
from webui.state.state import Policy, State, beside

OPEN = Policy(open_without_keys=True)


# --- Who is let through ----------------------------------------------------------------------------------------------


def test_without_any_key_everybody_may_do_everything_where_that_is_the_policy(where: str) -> None:
    with State.open(where, create=True, policy=OPEN) as state:
        assert state.admit(None, Scope.WRITE) is None
        assert state.admit("a key of another server", Scope.WRITE) is None


def test_without_any_key_nobody_may_do_anything_by_default(state: State) -> None:
    for key in (None, "", new_secret().text):
        with pytest.raises(Unauthorized, match="lookalike keys create"):
            state.admit(key, Scope.READ)


def test_the_first_key_closes_the_door_within_a_second(where: str) -> None:
    with State.open(where, create=True, policy=OPEN) as state, State.open(where) as elsewhere:
        assert state.admit(None, Scope.READ) is None
        secret = elsewhere.keys.create("shop", Scope.READ)
        sleep(1)
        with pytest.raises(Unauthorized):
            state.admit(None, Scope.READ)
        caller = state.admit(secret.text, Scope.READ)
        assert caller is not None
        assert (caller.key_id, caller.name) == (secret.key_id, "shop")


def test_a_key_that_is_revoked_elsewhere_is_refused_within_a_second(state: State, where: str) -> None:
    secret = state.keys.create("shop", Scope.READ)
    state.admit(secret.text, Scope.READ)
    with State.open(where) as elsewhere:
        elsewhere.keys.revoke(secret.key_id)
    sleep(1)
    with pytest.raises(Unauthorized, match="revoked"):
        state.admit(secret.text, Scope.READ)


def test_a_door_whose_keys_are_all_revoked_stays_closed(where: str) -> None:
    with State.open(where, create=True, policy=OPEN) as state:
        state.keys.revoke(state.keys.create("shop", Scope.READ).key_id)
        with pytest.raises(Unauthorized):
            state.admit(None, Scope.READ)


def test_who_reads_may_not_write_and_who_writes_may_read(state: State) -> None:
    reader, writer = (state.keys.create("k", scope).text for scope in Scope)

    assert state.admit(reader, Scope.READ)
    assert state.admit(writer, Scope.READ)
    assert state.admit(writer, Scope.WRITE)
    with pytest.raises(Forbidden, match="--scope write"):
        state.admit(reader, Scope.WRITE)


def test_a_key_is_taken_to_the_letter(state: State) -> None:
    text = state.keys.create("k", Scope.READ).text

    for near in (text[:-1], text + "0", text.upper(), text[:15], f" {text}", text.replace("lk_", ""), ""):
        with pytest.raises(Unauthorized):
            state.admit(near, Scope.READ)


def test_no_sentence_has_a_secret(state: State) -> None:
    secret = state.keys.create("k", Scope.READ)
    said = []
    for key, needed in ((secret.text, Scope.WRITE), (new_secret().text, Scope.READ)):
        with pytest.raises((Forbidden, Unauthorized)) as raised:
            state.admit(key, needed)
        said.append((key, str(raised.value)))

    for key, sentence in said:
        assert key.split("_")[2][:6] not in sentence
    assert secret.key_id in said[0][1]


def test_each_key_has_the_servers_rate_or_its_own(where: str) -> None:
    with State.open(where, create=True, policy=Policy(rate=Rate(per_minute=2, burst=3))) as state:
        usual = state.keys.create("usual", Scope.READ).text
        own = state.keys.create("own", Scope.READ, per_minute=1).text
        for _ in range(3):
            state.admit(usual, Scope.READ)
        state.admit(own, Scope.READ)

        with pytest.raises(TooManyRequests, match="2 requests a minute") as raised:
            state.admit(usual, Scope.READ)
        assert 0 < raised.value.retry_after_s <= 60
        with pytest.raises(TooManyRequests, match="1 requests a minute"):
            state.admit(own, Scope.READ)


def test_what_is_refused_for_another_reason_is_not_counted(where: str) -> None:
    with State.open(where, create=True, policy=Policy(rate=Rate(per_minute=1, burst=1))) as state:
        key = state.keys.create("k", Scope.READ).text
        for _ in range(5):
            with pytest.raises(Forbidden):
                state.admit(key, Scope.WRITE)
        assert state.admit(key, Scope.READ)


def test_without_a_rate_nothing_is_counted(where: str) -> None:
    with State.open(where, create=True, policy=Policy(rate=None)) as state:
        key = state.keys.create("k", Scope.READ).text
        for _ in range(200):
            state.admit(key, Scope.READ)


def test_the_pages_key_reads_and_is_no_key_of_the_state(where: str) -> None:
    page = new_secret().text
    with State.open(where, create=True, policy=Policy(rate=Rate(1, 1), open_without_keys=True, page_key=page)) as state:
        for _ in range(5):
            assert state.admit(page, Scope.READ)
        with pytest.raises(Forbidden):
            state.admit(page, Scope.WRITE)
        assert state.keys.list() == []
        assert state.admit(None, Scope.WRITE) is None
        assert page not in repr(state.policy)
        state.keys.create("shop", Scope.READ)
        assert state.admit(page, Scope.READ)


def test_threads_share_a_state(state: State) -> None:
    key = state.keys.create("k", Scope.READ, per_minute=60).text  # ten at once

    def ask(_: int) -> bool:
        try:
            state.admit(key, Scope.READ)
        except TooManyRequests:
            return False
        return True

    began = monotonic()
    with ThreadPoolExecutor(8) as threads:
        passed = sum(threads.map(ask, range(60)))
    assert 10 <= passed <= 10 + (monotonic() - began)


def test_what_a_worker_process_needs_to_open_it_can_be_sent_to_one(state: State) -> None:
    key = state.keys.create("k", Scope.READ).text
    access = pickle.loads(pickle.dumps(Access(state.place, state.policy)))
    with access.open() as again:
        assert again.policy == state.policy
        assert again.admit(key, Scope.READ)
    assert state.admit(key, Scope.READ)


# --- A database that is not there for a while ------------------------------------------------------------------------


def test_a_server_that_stops_is_unavailable_and_found_again_when_it_is_back(
    postgres_url: str, postgres_server: PostgresServer
) -> None:
    with State.open(postgres_url, create=True) as state:
        key = state.keys.create("k", Scope.READ).text
        state.admit(key, Scope.READ)
        postgres_server.stop("immediate")
        try:
            for _ in range(3):
                with pytest.raises(Unavailable, match="state"):
                    state.admit(key, Scope.READ)
                with pytest.raises(Unavailable, match="state"):
                    state.record(Feedback("not_found", "r-1"))
        finally:
            postgres_server.start()
        sleep(KNOWN_FOR_S)  # for so long it is left alone

        assert state.admit(key, Scope.READ)
        state.record(Feedback("not_found", "r-1"))


def test_a_server_that_is_not_there_is_told_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="state") as raised:
        State.open(f"postgresql://shop:geheim@/state?host={tmp_path}")
    assert "geheim" not in str(raised.value)


# --- Opening ---------------------------------------------------------------------------------------------------------


def test_what_was_made_is_there_when_it_is_opened_again(where: str) -> None:
    with State.open(where, create=True) as state:
        key = state.keys.create("k", Scope.READ).text
    with State.open(where, create=True) as state:
        assert state.admit(key, Scope.READ)
        assert len(state.keys.list()) == 1


def test_several_who_make_it_at_once_make_one(where: str) -> None:
    def make(_: int) -> str:
        with State.open(where, create=True) as state:
            return state.keys.create("k", Scope.READ).key_id

    with ThreadPoolExecutor(6) as threads:
        made = set(threads.map(make, range(6)))
    with State.open(where) as state:
        assert {key.key_id for key in state.keys.list()} == made


def test_a_state_that_is_not_there_names_the_command_that_makes_one(tmp_path: Path, postgres_url: str) -> None:
    for nowhere in (tmp_path / "none.db", postgres_url):
        with pytest.raises(MissingFile, match="lookalike keys create"):
            State.open(nowhere)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="--state"):
        State.open(tmp_path / "none" / "state.db", create=True)


def test_a_catalogue_is_no_place_for_a_state(catalogue: Catalogue, where: str) -> None:
    with pytest.raises(BadCall, match="database of its own"):
        State.open(where, create=True)
    assert catalogue.change_number() == 0


def test_a_file_that_is_no_database_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database at all, but long enough to be looked at" * 30)
    with pytest.raises(DamagedFile):
        State.open(tmp_path / "state.db", create=True)


def test_a_state_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    State.open(path, create=True).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE state_format SET number = 2")
    connection.close()
    with pytest.raises(UnsupportedFormat, match="newer Lookalike"):
        State.open(path, create=True)


def test_other_databases_are_refused() -> None:
    with pytest.raises(BadCall, match="A state cannot live at mysql"):
        State.open("mysql://host/state")


@pytest.mark.parametrize(
    ("index", "state"),
    [
        ("shop/index", "shop/index.state.db"),
        ("shop/index/", "shop/index.state.db"),
        ("shop/a/../b/.", "shop/b.state.db"),
    ],
)
def test_a_state_lives_beside_its_index(
    index: str, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert beside(Path(index)) == tmp_path / state
    assert beside(tmp_path / index) == tmp_path / state


def test_an_index_that_is_switched_by_a_link_keeps_its_state(tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    (tmp_path / "current").symlink_to("v1")
    assert beside(tmp_path / "current") == tmp_path / "current.state.db"


# --- A server that is about to listen --------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_is_open_until_there_is_a_key(tmp_path: Path, host: str) -> None:
    access = access_for_server(tmp_path / "index", None, host=host, rate=None, remark=pytest.fail)
    assert access is not None
    assert str(access.place) == str(tmp_path / "index.state.db")
    with access.open() as state:
        assert state.admit(None, Scope.WRITE) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "shop.example", "", "::ffff:127.0.0.1", "127.1"])
def test_elsewhere_nobody_listens_without_a_key_that_works(tmp_path: Path, host: str) -> None:
    assert not is_loopback(host)
    where = str(tmp_path / "state.db")
    with pytest.raises(BadCall, match=r"lookalike keys create NAME --state .*state\.db"):
        access_for_server(tmp_path / "index", where, host=host, rate=None, remark=pytest.fail)

    with State.open(where, create=True) as state:
        revoked, works = (state.keys.create("k", Scope.READ) for _ in range(2))
        state.keys.revoke(revoked.key_id)
        state.keys.revoke(works.key_id)
    with pytest.raises(BadCall, match="no API key that works"):
        access_for_server(tmp_path / "index", where, host=host, rate=None, remark=pytest.fail)

    with State.open(where) as state:
        key = state.keys.create("k", Scope.READ)
    access = access_for_server(tmp_path / "index", where, host=host, rate=Rate(1, 1), remark=pytest.fail)
    assert access is not None
    with access.open() as opened:
        assert opened.admit(key.text, Scope.READ)
        with pytest.raises(Unauthorized):
            opened.admit(None, Scope.READ)


def test_an_index_in_a_folder_that_cannot_be_written_is_served_on_loopback_alone(tmp_path: Path) -> None:
    index = tmp_path / "gone" / "index"  # a folder that is not there cannot be written by root either
    said: list[str] = []

    assert access_for_server(index, None, host="127.0.0.1", rate=None, remark=said.append) is None
    assert len(said) == 1
    assert "--state" in said[0]
    with pytest.raises(BadCall, match="lookalike keys create"):
        access_for_server(index, None, host="0.0.0.0", rate=None, remark=said.append)
    with pytest.raises(MissingFile):
        access_for_server(index, str(index / "state.db"), host="127.0.0.1", rate=None, remark=said.append)


def test_a_state_that_is_there_and_cannot_be_read_leaves_no_door_open(tmp_path: Path) -> None:
    beside(tmp_path / "index").write_bytes(b"what is left of a state" * 100)
    with pytest.raises(DamagedFile):
        access_for_server(tmp_path / "index", None, host="127.0.0.1", rate=None, remark=pytest.fail)
