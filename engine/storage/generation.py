"""An index on the disk, and the opened generation that answers.

::

    index/CURRENT                 the name of the generation that answers
    index/models/<model id>/      the serving part of its model
    index/generations/000042/     manifest.json, quantizer.faiss, products.arrow, three files a shard

A generation never changes. A reader that has opened one may keep it for as long as it likes: files that are mapped
outlive their names.
"""

from hashlib import sha256
from pathlib import Path

from engine.errors import DamagedFile, IndexMissing
from engine.storage import manifest as manifests
from engine.storage import products as products_file
from engine.storage.facets import FacetTable
from engine.storage.files import read_ahead, write_text
from engine.storage.ivf import Quantizer
from engine.storage.manifest import Manifest
from engine.storage.products import Products
from engine.storage.shard import Shard, shard_files

CURRENT = "CURRENT"
QUANTIZER = "quantizer.faiss"
ATTEMPTS = 5  # times CURRENT is read again because its generation was removed meanwhile


class Generation:
    """One opened generation: immutable, shared by any number of threads.

    Raises DamagedFile or UnsupportedFormat where its files are not what its manifest says (sizes are checked;
    `lookalike verify` checks every byte). With `allow_damaged`, a shard that is damaged or missing is left out as long
    as another one is whole, and `damaged` has a sentence for it; `shard_numbers` are those of the `shards`.
    """

    def __init__(self, index_dir: Path, name: str, *, allow_damaged: bool = False) -> None:
        self.name = name
        self.path = generation_path(index_dir, name)
        self.manifest = Manifest.read(self.path)
        self.model_path = model_path(index_dir, self.manifest.model_id)
        damaged = self._sort_out(self._check_sizes(), allow_damaged)
        self.products = Products.open(self.path / products_file.NAME, self.manifest.facets)
        self.quantizer = Quantizer.open(self.path / QUANTIZER, self.manifest.codec)
        shards: dict[int, Shard] = {}
        whole = [number for number in range(self.manifest.shards) if number not in damaged]
        for number, following in zip(whole, [*whole[1:], None], strict=True):
            if following is not None:  # the disk reads its codes while these are taken apart
                read_ahead(self.path / shard_files(following)[0])
            try:
                shards[number] = Shard.open(self.path, number, self.quantizer)
            except (DamagedFile, OSError) as damage:
                damaged[number] = str(damage)
                if not allow_damaged or len(damaged) == self.manifest.shards:
                    raise
        self.shards: tuple[Shard, ...] = tuple(shards.values())
        self.shard_numbers: tuple[int, ...] = tuple(shards)
        self.damaged: tuple[str, ...] = tuple(
            f"Shard {number} of {self.manifest.shards} is missing from the answer: {damage}"
            for number, damage in sorted(damaged.items())
        )

    @property
    def facets(self) -> FacetTable:
        """The products' facets, as columns."""
        return self.products.facets

    def close(self) -> None:
        """Lets go of the shards; the memory goes when the last query that still reads them ends."""
        self.shards = ()

    def _check_sizes(self) -> dict[str, str]:
        """What is wrong with the files by their sizes, a sentence by name."""
        files = self.manifest.files
        problems = {name: entry.problem(self.path / name, every_byte=False) for name, entry in files.items()}
        return {name: problem for name, problem in problems.items() if problem}

    def _sort_out(self, problems: dict[str, str], allow_damaged: bool) -> dict[int, str]:
        """The problems of single shards by shard; raises the others, and all where none may be."""
        shards = {}
        for number in range(self.manifest.shards):
            found = [problems.pop(name) for name in shard_files(number) if name in problems]
            if found:
                shards[number] = found[0]
        if problems or (shards and (not allow_damaged or len(shards) == self.manifest.shards)):
            raise DamagedFile([*problems.values(), *shards.values()][0])
        return shards


def open_index(index_dir: Path, *, allow_damaged: bool = False) -> Generation:
    """Opens the generation that CURRENT names.

    Raises IndexMissing where there is none yet, and what `Generation` raises.
    """
    for attempt in range(ATTEMPTS):
        name = read_current(index_dir)
        try:
            return Generation(index_dir, name, allow_damaged=allow_damaged)
        except (DamagedFile, FileNotFoundError):
            # a writer may have removed this generation since CURRENT was read
            if attempt == ATTEMPTS - 1 or read_current(index_dir) == name:
                raise
    raise AssertionError("the last attempt returns or raises")


def read_current(index_dir: Path) -> str:
    """The name of the generation that answers. Raises IndexMissing, or DamagedFile where CURRENT is no name."""
    path = index_dir / CURRENT
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        if generation_names(index_dir):
            raise IndexMissing(f"{path} is missing; write it again with `lookalike index --repair`.") from None
        raise IndexMissing(f"There is no finished index in {index_dir}; make one with `lookalike index`.") from None
    name = text[: text.find(b"\n")].split(b" ")[0].decode("ascii", "replace")
    # a name alone in its line is what earlier versions wrote, and what people write
    if not name.isdigit() or text not in (f"{name}\n".encode(), _current_line(name)):
        raise DamagedFile(f"{path} does not name a generation; rebuild it with `lookalike index --repair`.")
    return name


def move_current(index_dir: Path, name: str) -> None:
    """From now on the generation `name` answers; it must be whole and on the disk."""
    assert (generation_path(index_dir, name) / manifests.NAME).is_file()
    write_text(index_dir / CURRENT, _current_line(name).decode())


def _current_line(name: str) -> bytes:
    """A name with a sum of itself, so that no other name comes of a flipped bit."""
    return f"{name} {sha256(name.encode()).hexdigest()[:8]}\n".encode()


def generation_path(index_dir: Path, name: str) -> Path:
    """The directory of a generation."""
    return index_dir / "generations" / name


def generation_names(index_dir: Path) -> list[str]:
    """The generations on the disk, oldest first."""
    return sorted(path.name for path in (index_dir / "generations").glob("[0-9]*") if path.is_dir())


def model_path(index_dir: Path, model_id: str) -> Path:
    """The directory of the serving part of a model."""
    return index_dir / "models" / model_id
