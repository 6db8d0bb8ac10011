"""More than ten thousand requests drawn from the API's own description: no 5xx but 503, every answer as described.

`LOOKALIKE_SOAK=0.01` makes a hundredth of it.
"""

import json
import os
from pathlib import Path
from time import perf_counter

import pytest

from tests.webui.fuzzing import fuzz
from tests.webui.live_shop import live_shop

SHARE = float(os.environ.get("LOOKALIKE_SOAK", "1"))
REQUESTS = 12_000
ROUNDS = 10


@pytest.mark.soak
def test_ten_thousand_requests_are_answered_as_the_document_says(tmp_path: Path) -> None:
    start = perf_counter()
    by_status: dict[int, int] = {}
    by_operation: dict[str, int] = {}
    for number in range(ROUNDS):
        folder = tmp_path / str(number)
        folder.mkdir()
        with live_shop(folder) as live:
            answered = fuzz(live, round(REQUESTS * SHARE / ROUNDS), first_seed=1000 * (number + 1))
            # whatever was written can be followed, and the index still answers
            assert live.engine.caught_up(live.shop.catalogue.change_number(), timeout_s=120)
            assert live.engine.problem is None
        for (operation, status), count in answered.items():
            by_status[status] = by_status.get(status, 0) + count
            by_operation[operation] = by_operation.get(operation, 0) + count
    figures = {
        "share": SHARE,
        "requests": sum(by_status.values()),
        "by_status": dict(sorted(by_status.items())),
        "by_operation": dict(sorted(by_operation.items())),
        "seconds": round(perf_counter() - start, 1),
    }
    (Path(__file__).parent / "api-fuzz.json").write_text(json.dumps(figures, indent=1) + "\n")
    assert figures["requests"] >= 10_000 * SHARE
    assert all(status < 500 or status == 503 for status in by_status)
