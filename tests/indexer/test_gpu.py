"""Training on a GPU, where FAISS was built for one and there is one."""

import numpy as np
import pytest

from indexer.quantizer import train
from tests.fakes import product_vectors

faiss = pytest.importorskip("faiss")


def test_centroids_trained_on_a_gpu_are_as_near_as_those_of_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    if not faiss.get_num_gpus():
        pytest.skip("NO GPU, OR FAISS WITHOUT GPU SUPPORT: training on a GPU was NOT tested")
    vectors = product_vectors(products=4000, photos=3, dim=64)[0].astype(np.float32)
    nearness = {}
    for name in ("gpu", "processor"):
        if name == "processor":
            monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
        quantizer = train(vectors, 64)
        nearness[name] = float(quantizer.nearest(vectors, 1)[0].mean())
    assert nearness["gpu"] > nearness["processor"] - 0.01
