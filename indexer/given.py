"""What vectors must be that somebody else made, looked at before anything is written: a block at a time, once."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.schema import Product
from engine.errors import BadCall, MissingFile
from engine.storage.halves import widen

BLOCK = 8192  # vectors in float32 at once
OFF = 1e-2  # that a norm may be off 1; float16 costs a twentieth of it


def check_given(
    vectors: NDArray[np.float16] | Path, owners: NDArray[np.integer], dim: int, products: Sequence[Product]
) -> None:
    """Raises BadCall unless `vectors` are float16 [n, dim] of norm 1 and `owners` int [n] are their products: numbers
    that never fall, of `products` in the order of their ids where there are any. MissingFile where there is no file."""
    rows = _opened(vectors)
    if rows.dtype != np.float16 or rows.ndim != 2 or rows.shape[1] != dim:
        raise BadCall(f"The vectors are {rows.dtype} {list(rows.shape)}; give float16 [n, {dim}], the model's length.")
    if owners.ndim != 1 or not np.issubdtype(owners.dtype, np.integer):
        raise BadCall(f"The owners are {owners.dtype} {list(owners.shape)}; give whole numbers [n], one a vector.")
    if len(rows) != len(owners):
        raise BadCall(f"There are {len(rows)} vectors and {len(owners)} owners; give every vector one owner.")
    if not len(rows):
        raise BadCall("There are no vectors to make an index of; give one at least, with its owner.")
    _check_owners(owners, products)
    _check_norms(rows)


def _opened(vectors: NDArray[np.float16] | Path) -> NDArray[np.float16]:
    if not isinstance(vectors, Path):
        return vectors
    try:
        mapped: NDArray[np.float16] = np.load(vectors, mmap_mode="r")
    except FileNotFoundError:
        raise MissingFile(f"There is no file {vectors}; name one that numpy.save wrote.") from None
    except (ValueError, EOFError, OSError) as wrong:
        raise BadCall(f"{vectors} cannot be read as vectors ({wrong}); give a file that numpy.save wrote.") from None
    return mapped


def _check_owners(owners: NDArray[np.integer], products: Sequence[Product]) -> None:
    falls = np.flatnonzero(owners[1:] < owners[:-1])
    if len(falls):
        at = int(falls[0]) + 1
        raise BadCall(
            f"Owner {at} is {owners[at]} after {owners[at - 1]}; sort the vectors by their owners, counted from 0."
        )
    if owners[0] < 0:
        raise BadCall(f"Owner 0 is {owners[0]}; count the products from 0.")
    if products and owners[-1] >= len(products):
        raise BadCall(
            f"The last owner is {owners[-1]}, and there are {len(products)} products, counted from 0; give them all."
        )
    for before, after in pairwise(products):
        if after.product_id < before.product_id:
            raise BadCall(
                f"The product {after.product_id!r} comes after {before.product_id!r}; sort the products by their ids."
            )


def _check_norms(rows: NDArray[np.float16]) -> None:
    for start in range(0, len(rows), BLOCK):
        # what is not finite is widened to a number far above 1
        block = widen(np.ascontiguousarray(rows[start : start + BLOCK]))
        wrong = np.flatnonzero(np.abs(np.vecdot(block, block) - 1) > 2 * OFF)
        if len(wrong):
            at = start + int(wrong[0])
            norm = np.linalg.norm(rows[at].astype(np.float64))
            was = f"has the norm {norm:.4g}" if np.isfinite(norm) else "is not finite"
            raise BadCall(f"Vector {at} {was}; divide every vector by its norm, so that it is 1.")
