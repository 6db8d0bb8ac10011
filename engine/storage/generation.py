"""An index on the disk, and the opened generation that answers.

::

    index/CURRENT                 the name of the generation that answers
    index/models/<model id>/      the serving part of its model
    index/generations/000042/     manifest.json, quantizer.faiss, products.arrow, three files a shard

A generation never changes. A reader that has opened one may keep it for as long as it likes: files that are mapped
outlive their names.
"""

from pathlib import Path

from engine.errors import DamagedFile, IndexMissing
from engine.storage import manifest as manifests
from engine.storage import products as products_file
from engine.storage.facets import FacetTable
from engine.storage.files import write_text
from engine.storage.ivf import Quantizer
from engine.storage.manifest import Manifest
from engine.storage.products import Products
from engine.storage.shard import Shard

CURRENT = "CURRENT"
QUANTIZER = "quantizer.faiss"
ATTEMPTS = 5  # times CURRENT is read again because its generation was removed meanwhile


class Generation:
    """One opened generation: immutable, shared by any number of threads.

    Raises DamagedFile or UnsupportedFormat where its files are not what its manifest says (sizes are checked;
    `lookalike verify` checks every byte).
    """

    def __init__(self, index_dir: Path, name: str) -> None:
        self.name = name
        self.path = generation_path(index_dir, name)
        self.manifest = Manifest.read(self.path)
        self.model_path = model_path(index_dir, self.manifest.model_id)
        self._check_sizes()
        self.products = Products.open(self.path / products_file.NAME, self.manifest.facets)
        self.quantizer = Quantizer.open(self.path / QUANTIZER, self.manifest.codec)
        self.shards: tuple[Shard, ...] = tuple(
            Shard.open(self.path, number, self.quantizer) for number in range(self.manifest.shards)
        )

    @property
    def facets(self) -> FacetTable:
        """The products' facets, as columns."""
        return self.products.facets

    def close(self) -> None:
        """Lets go of the shards; the memory goes when the last query that still reads them ends."""
        self.shards = ()

    def _check_sizes(self) -> None:
        for name, entry in self.manifest.files.items():
            path = self.path / name
            if not path.is_file():
                raise DamagedFile(f"{path} is missing; restore it, or rebuild the index with `lookalike index`.")
            size = path.stat().st_size
            if size != entry.bytes:
                raise DamagedFile(
                    f"{path} has {size} bytes and should have {entry.bytes}; restore it, or rebuild the index with "
                    "`lookalike index`."
                )


def open_index(index_dir: Path) -> Generation:
    """Opens the generation that CURRENT names.

    Raises IndexMissing where there is none yet, and what `Generation` raises.
    """
    for attempt in range(ATTEMPTS):
        name = read_current(index_dir)
        try:
            return Generation(index_dir, name)
        except (DamagedFile, FileNotFoundError):
            # a writer may have removed this generation since CURRENT was read
            if attempt == ATTEMPTS - 1 or read_current(index_dir) == name:
                raise
    raise AssertionError("the last attempt returns or raises")


def read_current(index_dir: Path) -> str:
    """The name of the generation that answers. Raises IndexMissing, or DamagedFile where CURRENT is no name."""
    path = index_dir / CURRENT
    try:
        name = path.read_text(encoding="utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        raise IndexMissing(f"There is no finished index in {index_dir}; make one with `lookalike index`.") from None
    except UnicodeDecodeError:
        name = ""
    if not (name.isascii() and name.isdigit()):
        raise DamagedFile(f"{path} does not name a generation; rebuild the index with `lookalike index`.")
    return name


def move_current(index_dir: Path, name: str) -> None:
    """From now on the generation `name` answers; it must be whole and on the disk."""
    assert (generation_path(index_dir, name) / manifests.NAME).is_file()
    write_text(index_dir / CURRENT, f"{name}\n")


def generation_path(index_dir: Path, name: str) -> Path:
    """The directory of a generation."""
    return index_dir / "generations" / name


def generation_names(index_dir: Path) -> list[str]:
    """The generations on the disk, oldest first."""
    return sorted(path.name for path in (index_dir / "generations").glob("[0-9]*") if path.is_dir())


def model_path(index_dir: Path, model_id: str) -> Path:
    """The directory of the serving part of a model."""
    return index_dir / "models" / model_id
