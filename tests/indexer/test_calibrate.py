"""The calibration says of photos what a slow count says of them, and what it foretells is not exceeded."""

from pathlib import Path

import numpy as np
import pytest

from engine.search.misses import Misses
from engine.storage.manifest import FilterCalibration
from indexer.calibrate import TAILS, Goal, calibrate, try_filters
from indexer.gallery import Gallery, Questions
from tests.fakes import product_vectors
from tests.indexer.test_tune import make_gallery

GOAL = Goal(at=10, allowed=0.01)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    return make_gallery(tmp_path_factory.mktemp("calibrate"), *product_vectors(1500, 3), lists=50)


@pytest.fixture(scope="module")
def questions(gallery: Gallery) -> Questions:
    return Questions.ask(gallery, np.random.default_rng(5).permutation(gallery.rows)[:60], 10)


@pytest.fixture(scope="module")
def calibration(gallery: Gallery, questions: Questions) -> FilterCalibration:
    return calibrate(gallery, questions.part(0, 30), GOAL, np.random.default_rng(0))


def test_the_excess_is_that_of_a_plain_count(
    gallery: Gallery, questions: Questions, calibration: FilterCalibration
) -> None:
    asked = questions.part(0, 30)
    near = gallery.quantizer.similarities(asked.vectors)
    cosines = gallery.cosines(asked.vectors)
    mine = np.zeros(cosines.shape, bool)
    mine[np.arange(30), asked.rows] = True
    step = calibration.similarities[1] - calibration.similarities[0]
    for place, similarity in enumerate(calibration.similarities):
        inside = (np.abs(near - similarity) < step / 2)[:, gallery.lists] & ~mine
        excess = (cosines - near[:, gallery.lists])[inside]
        if len(excess) < 2000:
            continue
        for tail, measured in zip(TAILS[:6], calibration.excess[place], strict=False):
            assert (excess > measured).mean() <= tail
            assert (excess > measured - 0.006).mean() >= tail * 0.9  # no further out than a cell or two


def test_the_slack_covers_codes_that_score_too_low(
    gallery: Gallery, questions: Questions, calibration: FilterCalibration
) -> None:
    slack = Misses(calibration).slack(0.01)
    below = []
    for number in range(30, 60):
        query = questions.vectors[number : number + 1]
        cosines = gallery.cosines(query)[0]
        best = np.argsort(-cosines)[1:100]
        scores, rows = gallery.scores(query, best)
        assert sorted(rows.tolist()) == sorted(best.tolist())
        below += (scores < cosines[rows] - slack).tolist()
    assert np.mean(below) < 0.03


def test_other_questions_lose_no_more_than_allowed(
    gallery: Gallery, questions: Questions, calibration: FilterCalibration
) -> None:
    trials = list(try_filters(gallery, questions.part(30, 60), calibration, GOAL, np.random.default_rng(1)))
    assert {(trial.kind, trial.share) for trial in trials} == {
        (kind, share) for kind in ("independent", "near", "far") for share in (0.5, 0.1, 0.01)
    }
    assert all(trial.missed <= GOAL.allowed for trial in trials)
    for kind in ("independent", "near", "far"):
        assert np.mean([trial.recall for trial in trials if trial.kind == kind]) >= 0.98


def test_a_calibration_that_foretells_too_little_is_made_more_cautious(
    gallery: Gallery, questions: Questions, monkeypatch: pytest.MonkeyPatch
) -> None:
    import indexer.calibrate

    def blind(*_: object) -> tuple[tuple[float, ...], tuple[tuple[float, ...], ...]]:
        return (-1.0, 1.0), (tuple(-1.0 + 0.01 * place for place in range(len(TAILS))),) * 2

    monkeypatch.setattr(indexer.calibrate, "_excess", blind)
    found = calibrate(gallery, questions.part(0, 30), GOAL, np.random.default_rng(0))
    assert found.caution > 1.5


def test_the_same_catalogue_is_calibrated_the_same(
    gallery: Gallery, questions: Questions, calibration: FilterCalibration, tmp_path: Path
) -> None:
    assert calibrate(gallery, questions.part(0, 30), GOAL, np.random.default_rng(0)) == calibration
