"""Indexes of every format ever released still open, and answer what they answered when they were made."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from engine.search.query import Query
from engine.search.search_engine import SearchEngine
from engine.storage.generation import open_index
from indexer.verify import verify_index

FORMATS = sorted((Path(__file__).parents[2] / "golden" / "index").glob("format-*"))


def test_there_is_a_format() -> None:
    assert FORMATS


@pytest.mark.parametrize("golden", FORMATS, ids=lambda path: path.name)
def test_an_old_index_still_answers(golden: Path) -> None:
    with SearchEngine.open(golden / "index") as engine:
        for answer in json.loads((golden / "answers.json").read_text()):
            query = Query(vector=np.array(answer["query"], np.float32), k=10, mode="exact")
            result = engine.search(query)
            assert result.exact is not None
            found = {hit.product_id: hit.score for hit in result.exact.hits}
            assert found == pytest.approx(answer["scores"], abs=1e-5)


@pytest.mark.parametrize("golden", FORMATS, ids=lambda path: path.name)
def test_an_old_index_is_whole(golden: Path) -> None:
    assert verify_index(golden / "index") == []


def test_values_of_every_type_are_read_from_format_1() -> None:
    generation = open_index(FORMATS[0] / "index")
    assert (generation.manifest.products, generation.manifest.photos, len(generation.shards)) == (80, 160, 2)
    assert generation.products.facets_of(3) == {
        "colour": "Blue",
        "price": 3.0,
        "tags": ("cotton", "linen", "wool"),
        "sale": False,
        "since": datetime(2024, 3, 3, 12, 30, 15, 123456, tzinfo=UTC),
    }
    assert generation.products.facets_of(7) == {"colour": "Green", "price": 7.0}
