"""Vectors that cannot be an index are refused with a sentence, before anything is written."""

from pathlib import Path

import numpy as np
import pytest

from engine.catalogue.schema import Product
from engine.errors import BadCall, MissingFile
from engine.storage.generation import read_current
from engine.vision.model import Model
from indexer.build import build_from_vectors
from indexer.given import BLOCK, check_given
from tests.fakes import product_vectors, tiny_model

DIM = 16
VECTORS, OWNERS = product_vectors(products=40, photos=3, dim=DIM)
NAMED = [Product(f"sku-{number:02d}") for number in range(40)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return tiny_model(tmp_path_factory.mktemp("model") / "model", dim=DIM)


def with_row(number: int, row: object) -> np.ndarray:
    vectors = VECTORS.copy()
    vectors[number] = row
    return vectors


@pytest.mark.parametrize(
    ("vectors", "owners", "products", "says"),
    [
        (VECTORS.astype(np.float32), OWNERS, [], r"The vectors are float32 \[120, 16\]; give float16 \[n, 16\]"),
        (VECTORS[:, :8], OWNERS, [], r"float16 \[120, 8\]"),
        (VECTORS[0], OWNERS, [], r"float16 \[16\]"),
        (VECTORS[:100], OWNERS, [], "There are 100 vectors and 120 owners; give"),
        (VECTORS, OWNERS[:-1], [], "There are 120 vectors and 119 owners; give"),
        (VECTORS[:0], OWNERS[:0], [], "There are no vectors"),
        (VECTORS, OWNERS.astype(float), [], r"The owners are float64 \[120\]"),
        (VECTORS, OWNERS[:, None], [], r"The owners are int64 \[120, 1\]"),
        (VECTORS, OWNERS[::-1], [], "Owner 3 is 38 after 39; sort"),
        (VECTORS, OWNERS - 1, [], "Owner 0 is -1; count"),
        (VECTORS, OWNERS, NAMED[:39], "The last owner is 39, and there are 39 products"),
        (VECTORS, OWNERS, NAMED[::-1], "The product 'sku-38' comes after 'sku-39'; sort"),
        (with_row(7, 0), OWNERS, [], "Vector 7 has the norm 0; divide"),
        (with_row(8, 3 * VECTORS[8]), OWNERS, [], "Vector 8 has the norm 3; divide"),
        (with_row(9, np.nan), OWNERS, [], "Vector 9 is not finite; divide"),
        (with_row(119, np.inf), OWNERS, [], "Vector 119 is not finite; divide"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence_and_the_index_stays(
    vectors: np.ndarray, owners: np.ndarray, products: list[Product], says: str, model: Model, tmp_path: Path
) -> None:
    build_from_vectors(VECTORS, OWNERS, model, tmp_path / "index")
    with pytest.raises(BadCall, match=says):
        build_from_vectors(vectors, owners, model, tmp_path / "index", products=products)
    assert read_current(tmp_path / "index") == "000001"
    with pytest.raises(BadCall):
        build_from_vectors(vectors, owners, model, tmp_path / "new", products=products)
    assert not (tmp_path / "new").exists()


def test_a_file_that_is_none_is_said(model: Model, tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"There is no file .*rows\.npy"):
        build_from_vectors(tmp_path / "rows.npy", OWNERS, model, tmp_path / "index")
    for wrong in (b"", b"no vectors"):
        (tmp_path / "rows.npy").write_bytes(wrong)
        with pytest.raises(BadCall, match=r"rows\.npy cannot be read as vectors"):
            build_from_vectors(tmp_path / "rows.npy", OWNERS, model, tmp_path / "index")


def test_norms_are_read_a_block_at_a_time_to_the_last_row(tmp_path: Path) -> None:
    vectors = np.tile(VECTORS, (2 * BLOCK // len(VECTORS) + 1, 1))
    np.save(tmp_path / "rows.npy", vectors)
    owners = np.arange(len(vectors))
    check_given(tmp_path / "rows.npy", owners, DIM, ())
    vectors[-1] *= np.float16(1.5)
    np.save(tmp_path / "rows.npy", vectors)
    with pytest.raises(BadCall, match=f"Vector {len(vectors) - 1} has the norm 1.5"):
        check_given(tmp_path / "rows.npy", owners, DIM, ())
