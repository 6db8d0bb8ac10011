"""An engine that follows a catalogue says what a plain-Python model of the catalogue says, whatever happens to it."""

from pathlib import Path

import numpy as np
import pytest

from engine.catalogue.store import Catalogue
from engine.search.search_engine import SearchEngine
from tests.engine.search.live_model import LiveModel
from tests.indexer.shop import Shop, shop

STEPS = 60
SEED = 0


def random_life(opened: Shop, steps: int, seed: int, *, generations: int) -> LiveModel:
    """`steps` random changes with a check after each few, and now and then a new generation."""
    rng = np.random.default_rng(seed)
    model = LiveModel(opened.catalogue, opened.encoder, rng, products=30)
    with SearchEngine.open(opened.index, catalogue=opened.catalogue, encoder=opened.encoder) as engine:
        for step in range(steps):
            model.change()
            if rng.random() < 0.5:
                assert engine.caught_up(model.change_number, timeout_s=30)
                model.check(engine)
            if (step + 1) % (steps // (generations + 1)) == 0 and any(one.photos for one in model.shown.values()):
                opened.build()
        assert engine.caught_up(model.change_number, timeout_s=30)
        model.check(engine)
        assert engine.problem is None
    return model


@pytest.mark.parametrize("seed", range(3))
def test_random_changes_are_found_as_the_model_says(tmp_path: Path, seed: int) -> None:
    with shop(tmp_path, products=15) as opened:
        opened.build(shards=2)
        model = random_life(opened, STEPS, seed, generations=2)
        assert model.products() == list(_products(opened.catalogue))


def _products(catalogue: Catalogue) -> list:
    with catalogue.snapshot() as view:
        return list(view.products())
