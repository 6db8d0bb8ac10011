"""A change that was acknowledged in one process is found in another. How fast is for `benchmarks/live.py` to say."""

from pathlib import Path

from benchmarks.live import measure
from tests.indexer.shop import shop


def test_what_one_process_writes_another_finds(tmp_path: Path, where: str) -> None:
    with shop(tmp_path, products=6, where=where) as opened:
        opened.build()
        figures = measure(str(opened.index), where, tmp_path / "photos", opened.encoder, changes=2)
        assert figures["changes"] == 6
        assert figures["visible_after_ms"]["all"]["p100"] > 0
        with opened.catalogue.snapshot() as view:
            assert view.count_products() == 6
            assert view.change_number > 6 * 3
