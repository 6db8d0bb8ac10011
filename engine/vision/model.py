"""The model directory: all it takes to turn a photo into an embedding and predictions, without torch.

::

    model.json           what the model is, and every other file with its bytes and sha256; written last
    encoder.onnx         "photos" float32 [n, 3, size, size], n free -> "embedding" float32 [n, dim], L2 norm 1,
                         and "features" float32 [n, feature_dim]: exactly what the heads take
    heads.safetensors    "<head>.weight" float32 [classes, feature_dim] and "<head>.bias" float32 [classes]
    weights.safetensors, recipe.toml, card.md    to train on and to read; an index carries its model without them
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from engine.errors import DamagedFile, MissingFile, UnsupportedFormat
from engine.vision.preprocess import Preprocess

FORMAT = 1
SPEC_FILE = "model.json"
ENCODER_FILE = "encoder.onnx"
HEADS_FILE = "heads.safetensors"
WEIGHTS_FILE = "weights.safetensors"
RECIPE_FILE = "recipe.toml"
CARD_FILE = "card.md"
SERVING_FILES = (ENCODER_FILE, HEADS_FILE)


@dataclass(frozen=True, slots=True)
class Head:
    """A linear classifier on the trunk's features. `label` is the table's column, and so the facet, it predicts."""

    name: str
    label: str
    classes: tuple[str, ...]
    kind: Literal["softmax", "multilabel"] = "softmax"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file as it was written: its size in bytes and its sha256 in hex."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What `model.json` says. `training` is for people (recipe, epochs, figures) and means nothing to serving."""

    model_id: str
    name: str
    trunk: str
    dim: int
    feature_dim: int
    preprocess: Preprocess
    heads: tuple[Head, ...] = ()
    files: dict[str, FileEntry] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Model:
    """An opened model directory: where it is and what it says. Opening reads no weights."""

    path: Path
    spec: ModelSpec

    @classmethod
    def open(cls, directory: str | Path) -> Self:
        """Reads `model.json` and checks that the files are there and as long as it says.

        Raises:
            MissingFile: no such directory, or no `model.json` in it.
            UnsupportedFormat: written by a version with another format.
            DamagedFile: `model.json` cannot be read, or a file is missing or of another size.
        """
        path = Path(directory)
        model = cls(path, _read_spec(path / SPEC_FILE))
        for name in SERVING_FILES:
            if name not in model.spec.files or not (path / name).is_file():
                raise DamagedFile(f"The model {path} lacks {name}; export it again or restore it from a copy.")
        if problems := [found for name in model._present() if (found := model._wrong_size(name))]:
            raise DamagedFile(problems[0])
        return model

    @property
    def encoder_path(self) -> Path:
        return self.path / ENCODER_FILE

    @property
    def heads_path(self) -> Path:
        return self.path / HEADS_FILE

    def verify(self) -> list[str]:
        """Reads every file that is there in full; a sentence for each that is not what was written."""
        return [found for name in self._present() if (found := self._wrong_size(name) or self._wrong_bytes(name))]

    def _present(self) -> list[str]:
        return [name for name in self.spec.files if (self.path / name).is_file()]

    def _wrong_size(self, name: str) -> str | None:
        size, entry = (self.path / name).stat().st_size, self.spec.files[name]
        if size == entry.bytes:
            return None
        return (
            f"{self.path / name} has {size:,} bytes instead of {entry.bytes:,}; restore it or export the model again."
        )

    def _wrong_bytes(self, name: str) -> str | None:
        if _entry(self.path / name) == self.spec.files[name]:
            return None
        return f"{self.path / name} is not the file that was written (sha256); restore it or export the model again."


def compute_model_id(
    tensors: Mapping[str, NDArray[Any]],
    preprocess: Preprocess,
    *,
    trunk: str,
    dim: int,
    pooling: str = "gem",
    mirrored: bool = False,
    heads: Sequence[Head] = (),
) -> str:
    """The identity of a network as sha256 in hex: its tensors, preprocessing and configuration, nothing else.

    Give every tensor, those of the heads included. Neither the order of the tensors nor when or by what they were
    exported matters, so a re-export of the same network has the same id and its vectors stay good.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        # little-endian and row by row, so that every machine hashes the same bytes
        tensor = np.asarray(tensors[name])
        tensor = np.ascontiguousarray(tensor, dtype=tensor.dtype.newbyteorder("<"))
        digest.update(_canonical([name, tensor.dtype.str, list(np.shape(tensors[name]))]))
        digest.update(tensor.tobytes())
    digest.update(
        _canonical(
            {
                "trunk": trunk,
                "dim": dim,
                "pooling": pooling,
                # only where it is so: networks that were there before it could be keep their ids
                **({"mirrored": True} if mirrored else {}),
                "preprocess": preprocess.to_dict(),
                "heads": [asdict(head) for head in heads],
            }
        )
    )
    return digest.hexdigest()


def write_model(directory: Path, spec: ModelSpec, files: Mapping[str, Path | bytes]) -> Model:
    """Writes a model directory: `files` (name -> contents, or a file to copy), then `model.json` that lists them.

    Every file is written beside its name and synced before the first is renamed, so a kill while copying leaves a
    model that was there before as it was. Files of other names stay.
    """
    assert set(SERVING_FILES) <= set(files), sorted(files)
    directory.mkdir(parents=True, exist_ok=True)
    staged = {name: directory / f".{name}.{os.getpid()}" for name in (*files, SPEC_FILE)}  # model.json comes last
    try:
        for name, content in files.items():
            _write(staged[name], content)
        entries = {name: _entry(staged[name]) for name in files}
        _write(staged[SPEC_FILE], _to_json(replace(spec, files=entries)))
        for name, path in staged.items():
            path.replace(directory / name)
    finally:
        for path in staged.values():
            path.unlink(missing_ok=True)
    _sync(directory)
    return Model.open(directory)


def copy_serving_part(model: Model, directory: Path) -> Model:
    """Copies what serving needs of `model` to `directory` (`index/models/<model id>`), all of it or nothing.

    A sound copy of the same model that is there already is left alone.
    """
    if there := _sound_copy(directory, model.spec.model_id):
        return there
    beside = directory.with_name(f".{directory.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    write_model(beside, model.spec, {name: model.path / name for name in SERVING_FILES})
    shutil.rmtree(directory, ignore_errors=True)
    beside.rename(directory)
    _sync(directory.parent)
    return Model.open(directory)


def _sound_copy(directory: Path, model_id: str) -> Model | None:
    try:
        model = Model.open(directory)
    except (MissingFile, DamagedFile, UnsupportedFormat):
        return None
    return model if model.spec.model_id == model_id and not model.verify() else None


def _read_spec(path: Path) -> ModelSpec:
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise MissingFile(f"{path.parent} is no model: it has no {path.name}; train one or correct the path.") from None
    except (OSError, ValueError) as error:
        raise DamagedFile(f"{path} cannot be read ({error}); restore it or export the model again.") from None
    found = values.get("format") if isinstance(values, dict) else None
    if isinstance(found, int) and found != FORMAT:
        raise UnsupportedFormat(f"{path} has format {found}, this version reads {FORMAT}; use a newer Lookalike.")
    try:
        return TypeAdapter(ModelSpec).validate_python(values)
    except ValidationError as invalid:
        first = invalid.errors()[0]
        where = ".".join(map(str, first["loc"])) or "its contents"
        raise DamagedFile(
            f"{path} is damaged at {where} ({first['msg']}); restore it or export the model again."
        ) from None


def _to_json(spec: ModelSpec) -> bytes:
    return (json.dumps({"format": spec.format, **asdict(spec)}, indent=2, ensure_ascii=False) + "\n").encode()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _entry(path: Path) -> FileEntry:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    return FileEntry(path.stat().st_size, digest.hexdigest())


def _write(path: Path, content: Path | bytes) -> None:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        shutil.copyfile(content, path)
    _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
