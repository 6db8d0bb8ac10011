"""Writers killed with `kill -9`: old or new generation and never a mix, and all that was acknowledged is there."""

from pathlib import Path

from tests.indexer.crash import Storm, rage


def test_a_storm_of_kills_leaves_old_or_new_and_never_a_mix(tmp_path: Path) -> None:
    storm = Storm(tmp_path, seed=0)
    try:
        rage(storm, kills=12)
        assert storm.kills >= 12
        assert len(storm.points) > 6
    finally:
        storm.shop.catalogue.close()


def test_workers_of_a_killed_builder_write_no_more(tmp_path: Path) -> None:
    storm = Storm(tmp_path, seed=1)
    try:
        # killed when the first receipt is there or soon after, with two workers alive
        for at in (20, 30):
            storm.strike("build", at=at, workers=2)
        storm.finish("build")
        storm.check()
    finally:
        storm.shop.catalogue.close()
