"""One shard: the photos of some products, in the order of their inverted lists.

Row numbers, 0..n-1, are the same in all three files: PQ codes (`.faiss`), float16 vectors (`.vectors.npy`) and rows
(`.rows.arrow`). The rows of list l are the slice `list_offsets[l]:list_offsets[l + 1]`, so an exact scan of a list
reads sequentially and is one matrix product.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.errors import DamagedFile
from engine.storage.files import replacing
from engine.storage.ivf import BLOCK, Quantizer, ShardCodes
from engine.storage.products import read_table, write_table

HASH_BYTES = 32


def shard_of(product_id: str, shards: int) -> int:
    """The shard that holds a product's photos: the same on every machine and in every version."""
    digest = hashlib.blake2b(product_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % shards


def shard_files(number: int) -> tuple[str, str, str]:
    """The names of a shard's files: codes, vectors, rows."""
    stem = f"shard-{number:04d}"
    return f"{stem}.faiss", f"{stem}.vectors.npy", f"{stem}.rows.arrow"


@dataclass(frozen=True, slots=True, eq=False)
class PhotoRows:
    """Photos as columns of equal length: what a row of a shard knows beside its vector.

    `photo_ids` int64 [n]; `ordinals` int32 [n], the product's position in `Products`; `content_hashes` uint8 [n, 32],
    the sha256 of the photo's file; `uris`, where the bytes are.
    """

    photo_ids: NDArray[np.int64]
    ordinals: NDArray[np.int32]
    content_hashes: NDArray[np.uint8]
    uris: Sequence[str]

    def __len__(self) -> int:
        return len(self.photo_ids)

    def take(self, positions: NDArray[np.int64]) -> "PhotoRows":
        """The rows at these positions, in this order."""
        uris = [self.uris[position] for position in positions]
        return PhotoRows(self.photo_ids[positions], self.ordinals[positions], self.content_hashes[positions], uris)


class Shard:
    """An opened shard: codes in memory, vectors and rows memory-mapped. Immutable, safe from many threads."""

    def __init__(self, codes: ShardCodes, vectors: NDArray[np.float16], table: pa.Table) -> None:
        self.codes = codes
        self.vectors = vectors
        self.rows: int = table.num_rows
        self.photo_ids: NDArray[np.int64] = _numpy(table, "photo_id")
        self.ordinals: NDArray[np.int32] = _numpy(table, "ordinal")
        self.list_offsets: NDArray[np.int64] = np.concatenate([[0], np.cumsum(codes.list_sizes())])
        self._uris = table.column("uri")
        self._content_hashes = table.column("content_hash")

    @classmethod
    def open(cls, directory: Path, number: int, quantizer: Quantizer) -> "Shard":
        """Opens shard `number` of the generation in `directory`. Raises DamagedFile where its files disagree."""
        codes_path, vectors_path, rows_path = (directory / name for name in shard_files(number))
        codes = ShardCodes.open(codes_path, quantizer)
        try:
            vectors = np.load(vectors_path, mmap_mode="r")
        except (ValueError, EOFError) as wrong:
            raise _damaged(vectors_path, wrong) from None
        try:
            table = read_table(rows_path)
            shard = cls(codes, vectors, table)
        except (pa.ArrowInvalid, KeyError) as wrong:
            raise _damaged(rows_path, wrong) from None
        if not (codes.rows == len(vectors) == shard.rows):
            counts = f"{codes.rows} codes, {len(vectors)} vectors, {shard.rows} rows"
            raise _damaged(codes_path, f"the shard has {counts}")
        if vectors.shape[1:] != (quantizer.dim,) or vectors.dtype != np.float16:
            raise _damaged(vectors_path, f"it holds {vectors.dtype} {list(vectors.shape)}")
        return shard

    def uri(self, row: int) -> str:
        """Where the bytes of the row's photo are."""
        uri: str = self._uris[row].as_py()
        return uri

    def content_hashes(self) -> list[bytes]:
        """[rows] the sha256 of each photo's file, 32 bytes."""
        hashes: list[bytes] = self._content_hashes.to_pylist()
        return hashes

    def row_of_photo(self, photo_id: int) -> int | None:
        """The row of a photo, None where this shard has it not."""
        position = int(np.searchsorted(self._sorted_photo_ids, photo_id))
        if position == self.rows or self._sorted_photo_ids[position] != photo_id:
            return None
        return int(self._by_photo_id[position])

    def rows_of_product(self, ordinal: int) -> NDArray[np.int64]:
        """The rows of a product's photos, ascending; empty where this shard has none."""
        low, high = np.searchsorted(self._sorted_ordinals, [ordinal, ordinal + 1])
        return self._by_ordinal[low:high]

    @cached_property
    def _by_photo_id(self) -> NDArray[np.int64]:
        return np.argsort(self.photo_ids, kind="stable")

    @cached_property
    def _sorted_photo_ids(self) -> NDArray[np.int64]:
        return self.photo_ids[self._by_photo_id]

    @cached_property
    def _by_ordinal(self) -> NDArray[np.int64]:
        return np.argsort(self.ordinals, kind="stable")

    @cached_property
    def _sorted_ordinals(self) -> NDArray[np.int32]:
        return self.ordinals[self._by_ordinal]


def write_shard(
    directory: Path, number: int, quantizer: Quantizer, photos: PhotoRows, vectors: NDArray[np.float16]
) -> None:
    """Writes the three files of a shard, its rows brought into list order.

    `vectors` [n, dim] belong to `photos` one by one; photos of one list keep their order.
    """
    codes_path, vectors_path, rows_path = (directory / name for name in shard_files(number))
    lists = quantizer.assign(vectors)
    order = np.argsort(lists, kind="stable")
    codes = quantizer.empty_codes()
    with replacing(vectors_path) as partial:
        target = np.lib.format.open_memmap(partial, "w+", np.float16, (len(photos), quantizer.dim))
        for start in range(0, len(photos), BLOCK):
            block = vectors[order[start : start + BLOCK]]
            target[start : start + BLOCK] = block
            codes.add(block.astype(np.float32))
        target.flush()
    _check_order(codes, np.bincount(lists, minlength=quantizer.lists))
    codes.save(codes_path)
    photos = photos.take(order)
    hashes = pa.py_buffer(np.ascontiguousarray(photos.content_hashes))
    columns = {
        "photo_id": pa.array(photos.photo_ids, pa.int64()),
        "ordinal": pa.array(photos.ordinals, pa.int32()),
        "content_hash": pa.FixedSizeBinaryArray.from_buffers(pa.binary(HASH_BYTES), len(photos), [None, hashes]),
        "uri": pa.array(photos.uris, pa.string()),
    }
    write_table(rows_path, pa.table(columns))


def _check_order(codes: ShardCodes, sizes: NDArray[np.int64]) -> None:
    """FAISS assigns lists anew in `add`; everything rests on its choosing as `assign` did."""
    start = 0
    for number, size in enumerate(sizes):
        assert np.array_equal(codes.ids(number), np.arange(start, start + size)), f"list {number} is out of order"
        start += size


def _numpy(table: pa.Table, name: str) -> NDArray[Any]:
    column = table.column(name)
    array: NDArray[Any] = (column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()).to_numpy()
    return array


def _damaged(path: Path, wrong: object) -> DamagedFile:
    return DamagedFile(f"{path} cannot be read ({wrong}); rebuild the index with `lookalike index`.")
