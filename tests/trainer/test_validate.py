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
from trainer.validate import find_nearest, nearest_photos, precision_at_1, precisions


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000))
def test_the_nearest_photo_is_the_one_with_the_highest_cosine(seed: int) -> None:
    rng = np.random.default_rng(seed)
    queries, gallery = (rng.standard_normal((n, 4)).astype(np.float32) for n in (5, 7))
    forbidden = rng.random((5, 7)) < 0.3
    forbidden[:, 0] = False
    rows, cosines = nearest_photos(queries, gallery, forbidden)
    np.testing.assert_allclose(cosines, np.einsum("qd,qd->q", queries, gallery[rows]).clip(-1, 1), rtol=1e-5)
    for query, found in enumerate(rows):
        scores = [float(queries[query] @ gallery[row]) for row in range(7) if not forbidden[query, row]]
        assert not forbidden[query, found]
        assert float(queries[query] @ gallery[found]) == pytest.approx(max(scores), rel=1e-5)


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
