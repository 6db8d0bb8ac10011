"""Strings in two arrays are the strings."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.storage.texts import Texts, TextWriter

STRINGS = st.lists(st.text(max_size=8), max_size=30)


@settings(deadline=None)
@given(STRINGS, st.data())
def test_taken_strings_are_those_asked_for(strings: list[str], data: st.DataObject) -> None:
    made = Texts.of(strings)
    assert list(made) == strings
    chosen = data.draw(st.lists(st.integers(0, len(strings) - 1), max_size=20)) if strings else []
    assert list(made.take(np.array(chosen, np.int64))) == [strings[position] for position in chosen]
    assert made.to_arrow().to_pylist() == strings


@settings(deadline=None)
@given(STRINGS)
def test_strings_read_back_as_they_were_written(strings: list[str]) -> None:
    with TemporaryDirectory() as folder:
        stem = Path(folder) / "names"
        with TextWriter(stem) as writer:
            writer.extend(strings)
        read = Texts.open(stem)
        assert list(read) == strings
        assert read.to_arrow().to_pylist() == strings


def test_long_columns_get_wide_offsets() -> None:
    made = Texts.of(["a", "bc"])
    assert str(made.to_arrow().type) == "string"
    wide = made.to_arrow(small_below=3)
    assert str(wide.type) == "large_string"
    assert wide.to_pylist() == ["a", "bc"]
