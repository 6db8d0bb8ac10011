"""The calibration says of photos what a slow count says of them, and what it foretells is not exceeded."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engine.search.misses import Misses
from engine.storage.manifest import FilterCalibration
from indexer.calibrate import TAILS, Goal, calibrate, try_filters
from indexer.gallery import Gallery, Questions, Sample
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
def sample(gallery: Gallery) -> Sample:
    return Sample.draw(gallery, np.random.default_rng(0))


@pytest.fixture(scope="module")
def calibration(sample: Sample, questions: Questions) -> FilterCalibration:
    return calibrate(sample, questions.part(0, 30), GOAL, np.random.default_rng(0))


def test_the_excess_is_that_of_a_plain_count(
    gallery: Gallery, sample: Sample, questions: Questions, calibration: FilterCalibration
) -> None:
    asked = questions.part(0, 30)
    near = gallery.quantizer.similarities(asked.vectors)
    cosines = np.stack(list(sample.cosines(asked.vectors)))
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
    gallery: Gallery, sample: Sample, questions: Questions, calibration: FilterCalibration
) -> None:
    slack = Misses(calibration).slack(0.01)
    below = []
    for number in range(30, 60):
        query = questions.vectors[number : number + 1]
        cosines = next(sample.cosines(query))
        best = np.argsort(-cosines)[1:100]
        scores, rows = gallery.scores(query, best)
        assert sorted(rows.tolist()) == sorted(best.tolist())
        below += (scores < cosines[rows] - slack).tolist()
    assert np.mean(below) < 0.03


def test_other_questions_lose_no_more_than_allowed(
    sample: Sample, questions: Questions, calibration: FilterCalibration
) -> None:
    trials = list(try_filters(sample, questions.part(30, 60), calibration, GOAL, np.random.default_rng(1)))
    assert {(trial.kind, trial.share) for trial in trials} == {
        (kind, share) for kind in ("independent", "near", "far") for share in (0.5, 0.1, 0.01)
    }
    assert all(trial.missed <= GOAL.allowed for trial in trials)
    for kind in ("independent", "near", "far"):
        assert np.mean([trial.recall for trial in trials if trial.kind == kind]) >= 0.98


def test_a_calibration_that_foretells_too_little_is_made_more_cautious(
    sample: Sample, questions: Questions, monkeypatch: pytest.MonkeyPatch
) -> None:
    import indexer.calibrate

    def blind(*given: Any) -> FilterCalibration:
        nothing = tuple(-1.0 + 0.01 * place for place in range(len(TAILS)))
        return replace(measure(*given), similarities=(-1.0, 1.0), excess=(nothing, nothing))

    measure = indexer.calibrate._measure
    monkeypatch.setattr(indexer.calibrate, "_measure", blind)
    found = calibrate(sample, questions.part(0, 30), GOAL, np.random.default_rng(0))
    assert found.caution > 1.5


def test_the_same_catalogue_is_calibrated_the_same(
    sample: Sample, questions: Questions, calibration: FilterCalibration
) -> None:
    assert calibrate(sample, questions.part(0, 30), GOAL, np.random.default_rng(0)) == calibration


def test_a_sample_has_all_photos_of_some_products(gallery: Gallery, questions: Questions) -> None:
    sample = Sample.draw(gallery, np.random.default_rng(3), size=gallery.rows // 4)
    assert 0.2 < len(sample) / gallery.rows < 0.3
    chosen = np.unique(gallery.ordinals[sample.rows])
    assert np.array_equal(sample.rows, np.flatnonzero(np.isin(gallery.ordinals, chosen)))
    assert np.array_equal(chosen[sample.owners], gallery.ordinals[sample.rows])
    assert np.array_equal(sample.lists, gallery.lists[sample.rows])
    vectors = gallery.vectors(sample.rows)
    for query, cosines in zip(questions.vectors, sample.cosines(questions.vectors), strict=True):
        assert np.allclose(cosines, vectors @ query, atol=1e-6)
        best = [cosines[sample.owners == product].max() for product in range(sample.products)]
        assert np.array_equal(sample.best_by_product(cosines), best)


def test_a_sample_is_enough_to_calibrate_on(gallery: Gallery, questions: Questions) -> None:
    """What a quarter of the photos says holds for filters on all of them."""
    rng = np.random.default_rng(3)
    quarter = calibrate(Sample.draw(gallery, rng, size=gallery.rows // 4), questions.part(0, 30), GOAL, rng)
    whole = Sample.draw(gallery, rng)
    trials = list(try_filters(whole, questions.part(30, 60), quarter, GOAL, rng))
    for kind in ("independent", "near", "far"):
        assert np.mean([trial.recall for trial in trials if trial.kind == kind]) >= 0.98
