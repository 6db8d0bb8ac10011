from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config_file import ConfigFile, find_config_file, read_config_file
from engine.errors import BadSetting, MissingFile


def written(folder: Path, text: str) -> Path:
    path = folder / "shop.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_values_are_what_one_would_type(tmp_path: Path) -> None:
    path = written(tmp_path, 'threads = 2\n[serve]\nindex = "a b"\nno_page = true\nrate = 2.5\nword = ["x", 3]\n')
    assert read_config_file(path) == ConfigFile(
        path, {"threads": "2"}, {"serve": {"index": "a b", "no_page": "true", "rate": "2.5", "word": ("x", "3")}}
    )


def test_without_a_name_the_file_here_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOOKALIKE_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    assert find_config_file() is None
    (tmp_path / "lookalike.toml").write_text("threads = 3")
    found = find_config_file()
    assert found is not None
    assert found.settings == {"threads": "3"}
    monkeypatch.setenv("LOOKALIKE_CONFIG", str(written(tmp_path, "threads = 4")))
    found = find_config_file()
    assert found is not None
    assert found.settings == {"threads": "4"}


def test_a_file_that_was_named_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(MissingFile, match=r"none\.toml"):
        find_config_file()


@pytest.mark.parametrize("text", ["threads = ", "[serve]\nport = {a = 1}", "when = 2020-01-01", "\ufeffx = 1"])
def test_what_cannot_be_read_is_told_with_the_file(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(BadSetting, match=r"shop\.toml"):
        read_config_file(path)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(data)
    try:
        read_config_file(path)
    except BadSetting as error:
        assert "any.toml" in str(error)
