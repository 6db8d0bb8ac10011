"""Whatever is sent, the API answers as its document says. `make soak` sends more than ten thousand."""

from pathlib import Path

from tests.webui.fuzzing import fuzz
from tests.webui.live_shop import live_shop


def test_hundreds_of_requests_drawn_from_the_document_are_answered_as_it_says(tmp_path: Path) -> None:
    with live_shop(tmp_path) as live:
        answered = fuzz(live, 260)
        assert live.engine.caught_up(live.shop.catalogue.change_number(), timeout_s=60)
        assert live.engine.problem is None

    assert sum(answered.values()) >= 200
    statuses = {status for _, status in answered}
    assert {200, 404, 422} <= statuses
    assert all(status < 500 for status in statuses)  # nothing here is ever too much or away
    for operation in ("search", "search_batch", "write_product", "facets", "feedback", "health"):
        assert any(name == operation and status < 300 for name, status in answered), operation
