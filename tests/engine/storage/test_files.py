from hashlib import sha256
from pathlib import Path

import pytest

from engine.storage.files import DOOMED, link, remove_leftovers, remove_tree, replacing, sha256_of, write_text


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_file_appears_whole(tmp_path: Path) -> None:
    with replacing(tmp_path / "a") as partial:
        partial.write_bytes(b"new")
        assert names(tmp_path) == ["a.partial"]
    assert (tmp_path / "a").read_bytes() == b"new"
    assert names(tmp_path) == ["a"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "old")
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "a") as partial:
        partial.write_bytes(b"half")
        raise ZeroDivisionError
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_a_reader_of_the_old_file_keeps_it(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "old")
    with (tmp_path / "a").open() as reader:
        write_text(tmp_path / "a", "new")
        assert reader.read() == "old"


def test_a_linked_file_is_never_written_through(tmp_path: Path) -> None:
    write_text(tmp_path / "published", "precious")
    (tmp_path / "a.partial").hardlink_to(tmp_path / "published")  # what a kill in the middle of `link` leaves
    write_text(tmp_path / "a", "new")
    assert (tmp_path / "published").read_text() == "precious"
    link(tmp_path / "published", tmp_path / "a")
    assert (tmp_path / "a").samefile(tmp_path / "published")
    link(tmp_path / "published", tmp_path / "a")  # again
    write_text(tmp_path / "a", "newer")
    assert (tmp_path / "published").read_text() == "precious"
    assert names(tmp_path) == ["a", "published"]


def test_a_directory_that_is_removed_is_whole_or_gone(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    (tmp_path / "b").rename(tmp_path / f"{DOOMED}a")  # a removal that was interrupted
    remove_tree(tmp_path / "a")
    assert names(tmp_path) == []
    (tmp_path / f"{DOOMED}c").mkdir()
    remove_leftovers(tmp_path)
    assert names(tmp_path) == []


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(data)
    assert sha256_of(tmp_path / "a") == sha256(data).hexdigest()


def test_removing_what_is_not_there_is_fine(tmp_path: Path) -> None:
    remove_tree(tmp_path / "nowhere")
