"""What a generation says about itself: `manifest.json`, format 2 (1 is read too).

It is written last, so a directory with a manifest is a finished generation. Every other file of the generation is in
it with its rows, bytes and sha256; `seal` is the sha256 of the manifest's own fields.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from dataclasses import fields as dataclass_fields
from hashlib import sha256
from pathlib import Path
from typing import Any

from engine.catalogue.schema import Facet, FacetType
from engine.errors import DamagedFile, UnsupportedFormat
from engine.storage.files import sha256_of, write_text

FORMAT = 2
READ = (1, 2)  # format numbers
NAME = "manifest.json"
REMEDY = "restore it, or rebuild it with `lookalike index --repair`"


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

    def problem(self, path: Path, *, every_byte: bool = True) -> str | None:
        """A sentence where `path` is not the file that was described, None where it is; without `every_byte` only its
        size is looked at."""
        try:
            size = path.stat().st_size
            if size != self.bytes:
                return f"{path} has {size:,} bytes and should have {self.bytes:,}; {REMEDY}."
            if every_byte and sha256_of(path) != self.sha256:
                return f"{path} is not the file that was written (sha256); {REMEDY}."
        except FileNotFoundError:
            return f"{path} is missing; {REMEDY}."
        except OSError as error:
            return f"{path} cannot be read ({error.strerror}); {REMEDY}."
        return None


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
class FilterCalibration:
    """How far photos stray from what a filtered search can see before it looks at them, as measured while building.

    `excess` [bins, tails]: of the photos in lists whose centroids have the similarity `similarities` [bins] (rising
    evenly) to a query, the share `tails` [tails] (falling) has a cosine that exceeds it by more than this.
    `code_excess` [tails]: of the best photos, the same share has a cosine above its code's score by that. `caution`
    multiplies the misses that these two foretell, so that the filters tried while building lost no more than foretold.
    """

    tails: tuple[float, ...]
    similarities: tuple[float, ...]
    excess: tuple[tuple[float, ...], ...]
    code_excess: tuple[float, ...]
    caution: float

    def __post_init__(self) -> None:
        """Lists, as JSON has them, become tuples."""
        for name in ("tails", "similarities", "code_excess"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "excess", tuple(map(tuple, self.excess)))


@dataclass(frozen=True, slots=True)
class Manifest:
    """A generation: what it was made of, how to search it, and what that reaches.

    `codec` is the FAISS factory string of the codes; vectors are L2-normalised, so `metric` is always the inner
    product. `nprobe` lists of `lists` are visited per query and the `depth` photos with the best codes re-ranked on
    their float16 rows, which reaches `recall`. A filtered query compares up to `filter_budget` photos that pass, all of
    them; where more pass, it visits lists for as long as `filter_calibration` foretells that they hold results, which
    reaches `filtered_recall`.

    Since format 2: `model_files` are those of the index's copy of the model; `bytes_per_photo_asked` and
    `recall_target` are what was asked of the build, None where it chose itself; `filter_calibration` is None where
    there was too little to measure on: then every photo that passes is compared.
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
    model_files: Mapping[str, FileEntry] = field(default_factory=dict)
    bytes_per_photo_asked: int | None = None
    recall_target: float | None = None
    filter_calibration: FilterCalibration | None = None

    @property
    def bytes_per_photo(self) -> float:
        """Bytes on the disk of all the generation's files, a photo."""
        return sum(entry.bytes for entry in self.files.values()) / max(self.photos, 1)

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        return _text(FORMAT, asdict(self))

    @classmethod
    def from_json(cls, text: str, path: Path) -> "Manifest":
        """Reads the text of `manifest.json`; `path` is named in errors.

        Raises DamagedFile where the text is no manifest, UnsupportedFormat where it is of a later format.
        """
        try:
            fields: dict[str, Any] = json.loads(text)
            number = fields.pop("format")
        except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
            raise DamagedFile(f"{path} is not a manifest; {REMEDY}.") from None
        if number not in READ:
            raise UnsupportedFormat(
                f"{path} is of format {number}, this Lookalike reads up to {FORMAT}; use a newer Lookalike or rebuild."
            )
        try:
            if fields.pop("seal") != _seal(fields):
                raise ValueError("its fields were changed")
            if text != _text(number, fields):
                raise ValueError("it is not as it was written")
            if number == FORMAT and fields.keys() != {each.name for each in dataclass_fields(cls)}:
                raise ValueError("it has other fields")
            return cls(
                **fields
                | {
                    "recall": _recall(fields["recall"]),
                    "filtered_recall": _recall(fields["filtered_recall"]),
                    "facets": tuple(Facet(item["name"], FacetType(item["type"])) for item in fields["facets"]),
                    "files": _files(fields["files"]),
                    "model_files": _files(fields.get("model_files", {})),
                    "filter_calibration": _calibration(fields.get("filter_calibration")),
                }
            )
        except (KeyError, TypeError, ValueError, AttributeError) as wrong:
            raise DamagedFile(f"{path} is not a whole manifest ({wrong}); {REMEDY}.") from None

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
            raise DamagedFile(f"{path} is missing; {REMEDY}.") from None
        except (OSError, UnicodeDecodeError) as wrong:
            raise DamagedFile(f"{path} cannot be read ({wrong}); {REMEDY}.") from None
        return cls.from_json(text, path)


def _text(number: int, fields: dict[str, Any]) -> str:
    return json.dumps({"format": number, "seal": _seal(fields)} | fields, indent=2) + "\n"


def _files(entries: Mapping[str, Any]) -> dict[str, FileEntry]:
    return {name: FileEntry(**entry) for name, entry in entries.items()}


def _seal(fields: dict[str, Any]) -> str:
    return sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _calibration(fields: dict[str, Any] | None) -> FilterCalibration | None:
    return None if fields is None else FilterCalibration(**fields)


def _recall(fields: dict[str, Any]) -> Recall:
    low, high = fields["interval_95"]
    return Recall(**fields | {"interval_95": (low, high)})
