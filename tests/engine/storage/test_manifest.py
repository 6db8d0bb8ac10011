import json
from pathlib import Path

import pytest

from engine.catalogue.schema import Facet, FacetType
from engine.errors import DamagedFile, UnsupportedFormat
from engine.storage.manifest import FileEntry, Manifest, Recall

RECALL = Recall(at=10, value=0.99, queries=250, how="somehow", interval_95=(0.97, 1.0))
MANIFEST = Manifest(
    model_id="m" * 64,
    dim=16,
    precision="float32",
    catalogue_id="c",
    change_number=7,
    created_at="2026-01-02T03:04:05+00:00",
    codec="IVF2,PQ4x4fsr",
    metric="inner_product",
    lists=2,
    nprobe=1,
    depth=32,
    filter_budget=500,
    recall=RECALL,
    filtered_recall=RECALL,
    products=2,
    photos=4,
    shards=1,
    facets=(Facet("colour", FacetType.KEYWORD), Facet("price", FacetType.NUMBER)),
    files={"a": FileEntry(rows=4, bytes=100, sha256="0" * 64), "b": FileEntry(rows=4, bytes=60, sha256="1" * 64)},
    model_files={"model.json": FileEntry(rows=1, bytes=7, sha256="2" * 64)},
    bytes_per_photo_asked=32,
    recall_target=0.95,
)


def test_a_manifest_reads_back_as_it_was_written(tmp_path: Path) -> None:
    MANIFEST.write(tmp_path)
    assert Manifest.read(tmp_path) == MANIFEST


def test_bytes_per_photo_counts_every_file() -> None:
    assert MANIFEST.bytes_per_photo == 160 / 4


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(DamagedFile, match=r"manifest\.json is missing"):
        Manifest.read(tmp_path)


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    fields = json.loads(MANIFEST.to_json()) | {"format": 3}
    with pytest.raises(UnsupportedFormat, match="format 3"):
        Manifest.from_json(json.dumps(fields), tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"format": 1}', "12"])
def test_what_is_no_manifest_is_damage(text: str, tmp_path: Path) -> None:
    with pytest.raises(DamagedFile, match="rebuild"):
        Manifest.from_json(text, tmp_path)


@pytest.mark.parametrize("name", sorted(json.loads(MANIFEST.to_json())))
def test_no_field_may_be_missing(name: str, tmp_path: Path) -> None:
    fields = json.loads(MANIFEST.to_json())
    del fields[name]
    with pytest.raises(DamagedFile):
        Manifest.from_json(json.dumps(fields), tmp_path)


def test_every_position_of_the_text_is_watched() -> None:
    text = MANIFEST.to_json()
    for position in range(len(text)):
        for damaged in (
            text[:position] + chr(ord(text[position]) ^ 1) + text[position + 1 :],
            text[:position] + "\0" + text[position + 1 :],
            text[:position],
        ):
            with pytest.raises((DamagedFile, UnsupportedFormat)):
                Manifest.from_json(damaged, Path("manifest.json"))


def test_bytes_that_are_no_text_are_damage(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DamagedFile):
        Manifest.read(tmp_path)


def test_a_changed_field_is_damage(tmp_path: Path) -> None:
    text = MANIFEST.to_json().replace('"nprobe": 1', '"nprobe": 2')
    assert text != MANIFEST.to_json()
    with pytest.raises(DamagedFile, match="changed"):
        Manifest.from_json(text, tmp_path)
