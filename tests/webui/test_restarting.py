"""The database goes and comes back while the API is used: told meanwhile, and nothing acknowledged is lost."""

from pathlib import Path

from tests.indexer.shop import shop
from tests.postgres import PostgresServer
from tests.webui.restarting import restart_under_load


def test_a_database_that_restarts_costs_nothing_that_was_acknowledged(tmp_path: Path, postgres_binaries: Path) -> None:
    with PostgresServer(postgres_binaries) as database:
        database.start()
        url = database.new_database()
        with shop(tmp_path, products=12, where=url) as opened:
            opened.build()
            found = restart_under_load(opened, database, url, tmp_path, stops=["fast", "immediate"])

    assert (found["acknowledged_lost"], found["acknowledged_not_found"]) == ([], [])
    assert (found["lost"], found["strange"], found["traceback"]) == ([], [], False)
    assert set(found["write_statuses"]) == {201, 503}
    assert set(found["search_statuses"]) == {200}  # what can be found needs no database
