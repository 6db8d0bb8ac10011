"""What is known before a build begins: vectors that need not be computed again, and where they lie.

They come from the last generations, from the catalogue (photos that were added live) and from the journals of a build
that was killed. Files of a generation are read in full against their sums first: a flipped bit must not be copied into
a new file that then has a sum of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.changes import check_reached
from engine.errors import DamagedFile, IndexMissing, UnsupportedFormat, WrongCatalogue
from engine.storage.generation import generation_names, generation_path, read_current
from engine.storage.manifest import Manifest
from engine.storage.products import read_table
from engine.storage.shard import contents_of, shard_files
from engine.telemetry import SILENT, Progress
from engine.vision.photo_vectors import PRECISION
from indexer.journal import JournalWriter
from indexer.known import Known, Source, VectorFile, journal_source
from indexer.stock import Stock, write_contents_of_numbers

SPOOLED_AT_ONCE = 4096  # vectors of the catalogue kept in memory


def last_manifest(index_dir: Path, stock: Stock, progress: Progress) -> tuple[str, Manifest] | None:
    """The newest generation that has a manifest, by name; None where there is none.

    Raises WrongCatalogue where the index belongs to another catalogue or to a later state of this one.
    """
    for name in _newest_first(index_dir, progress):
        if (manifest := _manifest(index_dir, name, progress)) is not None:
            check_catalogue(index_dir, manifest, stock)
            return name, manifest
    return None


@dataclass(frozen=True, slots=True)
class Earlier:
    """What earlier builds and the catalogue give: `known` vectors; `whole`, the shards of the last generation of which
    all three files are what was written."""

    known: Known
    whole: frozenset[int] = frozenset()


def known_vectors(
    index_dir: Path,
    last: tuple[str, Manifest] | None,
    stock: Stock,
    model: tuple[str, int],
    work: Path,
    *,
    progress: Progress,
) -> Earlier:
    """All vectors of the `model`, its id and the length of its vectors, that are known: those of the last generation
    first.

    An older generation is read only where the newer ones did not give all that they hold: otherwise it is not worth
    reading in full.
    """
    model_id, dim = model
    sources: list[Source] = []
    whole: frozenset[int] = frozenset()
    for name, manifest in _with_older(index_dir, last, progress):
        if (manifest.model_id, manifest.precision) != (model_id, PRECISION):
            continue
        found, sound = _generation_sources(generation_path(index_dir, name), manifest, progress)
        sources += found
        if last is not None and name == last[0]:
            whole = sound
        if len(found) == manifest.shards:
            break
    if last is not None and last[1].model_id != model_id and not sources:
        progress.note(
            f"{index_dir} was made by model {last[1].model_id[:12]}, this is {model_id[:12]}: every photo is embedded "
            "again."
        )
    sources.append(_catalogue_source(stock, model_id, dim, work))
    sources += [journal_source(path, dim) for path in sorted(journal_folder(work, model_id).iterdir())]
    return Earlier(Known(tuple(source for source in sources if source.file.rows)), whole)


def given_vectors(vectors: NDArray[np.float16] | Path, dim: int, work: Path) -> Source:
    """Vectors [n, dim], which `indexer.given` has looked at, as a source whose contents are their numbers."""
    path = vectors if isinstance(vectors, Path) else work / "given.npy"
    if not isinstance(vectors, Path):
        np.save(path, vectors)
    found = np.load(path, mmap_mode="r")
    numbers = work / "given.contents.npy"
    write_contents_of_numbers(numbers, len(found))
    return Source(np.load(numbers, mmap_mode="r"), VectorFile(path, "npy", len(found), dim))


def journal_folder(work: Path, model_id: str) -> Path:
    """Where a model's vectors are kept as they are computed; made if missing."""
    folder = work / "embedded" / f"{model_id}-{PRECISION}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _newest_first(index_dir: Path, progress: Progress = SILENT) -> list[str]:
    """The generations: the one that answers, then the others."""
    names = generation_names(index_dir)[::-1]
    try:
        current = read_current(index_dir)
    except (DamagedFile, IndexMissing) as damage:
        if names:
            progress.note(str(damage))
        return names
    return [current, *(name for name in names if name != current)]


def _with_older(
    index_dir: Path, last: tuple[str, Manifest] | None, progress: Progress
) -> Iterator[tuple[str, Manifest]]:
    """The last generation and those that come after it, each read when it is its turn."""
    if last is None:
        return
    yield last
    names = _newest_first(index_dir)
    for name in names[names.index(last[0]) + 1 :]:
        if (manifest := _manifest(index_dir, name, progress)) is not None:
            yield name, manifest


def _manifest(index_dir: Path, name: str, progress: Progress) -> Manifest | None:
    try:
        return Manifest.read(generation_path(index_dir, name))
    except (DamagedFile, UnsupportedFormat) as damage:
        progress.note(f"Generation {name} gives no vectors: {damage}")
        return None


def _generation_sources(
    generation: Path, manifest: Manifest, progress: Progress
) -> tuple[list[Source], frozenset[int]]:
    """The vectors of every shard whose vectors and rows are what was written, and which shards are so altogether."""
    sources, whole = [], set()
    progress.start(f"Checking generation {generation.name}", manifest.shards)
    for number in range(manifest.shards):
        codes, vectors, rows = shard_files(number)
        problems = {name: manifest.files[name].problem(generation / name) for name in (codes, vectors, rows)}
        progress.advance()
        if problem := problems[vectors] or problems[rows]:
            progress.note(f"Shard {number} of generation {generation.name} gives no vectors: {problem}")
            continue
        if problems[codes] is None:
            whole.add(number)
        contents = contents_of(read_table(generation / rows).column("content_hash"))
        sources.append(Source(contents, VectorFile(generation / vectors, "npy", len(contents), manifest.dim)))
    return sources, frozenset(whole)


def _catalogue_source(stock: Stock, model_id: str, dim: int, work: Path) -> Source:
    """The catalogue's vectors, copied to a file; ones that cannot be this model's are left out."""
    path = work / "catalogue.journal"
    path.unlink(missing_ok=True)
    with JournalWriter(path, dim) as writer:
        contents: list[bytes] = []
        vectors: list[NDArray[np.float16]] = []
        for content, vector in stock.vectors(model_id, PRECISION):
            if vector.shape != (dim,):
                continue
            contents.append(content)
            vectors.append(vector)
            if len(contents) == SPOOLED_AT_ONCE:
                writer.append(contents, np.stack(vectors))
                contents, vectors = [], []
        if contents:
            writer.append(contents, np.stack(vectors))
    return journal_source(path, dim)


def check_catalogue(index_dir: Path, manifest: Manifest, stock: Stock) -> None:
    if manifest.catalogue_id != stock.catalogue_id:
        raise WrongCatalogue(
            f"{index_dir} belongs to another catalogue than {stock.name}; name that one, or another directory."
        )
    check_reached(manifest.change_number, stock.change_number, stock.name)
