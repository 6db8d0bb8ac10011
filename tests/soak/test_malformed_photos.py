"""Every malformed file through the whole API, one by one against the clock, then eight at once."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

import pytest

from tests.indexer.shop import shop
from tests.webui.malformed import corpus
from tests.webui.test_malformed_photos import checked, serving

RESULT = Path(__file__).parent / "malformed-photos.json"
LIMIT_S = 3.0  # seconds in which every file must have its answer


@pytest.mark.soak
def test_every_malformed_file_is_answered_within_three_seconds(tmp_path: Path) -> None:
    files = corpus()
    seconds: dict[str, float] = {}
    statuses: dict[str, Counter[int]] = {}
    with shop(tmp_path, products=30) as stocked:
        stocked.build()
        with serving(stocked, processes=0, timeout_s=None) as served:
            for file in files:
                start = monotonic()
                status = checked(served, file)
                seconds[f"{file.kind}: {file.name}"] = round(monotonic() - start, 3)
                statuses.setdefault(file.kind, Counter())[status] += 1
            with ThreadPoolExecutor(8) as threads:  # where decoders may all be taken
                answers = threads.map(served.search, [file.data for file in files])
                at_once = Counter(answer.status_code for answer in answers)
            assert served.answers_on()
            deaths = served.pool.deaths
    slowest = sorted(seconds.items(), key=lambda item: -item[1])[:10]
    figures = {
        "files": len(files),
        "statuses_by_kind": {kind: _named(counts) for kind, counts in statuses.items()},
        "statuses_eight_at_once": _named(at_once),
        "decoders_replaced": deaths,
        "slowest_seconds": dict(slowest),
    }
    RESULT.write_text(json.dumps(figures, indent=1) + "\n")
    assert len(files) >= 500
    assert set(at_once) <= {200, 422, 503}
    assert slowest[0][1] <= LIMIT_S


def _named(counts: Counter[int]) -> dict[str, int]:
    return {str(status): count for status, count in sorted(counts.items())}
