"""What the generation that answers now gives to the next one: vectors that need not be computed again."""

from pathlib import Path

from engine.errors import DamagedFile, IndexMissing, WrongCatalogue
from engine.storage.generation import Generation, generation_path, read_current
from engine.storage.manifest import Manifest
from engine.telemetry import Progress
from engine.vision.encoder import Encoder
from indexer.contents import Contents
from indexer.embed import KnownVectors

PRECISION = "float32"  # of the encoder; vectors of another are not the same vectors


def known_vectors(index_dir: Path, contents: Contents, encoder: Encoder, progress: Progress) -> KnownVectors:
    """The vectors of the current generation, where it was made by the same model in the same precision.

    A damaged generation gives nothing and is noted: building anew is how it is repaired. Raises WrongCatalogue where
    the index belongs to another catalogue or to a later state of this one.
    """
    known = KnownVectors()
    try:
        name = read_current(index_dir)
        manifest = Manifest.read(generation_path(index_dir, name))
        _check_catalogue(index_dir, manifest, contents)
        if manifest.model_id != encoder.model_id or manifest.precision != PRECISION:
            progress.note(
                f"{index_dir} was made by model {manifest.model_id[:12]}, this is {encoder.model_id[:12]}: every photo "
                "is embedded again."
            )
            return known
        generation = Generation(index_dir, name)
    except IndexMissing:
        return known
    except DamagedFile as damage:
        progress.note(f"Every photo is embedded again: {damage}")
        return known
    for shard in generation.shards:
        known.add(shard.content_hashes(), shard.vectors)
    return known


def _check_catalogue(index_dir: Path, manifest: Manifest, contents: Contents) -> None:
    if manifest.catalogue_id != contents.catalogue_id:
        raise WrongCatalogue(
            f"{index_dir} belongs to another catalogue than {contents.name}; name that one, or another directory."
        )
    if manifest.change_number > contents.change_number:
        raise WrongCatalogue(
            f"{index_dir} was built after change {manifest.change_number}, and {contents.name} is at change "
            f"{contents.change_number}: an older copy; bring back the newer one, or name another directory."
        )
