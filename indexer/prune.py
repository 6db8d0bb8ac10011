"""Letting go of what the kept generations make superfluous: older ones, the log below them, vectors they hold."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.store import Catalogue
from engine.errors import DamagedFile, WrongCatalogue
from engine.storage.generation import generation_path, read_current
from engine.storage.manifest import Manifest
from engine.storage.products import read_table
from engine.storage.shard import contents_of, shard_files
from indexer.known import UNKNOWN, ContentIndex
from indexer.publish import kept_generations, remove_spares, writing

AT_ONCE = 4096  # vectors looked up, and dropped in one transaction


@dataclass(frozen=True, slots=True)
class PruneReport:
    """`generations` are kept; the log holds the changes after `log_trimmed_to`; `vectors_dropped` counts those of the
    catalogue that every kept generation holds."""

    generations: tuple[str, ...]
    log_trimmed_to: int
    vectors_dropped: int


def prune_index(catalogue: Catalogue, out: Path) -> PruneReport:
    """Keeps the generation that answers and the one before it, and forgets what no reader of these needs.

    A reader of the older one follows the log from there, so the log goes below it, and a vector only where both hold
    it. Nothing is forgotten where a kept generation is damaged. Raises IndexMissing, WrongCatalogue, DamagedFile, Busy.
    """
    with writing(out):
        read_current(out)
        kept = {name: Manifest.read(generation_path(out, name)) for name in kept_generations(out)}
        for name, manifest in kept.items():
            _check(catalogue, generation_path(out, name), manifest)
        remove_spares(out)
        number = min(manifest.change_number for manifest in kept.values())
        dropped = 0
        for model_id, precision in sorted({(manifest.model_id, manifest.precision) for manifest in kept.values()}):
            theirs = [
                generation_path(out, name)
                for name, manifest in kept.items()
                if (manifest.model_id, manifest.precision) == (model_id, precision)
            ]
            dropped += _drop_vectors(catalogue, model_id, precision, theirs)
        with catalogue.transaction() as writer:
            writer.drop_unused_vectors()
            writer.trim_log(number)
        return PruneReport(tuple(kept), number, dropped)


def _drop_vectors(catalogue: Catalogue, model_id: str, precision: str, generations: list[Path]) -> int:
    """Drops the catalogue's vectors whose contents all of these generations hold; how many."""
    held = [ContentIndex(_contents(path)) for path in generations]
    dropped = 0
    with catalogue.snapshot() as view:
        hashes = (content for content, _ in view.vectors(model_id, precision))
        for batch in _batches(hashes):
            wanted = np.frombuffer(b"".join(batch), np.uint8).reshape(-1, 32)
            everywhere = np.logical_and.reduce([index.find(wanted) != UNKNOWN for index in held])
            chosen = [content for content, has in zip(batch, everywhere, strict=True) if has]
            if chosen:
                with catalogue.transaction() as writer:
                    writer.drop_vectors(model_id, precision, chosen)
            dropped += len(chosen)
    return dropped


def _contents(generation: Path) -> list[NDArray[np.uint8]]:
    manifest = Manifest.read(generation)
    names = [shard_files(number)[2] for number in range(manifest.shards)]
    return [contents_of(read_table(generation / name).column("content_hash")) for name in names]


def _check(catalogue: Catalogue, generation: Path, manifest: Manifest) -> None:
    if manifest.catalogue_id != catalogue.catalogue_id:
        raise WrongCatalogue(
            f"{generation.parents[1]} belongs to another catalogue than {catalogue.name}; name that one."
        )
    for number in range(manifest.shards):
        for name in shard_files(number)[1:]:
            if problem := manifest.files[name].problem(generation / name):
                raise DamagedFile(problem)


def _batches(items: Iterator[bytes]) -> Iterator[list[bytes]]:
    while batch := list(islice(items, AT_ONCE)):
        yield batch
