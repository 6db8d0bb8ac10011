"""Photos that are searched for: on no disk, in no log."""

from base64 import b64encode
from pathlib import Path

from tests.indexer.shop import Shop
from tests.webui.canary import Canary, check_that_it_is_nowhere


def test_the_word_is_found_wherever_it_is(tmp_path: Path) -> None:
    canary = Canary(tmp_path)
    traces = {
        "text": b"before " + canary.word + b" after",
        "hex": canary.word.hex().encode(),
        **{f"base64-{before}": b64encode(bytes(before) + canary.word + b"more") for before in range(7)},
    }
    for name, trace in traces.items():
        (tmp_path / "home" / name).write_bytes(trace)
    (tmp_path / "home" / "other").write_bytes(b64encode(canary.word[1:]))

    assert canary.places() == sorted(f"home/{name}" for name in traces)


def test_query_photos_are_on_no_disk_and_in_no_log(built_shop: Shop) -> None:
    found = check_that_it_is_nowhere(built_shop, 30, "--workers", "2")

    assert found["statuses"] == {200: 10, 415: 5, 422: 15}
    assert (found["places"], found["files_that_came_and_went"]) == ([], [])
