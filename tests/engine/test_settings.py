from collections.abc import Iterator

import pytest

from engine.errors import BadSetting
from engine.settings import cores, settings, thread_count


@pytest.fixture(autouse=True)
def read_anew() -> Iterator[None]:
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_defaults_need_no_environment() -> None:
    assert settings().max_photo_pixels == 64_000_000
    assert settings().max_photo_bytes == 20 * 1024 * 1024


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_THREADS", "3")
    assert settings().threads == 3
    assert thread_count() == 3
    assert thread_count(2) == 2


def test_no_threads_asked_for_means_one_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_THREADS", "0")
    assert thread_count() == cores() >= 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOOKALIKE_THREADS", "many"),
        ("LOOKALIKE_THREADS", "-1"),
        ("LOOKALIKE_MAX_PHOTO_PIXELS", "1000000000"),
        ("LOOKALIKE_CATALOGUE_TIMEOUT_S", "0"),
    ],
)
def test_a_value_that_cannot_be_names_its_variable(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSetting, match=f"^{name} is '{value}': .*; correct it or unset it"):
        settings()
