"""A real index for the tests that ask one."""

from collections.abc import Iterator

import pytest

from tests.indexer.shop import Shop, shop


@pytest.fixture(scope="session")
def built_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Thirty products with two photos each, indexed; not to be changed."""
    with shop(tmp_path_factory.mktemp("shop"), products=30) as stocked:
        stocked.build()
        yield stocked
