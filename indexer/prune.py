"""Letting go of what the kept generations make superfluous: older ones, the log below them, vectors they hold."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.changes import check_reached
from engine.catalogue.store import Catalogue
from engine.errors import DamagedFile, WrongCatalogue
from engine.storage.generation import generation_path, read_current
from engine.storage.manifest import Manifest
from engine.storage.products import read_table
from engine.storage.shard import contents_of, shard_files
from indexer.known import UNKNOWN, ContentIndex
from indexer.publish import kept_generations, remove_spares, writing

AT_ONCE = 4096  # vectors looked up, and dropped in one transaction
TRIMMED_AT_ONCE = 100_000  # changes of the log forgotten in one transaction


@dataclass(frozen=True, slots=True)
class PruneReport:
    """`generations` are kept; the log holds the changes after `log_trimmed_to`; `vectors_dropped` counts those of the
    catalogue that every kept generation of their model holds, all where no generation has their model."""

    generations: tuple[str, ...]
    log_trimmed_to: int
    vectors_dropped: int


def prune_index(catalogue: Catalogue, out: Path) -> PruneReport:
    """Keeps the generation that answers and the one before it, and forgets what no reader of these needs.

    A reader of the older one follows the log from there, so the log goes below it, and a vector only where both hold
    it. Nothing is forgotten where a kept generation is damaged. Other writers get their turn in between.

    Raises IndexMissing, WrongCatalogue, DamagedFile, Busy.
    """
    with writing(out):
        read_current(out)
        kept = {name: Manifest.read(generation_path(out, name)) for name in kept_generations(out)}
        for name, manifest in kept.items():
            _check(catalogue, generation_path(out, name), manifest)
        remove_spares(out)
        number = min(manifest.change_number for manifest in kept.values())
        dropped = 0
        with catalogue.snapshot() as view:
            models = view.vector_models()
        for model_id, precision in models:
            theirs = [
                generation_path(out, name)
                for name, manifest in kept.items()
                if (manifest.model_id, manifest.precision) == (model_id, precision)
            ]
            dropped += _drop_vectors(catalogue, model_id, precision, theirs)
        _drop_unused(catalogue)
        _trim_log(catalogue, number)
        return PruneReport(tuple(kept), number, dropped)


def _drop_vectors(catalogue: Catalogue, model_id: str, precision: str, generations: list[Path]) -> int:
    """Drops the vectors whose contents all of these generations hold, all where there are none; how many they were."""
    held = [ContentIndex(_contents(path)) for path in generations]
    dropped = 0
    with catalogue.snapshot() as view:
        hashes = (content for content, _ in view.vectors(model_id, precision))
        for batch in _batches(hashes):
            wanted = np.frombuffer(b"".join(batch), np.uint8).reshape(-1, 32)
            everywhere = np.ones(len(batch), np.bool_)
            for index in held:
                everywhere &= index.find(wanted) != UNKNOWN
            chosen = [content for content, has in zip(batch, everywhere, strict=True) if has]
            if chosen:
                with catalogue.transaction() as writer:
                    writer.drop_vectors(model_id, precision, chosen)
            dropped += len(chosen)
    return dropped


def _drop_unused(catalogue: Catalogue) -> None:
    """Drops the vectors of contents that no photo has any more."""
    with catalogue.snapshot() as view:
        for batch in _batches(view.unused_vectors()):
            with catalogue.transaction() as writer:
                writer.drop_unused_vectors(batch, view.last_photo_id)


def _trim_log(catalogue: Catalogue, number: int) -> None:
    with catalogue.snapshot() as view:
        start = view.log_start
    for below in (*range(start + TRIMMED_AT_ONCE, number, TRIMMED_AT_ONCE), number):
        with catalogue.transaction() as writer:
            writer.trim_log(below)


def _contents(generation: Path) -> list[NDArray[np.uint8]]:
    manifest = Manifest.read(generation)
    names = [shard_files(number)[2] for number in range(manifest.shards)]
    return [contents_of(read_table(generation / name).column("content_hash")) for name in names]


def _check(catalogue: Catalogue, generation: Path, manifest: Manifest) -> None:
    if manifest.catalogue_id != catalogue.catalogue_id:
        raise WrongCatalogue(
            f"{generation.parents[1]} belongs to another catalogue than {catalogue.name}; name that one."
        )
    check_reached(manifest.change_number, catalogue.change_number(), catalogue.name)
    for number in range(manifest.shards):
        for name in shard_files(number)[1:]:
            if problem := manifest.files[name].problem(generation / name):
                raise DamagedFile(problem)


def _batches(items: Iterator[bytes]) -> Iterator[list[bytes]]:
    while batch := list(islice(items, AT_ONCE)):
        yield batch
