"""At least 300 kills of build, merge, prune, repair and the switch between generations.

`LOOKALIKE_SOAK_KILLS` and `LOOKALIKE_SOAK_SEED` make it shorter or another one.
"""

import json
import os
import time
from pathlib import Path

import pytest

from tests.indexer.crash import Storm, rage

RESULT = Path(__file__).with_name("crashes.json")


@pytest.mark.soak
def test_hundreds_of_kills(tmp_path: Path) -> None:
    kills, seed = int(os.environ.get("LOOKALIKE_SOAK_KILLS", "300")), int(os.environ.get("LOOKALIKE_SOAK_SEED", "7"))
    storm = Storm(tmp_path, seed)
    begun = time.monotonic()
    try:
        rage(storm, kills)
    finally:
        storm.shop.catalogue.close()
    result = {
        "kills": storm.kills,
        "completions": storm.completions,
        "states_of_the_catalogue": len(storm.states),
        "seed": seed,
        "seconds": round(time.monotonic() - begun, 1),
        "by_action": {
            action: sum(count for point, count in storm.points.items() if point.startswith(action))
            for action in ("build", "merge", "prune", "repair")
        },
        "by_point": dict(storm.points.most_common()),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    assert storm.kills >= kills
