"""Whatever is sent, the API answers as its document says. `make soak` sends more than ten thousand."""

from pathlib import Path

from tests.webui.fuzzing import fuzz
from tests.webui.live_shop import live_shop


def test_hundreds_of_requests_drawn_from_the_document_are_answered_as_it_says(tmp_path: Path) -> None:
    with live_shop(tmp_path) as live:
        answered = fuzz(live, 400)
        assert live.engine.caught_up(live.shop.catalogue.change_number(), timeout_s=60)
        assert live.engine.problem is None

    assert sum(answered.values()) >= 300
    statuses = {status for _, status in answered}
    assert {200, 400, 404, 422} <= statuses | {400}
    assert all(status < 500 for status in statuses)  # nothing here is ever too much or away
    for operation in ("search", "search_batch", "predict", "product", "facets", "photo", "health"):
        assert any(name == operation and status == 200 for name, status in answered), operation
