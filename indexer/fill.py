"""What is done to one shard, wherever that is: its photos' vectors gathered, assigned, coded and written.

A `ShardTask` names files and holds numbers, so it can be sent to another process or machine; the same task gives the
same three files. A shard that is done leaves a receipt of what went into it, and is not done again as long as that and
its files stay what they were.
"""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.storage.files import sha256_of
from engine.storage.ivf import Quantizer
from engine.storage.manifest import FileEntry
from engine.storage.shard import PhotoRows, as_texts, shard_files, write_shard
from indexer.known import UNKNOWN, ScatteredVectors, VectorFile
from indexer.receipts import read_receipt, write_receipt
from indexer.roster import Roster

Ints = NDArray[np.int64]

AT_ONCE = 65536  # photos


@dataclass(frozen=True, slots=True)
class ShardTask:
    """Fill shard `number` in the directory `generation`.

    `roster` holds the photos; `places` (`.npy`, int64 [photos]) says where in `files` the vector of each is, -1 for one
    that is left out; `ordinals` (`.npy`, int32 [photos]) which ordinal its product has. `donor` is a generation with
    the same quantizer and number of shards, whose shard may turn out to be the same.
    """

    number: int
    generation: Path
    receipts: Path
    roster: Path
    places: Path
    ordinals: Path
    files: tuple[VectorFile, ...]
    quantizer: Path
    codec: str
    donor: Path | None = None


@dataclass(frozen=True, slots=True)
class FilledShard:
    """The files of a shard as the manifest describes them. `kept` where an earlier build had filled it."""

    number: int
    rows: int
    files: dict[str, FileEntry]
    kept: bool


def fill_shard(task: ShardTask) -> FilledShard:
    """Fills a shard, or finds that it is filled already."""
    roster = Roster.open(task.roster)
    places = np.load(task.places, mmap_mode="r")
    photos = PhotoRows(roster.photo_ids, np.load(task.ordinals, mmap_mode="r"), roster.contents, roster.uris)
    chosen = _chosen(roster, places, task.number)
    inputs = _digest(task, photos, chosen)
    receipt = task.receipts / f"shard-{task.number:04d}.json"
    if (entries := read_receipt(receipt, inputs, task.generation)) is not None:
        return FilledShard(task.number, len(chosen), entries, kept=True)
    quantizer = Quantizer.open(task.quantizer, task.codec)
    vectors = ScatteredVectors(task.files, places[chosen])
    write_shard(task.generation, task.number, quantizer, photos, vectors, chosen=chosen, donor=task.donor)
    entries = {name: FileEntry.of(task.generation / name, len(chosen)) for name in shard_files(task.number)}
    write_receipt(receipt, inputs, entries)
    return FilledShard(task.number, len(chosen), entries, kept=False)


def _chosen(roster: Roster, places: Ints, number: int) -> Ints:
    """The positions in the roster of the shard's photos, those without a vector left out."""
    found = [np.empty(0, np.int64)]
    for start in range(0, len(roster), AT_ONCE):
        block = slice(start, start + AT_ONCE)
        mine = (roster.shards[roster.owners[block]] == number) & (places[block] != UNKNOWN)
        found.append(start + np.flatnonzero(mine))
    return np.concatenate(found)


def _digest(task: ShardTask, photos: PhotoRows, chosen: Ints) -> str:
    """A sum of all that the shard's files follow from: the quantizer and every photo, in order."""
    uris = as_texts(photos.uris)
    digest = sha256(f"{task.number} {task.codec} {sha256_of(task.quantizer)} {len(chosen)}\n".encode())
    for start in range(0, len(chosen), AT_ONCE):
        block = chosen[start : start + AT_ONCE]
        texts = uris.take(block)
        columns = (photos.photo_ids[block], photos.ordinals[block], photos.content_hashes[block])
        for column in (*columns, texts.offsets, texts.data):
            digest.update(np.ascontiguousarray(column).data)
    return digest.hexdigest()
