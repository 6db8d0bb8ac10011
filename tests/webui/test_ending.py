"""SIGTERM under load, as an orchestrator sends it: requests in flight are answered, and the process ends with 0."""

from pathlib import Path

import pytest

from tests.indexer.shop import Shop
from tests.webui.ending import end_under_load


@pytest.mark.parametrize("options", [("--threads", "2", "--queue", "2"), ("--workers", "2")])
def test_nothing_in_flight_is_lost(built_shop: Shop, tmp_path: Path, options: tuple[str, ...]) -> None:
    found = end_under_load(built_shop, tmp_path / "log", *options)

    assert (found["exit_code"], found["lost"], found["strange"], found["traceback"]) == (0, [], [], False)
    assert set(found["statuses"]) <= {200, 503}
    assert found["statuses"][200] > 0
