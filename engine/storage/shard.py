"""One shard: the photos of some products, in the order of their inverted lists.

Row numbers, 0..n-1, are the same in all three files: PQ codes (`.faiss`), float16 vectors (`.vectors.npy`) and rows
(`.rows.arrow`). The rows of list l are the slice `list_offsets[l]:list_offsets[l + 1]`, so an exact scan of a list
reads sequentially and is one matrix product.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from mmap import MADV_RANDOM, MADV_WILLNEED, PAGESIZE
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.errors import DamagedFile
from engine.storage.codes_writer import CodesWriter
from engine.storage.files import link, replacing
from engine.storage.flat import FlatRows
from engine.storage.ivf import BLOCK, Quantizer, ShardCodes
from engine.storage.products import read_table, write_table
from engine.storage.texts import Texts

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
    the sha256 of the photo's file; `uris`, where the bytes are. All may be mapped.
    """

    photo_ids: NDArray[np.int64]
    ordinals: NDArray[np.int32]
    content_hashes: NDArray[np.uint8]
    uris: Texts | Sequence[str]

    def __len__(self) -> int:
        return len(self.photo_ids)

    def take(self, positions: NDArray[np.int64]) -> "PhotoRows":
        """The rows at these positions, in this order."""
        uris = as_texts(self.uris).take(positions)
        return PhotoRows(self.photo_ids[positions], self.ordinals[positions], self.content_hashes[positions], uris)


class Vectors(Protocol):
    """float16 [n, dim], somewhere: an array, a mapped file, or rows gathered from several."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float16]: ...


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
            # rows are read here and there: where memory is short, reading ahead drives out what is wanted
            vectors.base.madvise(MADV_RANDOM)
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

    def read_through(self, start: int, end: int) -> NDArray[np.float16]:
        """The vectors of the rows from `start` to before `end`, where all are read in order: ahead of time."""
        row = self.vectors.strides[0]
        whole: Any = self.vectors.base  # the mapped file
        begin = (len(whole) - self.vectors.nbytes + start * row) // PAGESIZE * PAGESIZE
        whole.madvise(MADV_WILLNEED, begin, min(2 * (end - start) * row, len(whole) - begin))  # and as many again
        return np.asarray(self.vectors[start:end])

    def uri(self, row: int) -> str:
        """Where the bytes of the row's photo are."""
        uri: str = self._uris[row].as_py()
        return uri

    def content_hashes(self) -> list[bytes]:
        """[rows] the sha256 of each photo's file, 32 bytes."""
        hashes: list[bytes] = self._content_hashes.to_pylist()
        return hashes

    @cached_property
    def flat(self) -> FlatRows:
        """All rows, to be compared in place."""
        return FlatRows(self.vectors)

    @property
    def contents(self) -> NDArray[np.uint8]:
        """uint8 [rows, 32], the sha256 of each photo's file; mapped."""
        return contents_of(self._content_hashes)

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
    directory: Path,
    number: int,
    quantizer: Quantizer,
    photos: PhotoRows,
    vectors: Vectors,
    *,
    chosen: NDArray[np.int64] | None = None,
    donor: Path | None = None,
) -> None:
    """Writes the three files of a shard, its rows brought into list order.

    The shard holds the `chosen` rows of `photos`, by default all; `vectors` [n, dim] belong to them one by one. Photos
    of one list keep their order. Where a shard of the same number in `donor`, a generation with the same quantizer, has
    the same photos, its codes and vectors are linked.
    """
    codes_path, vectors_path, rows_path = (directory / name for name in shard_files(number))
    chosen = np.arange(len(photos)) if chosen is None else chosen
    order = None if donor is None else _order_of(donor, number, photos, chosen)
    if donor is not None and order is not None:
        for path in (codes_path, vectors_path):
            link(donor / path.name, path)
    else:
        lists = assign(quantizer, vectors)
        order = np.argsort(lists, kind="stable")
        codes = _write_vectors(vectors_path, quantizer, vectors, lists, order)
        _check_order(codes, np.bincount(lists, minlength=quantizer.lists))
        codes.save(codes_path)
    _write_rows(rows_path, photos, chosen[order])


def assign(quantizer: Quantizer, vectors: Vectors) -> NDArray[np.int32]:
    """[n, dim] -> the list of each vector, [n], a block at a time."""
    lists = np.empty(len(vectors), np.int32)
    for block in _blocks(len(vectors)):
        lists[block] = quantizer.assign(vectors[block])
    return lists


def _write_vectors(
    path: Path, quantizer: Quantizer, vectors: Vectors, lists: NDArray[np.int32], order: NDArray[np.int64]
) -> ShardCodes:
    codes = CodesWriter(quantizer)
    with replacing(path) as partial:
        target = np.lib.format.open_memmap(partial, "w+", np.float16, (len(vectors), quantizer.dim))
        for block in _blocks(len(vectors)):
            rows = vectors[order[block]]
            target[block] = rows
            codes.add(rows, lists[order[block]])
        target.flush()
    return codes.finish()


def _write_rows(path: Path, photos: PhotoRows, order: NDArray[np.int64]) -> None:
    """The columns are put together in mapped files: hashes and URIs are most of what a photo weighs."""
    uris = as_texts(photos.uris)
    lengths = uris.offsets[order + 1] - uris.offsets[order]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    with mapped(path, ".hashes", (len(order), HASH_BYTES)) as hashes, mapped(path, ".uris", (offsets[-1],)) as letters:
        for block in _blocks(len(order)):
            hashes[block] = photos.content_hashes[order[block]]
            letters[offsets[block.start] : offsets[block.stop]] = uris.take(order[block]).data
        hash_buffer = pa.py_buffer(hashes)
        columns = {
            "photo_id": pa.array(photos.photo_ids[order], pa.int64()),
            "ordinal": pa.array(photos.ordinals[order], pa.int32()),
            "content_hash": pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(HASH_BYTES), len(order), [None, hash_buffer]
            ),
            "uri": Texts(offsets, letters).to_arrow(),
        }
        write_table(path, pa.table(columns))


@contextmanager
def mapped(beside: Path, suffix: str, shape: tuple[int, ...]) -> Iterator[NDArray[np.uint8]]:
    """Bytes to work with that live in a file and not in memory; the file is gone after the `with`."""
    path = beside.with_name(f"{beside.name}{suffix}.partial")
    try:
        # a file of no bytes cannot be mapped
        yield np.memmap(path, np.uint8, "w+", shape=shape) if all(shape) else np.empty(shape, np.uint8)
    finally:
        path.unlink(missing_ok=True)


def _order_of(donor: Path, number: int, photos: PhotoRows, chosen: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Where the donor's rows are among the `chosen` photos; None where they are not the same photos."""
    try:
        table = read_table(donor / shard_files(number)[2])
        theirs, contents = _numpy(table, "photo_id"), contents_of(table.column("content_hash"))
    except (OSError, pa.ArrowInvalid, KeyError):
        return None
    ours = photos.photo_ids[chosen]
    if len(theirs) != len(ours):
        return None
    order = np.empty(len(ours), np.int64)
    order[np.argsort(theirs, kind="stable")] = np.argsort(ours, kind="stable")
    same = all(
        np.array_equal(ours[order[block]], theirs[block])
        and np.array_equal(photos.content_hashes[chosen[order[block]]], contents[block])
        for block in _blocks(len(ours))
    )
    return order if same else None


def _blocks(count: int) -> Iterator[slice]:
    """Slices of about equal length: FAISS computes blocks of under twenty vectors in another way than longer ones,
    and a vector between two centroids might go to the other one."""
    pieces = -(-count // BLOCK)
    for piece in range(pieces):
        yield slice(count * piece // pieces, count * (piece + 1) // pieces)


def as_texts(texts: Texts | Sequence[str]) -> Texts:
    return texts if isinstance(texts, Texts) else Texts.of(texts)


def contents_of(column: pa.ChunkedArray) -> NDArray[np.uint8]:
    """A column of hashes as uint8 [rows, 32], without copying where it is in one chunk."""
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # of no chunks
        return np.empty((0, HASH_BYTES), np.uint8)
    data = np.frombuffer(array.buffers()[1], np.uint8)
    return data[array.offset * HASH_BYTES : (array.offset + len(array)) * HASH_BYTES].reshape(-1, HASH_BYTES)


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
