"""What a generation says about itself: `manifest.json`, format 1.

It is written last, so a directory with a manifest is a finished generation. Every other file of the generation is in
it with its rows, bytes and sha256; `seal` is the sha256 of the manifest's own fields.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from engine.catalogue.schema import Facet, FacetType
from engine.errors import DamagedFile, UnsupportedFormat
from engine.storage.files import sha256_of, write_text

FORMAT = 1
NAME = "manifest.json"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file: its `rows` (photos, products or lists, whichever it holds), its bytes and their sha256 in hex."""

    rows: int
    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path, rows: int) -> "FileEntry":
        """Describes the file as it is on the disk."""
        return cls(rows=rows, bytes=path.stat().st_size, sha256=sha256_of(path))


@dataclass(frozen=True, slots=True)
class Recall:
    """A measured recall: of the true best `at` products of a query, the share found, averaged over `queries`.

    `how` says in words on what it was measured; `interval_95` are the ends of its 95 % interval.
    """

    at: int
    value: float
    queries: int
    how: str
    interval_95: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A generation: what it was made of, how to search it, and what that reaches.

    `codec` is the FAISS factory string of the codes; vectors are L2-normalised, so `metric` is always the inner
    product. `nprobe` lists of `lists` are visited per query and the `depth` photos with the best codes re-ranked on
    their float16 rows, which reaches `recall`. A filtered query visits lists until it has seen `filter_budget`
    photos that pass, which reaches `filtered_recall`.
    """

    model_id: str
    dim: int
    precision: str
    catalogue_id: str
    change_number: int
    created_at: str
    codec: str
    metric: str
    lists: int
    nprobe: int
    depth: int
    filter_budget: int
    recall: Recall
    filtered_recall: Recall
    products: int
    photos: int
    shards: int
    facets: tuple[Facet, ...]
    files: Mapping[str, FileEntry]
    calibration: None = None

    @property
    def bytes_per_photo(self) -> float:
        """Bytes on the disk of all the generation's files, a photo."""
        return sum(entry.bytes for entry in self.files.values()) / max(self.photos, 1)

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        fields = asdict(self)
        return json.dumps({"format": FORMAT, "seal": _seal(fields)} | fields, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, path: Path) -> "Manifest":
        """Reads the text of `manifest.json`; `path` is named in errors.

        Raises DamagedFile where the text is no manifest, UnsupportedFormat where it is of a later format.
        """
        try:
            fields: dict[str, Any] = json.loads(text)
            number = fields.pop("format")
        except (ValueError, AttributeError, KeyError, TypeError):
            raise DamagedFile(f"{path} is not a manifest; rebuild the index with `lookalike index`.") from None
        if number != FORMAT:
            raise UnsupportedFormat(
                f"{path} is of format {number}, this Lookalike reads format {FORMAT}; use a newer Lookalike or rebuild."
            )
        try:
            if fields.pop("seal") != _seal(fields):
                raise ValueError("its fields were changed")
            return cls(
                **fields
                | {
                    "recall": _recall(fields["recall"]),
                    "filtered_recall": _recall(fields["filtered_recall"]),
                    "facets": tuple(Facet(item["name"], FacetType(item["type"])) for item in fields["facets"]),
                    "files": {name: FileEntry(**entry) for name, entry in fields["files"].items()},
                }
            )
        except (KeyError, TypeError, ValueError, AttributeError) as wrong:
            raise DamagedFile(
                f"{path} is not a whole manifest ({wrong}); rebuild the index with `lookalike index`."
            ) from None

    def write(self, directory: Path) -> None:
        """Finishes a generation: writes `manifest.json` into its directory."""
        write_text(directory / NAME, self.to_json())

    @classmethod
    def read(cls, directory: Path) -> "Manifest":
        """The manifest of the generation in `directory`. Raises DamagedFile, UnsupportedFormat."""
        path = directory / NAME
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise DamagedFile(f"{path} is missing; rebuild the index with `lookalike index`.") from None
        except (OSError, UnicodeDecodeError) as wrong:
            raise DamagedFile(f"{path} cannot be read ({wrong}); rebuild the index with `lookalike index`.") from None
        return cls.from_json(text, path)


def _seal(fields: dict[str, Any]) -> str:
    return sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _recall(fields: dict[str, Any]) -> Recall:
    low, high = fields["interval_95"]
    return Recall(**fields | {"interval_95": (low, high)})
