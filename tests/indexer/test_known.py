"""Vectors are found by content as a dict would find them, even where somebody made contents alike on purpose."""

from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from indexer.journal import JournalWriter, read_journal, record_type
from indexer.known import ContentIndex, ScatteredVectors, VectorFile, first_of_each, journal_source

# few heads and few tails, so that heads meet often and whole contents sometimes
CONTENTS = st.lists(
    st.builds(lambda head, tail: bytes([head] * 8 + [tail] * 24), st.integers(0, 2), st.integers(0, 3)), max_size=30
)


def rows(contents: list[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(contents), np.uint8).reshape(-1, 32)


@settings(deadline=None)
@given(st.lists(CONTENTS, max_size=4), CONTENTS)
def test_contents_are_found_where_a_dict_has_them(parts: list[list[bytes]], wanted: list[bytes]) -> None:
    places: dict[bytes, int] = {}
    for place, content in enumerate(content for part in parts for content in part):
        places.setdefault(content, place)
    found = ContentIndex([rows(part) for part in parts]).find(rows(wanted))
    assert found.tolist() == [places.get(content, -1) for content in wanted]


@settings(deadline=None)
@given(CONTENTS)
def test_every_content_is_kept_once_at_its_first_place(contents: list[bytes]) -> None:
    positions = np.arange(len(contents))
    kept = first_of_each(rows(contents), positions).tolist()
    assert {contents[position] for position in kept} == set(contents)
    assert {contents.index(content) for content in contents} <= set(kept)
    if len({content[:8] for content in contents}) == len(set(contents)):
        assert len(kept) == len(set(contents))


def write(path: Path, count: int, dim: int = 4) -> tuple[list[bytes], NDArray[np.float16]]:
    rng = np.random.default_rng(count)
    contents = [rng.bytes(32) for _ in range(count)]
    vectors = rng.standard_normal((count, dim)).astype(np.float16)
    with JournalWriter(path, dim) as writer:
        for start in range(0, count, 3):
            writer.append(contents[start : start + 3], vectors[start : start + 3])
    return contents, vectors


def test_a_journal_cut_anywhere_gives_the_whole_records_before(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    contents, vectors = write(path, 5)
    data = path.read_bytes()
    size = record_type(4).itemsize
    assert len(data) == 5 * size
    for end in range(len(data) + 1):
        path.write_bytes(data[:end])
        records = read_journal(path, 4)
        assert [record.tobytes() for record in records["content"]] == contents[: end // size]
        assert np.array_equal(records["vector"], vectors[: end // size])


@pytest.mark.parametrize("damage", ["flip", "zero"])
def test_a_journal_damaged_anywhere_gives_the_records_before(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.journal"
    write(path, 3)
    data = path.read_bytes()
    size = record_type(4).itemsize
    for position in range(0, len(data), 7):
        if damage == "flip":
            broken = data[:position] + bytes([data[position] ^ 8]) + data[position + 1 :]
        else:
            broken = data[:position] + bytes(len(data) - position)
        path.write_bytes(broken)
        assert len(read_journal(path, 4)) == position // size


def test_a_record_of_zeros_is_no_record() -> None:
    assert crc32(bytes(record_type(4).itemsize - 4), 1) != 0


def test_rows_of_several_files_are_gathered_in_any_order(tmp_path: Path) -> None:
    _, first = write(tmp_path / "a.journal", 7)
    second = np.random.default_rng(1).standard_normal((5, 4)).astype(np.float16)
    np.save(tmp_path / "b.npy", second)
    files = (journal_source(tmp_path / "a.journal", 4).file, VectorFile(tmp_path / "b.npy", "npy", 5, 4))
    places = np.random.default_rng(2).permutation(12)
    scattered = ScatteredVectors(files, places)
    everything = np.concatenate([first, second])
    assert np.array_equal(scattered[:], everything[places])
    assert np.array_equal(scattered[2:9], everything[places[2:9]])
    assert np.array_equal(scattered[np.array([4, 4, 0])], everything[places[[4, 4, 0]]])
    assert scattered[:0].shape == (0, 4)
