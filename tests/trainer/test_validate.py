"""Precision@1 against plain loops."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.sources.photos import read_photo
from engine.vision.preprocess import load
from tests.trainer.shapes import draw_shapes, shapes_recipe
from trainer import training
from trainer.encoder import encode_photos
from trainer.tables import ValidationData, read_training_data
from trainer.validate import Hidden, find_nearest, label_codes, nearest_photos, precision_at_1, precisions


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1000), block=st.sampled_from([1, 15, 2**23]))
def test_the_nearest_photo_and_the_nearest_right_one_are_those_with_the_highest_cosines(seed: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    queries, gallery = (rng.standard_normal((n, 4)).astype(np.float32) / 4 for n in (5, 7))
    wanted = [rng.choice(["a", "b", "c", None]) for _ in range(5)]
    there = [rng.choice(["a", "b", None]) for _ in range(7)]
    hidden = Hidden(rng.integers(-1, 7, 5), rng.random(7) < 0.3)
    rows, cosines, right_rows, right_cosines = nearest_photos(
        queries, gallery, hidden, *label_codes(wanted, there), block=block
    )
    for query in range(5):
        scores = {
            row: min(1.0, max(-1.0, float(queries[query] @ gallery[row])))
            for row in range(7)
            if not hidden.unreadable[row] and row != hidden.own[query]
        }
        right = {
            row: score for row, score in scores.items() if wanted[query] is not None and there[row] == wanted[query]
        }
        assert cosines[query] == pytest.approx(max(scores.values(), default=-1), abs=1e-6)
        assert not scores or scores[rows[query]] == pytest.approx(cosines[query], abs=1e-6)
        assert right_cosines[query] == pytest.approx(max(right.values(), default=0), abs=1e-6)
        if right:
            assert right[right_rows[query]] == pytest.approx(right_cosines[query], abs=1e-6)
        else:
            assert right_rows[query] == -1


def test_queries_without_a_label_do_not_count() -> None:
    assert precision_at_1(["a", "b", None, "c"], ["a", "x", "a", None]) == pytest.approx(1 / 3)
    assert precision_at_1([None], ["a"]) == 0.0


def test_a_photo_is_not_its_own_neighbour_and_the_unreadable_are_left_out(tmp_path: Path) -> None:
    recipe, data = shapes_recipe(), draw_shapes(tmp_path / "data")
    training_data = read_training_data(recipe, data)
    network = training.make_network(recipe, training_data, weights="none")
    uris = training_data.sets[0].uris[:4]
    names = ("a", "b", "c", "d")
    own = ValidationData(uris, uris, {"name": names}, {"name": names})
    preprocess = training.serving_preprocess(network, recipe)
    nearest = find_nearest(network, own, preprocess)
    assert precisions(own, nearest) == {"name": 0.0}
    assert (nearest.rows != np.arange(4)).all()
    assert (nearest.right_rows == -1).all()  # nobody else has the name

    twice = ValidationData(uris, uris, {"name": names}, {"name": ("b", "a", "d", "d")})
    found = find_nearest(network, twice, preprocess)
    assert found.right_rows.tolist() == [1, 0, -1, 2]
    assert (found.cosines >= found.right_cosines).all()

    (data / "images" / "0-0.png").write_bytes(b"no picture")  # the first of them
    embeddings, readable = encode_photos(network, uris, preprocess)
    assert readable.tolist() == [False, True, True, True]
    photo = torch.from_numpy(load(read_photo(uris[2]), uris[2], preprocess))[None]
    with torch.no_grad():
        np.testing.assert_allclose(embeddings[2], network.eval()(photo).embedding[0], atol=1e-5)
    others = ValidationData(uris[1:], uris[:1], {"name": names[1:]}, {"name": names[:1]})
    assert precisions(others, find_nearest(network, others, preprocess)) == {"name": 0.0}
