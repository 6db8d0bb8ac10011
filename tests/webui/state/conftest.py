"""A state on both databases."""

from collections.abc import Iterator

import pytest

from webui.state.state import State


@pytest.fixture
def state(where: str) -> Iterator[State]:
    """A new state without keys, on SQLite and on PostgreSQL."""
    with State.open(where, create=True) as opened:
        yield opened
