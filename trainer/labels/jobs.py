"""Tables in, labelled tables out: what `lookalike label` and a recipe's [pretrain] call."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import BadTable, WrongModel
from engine.search.many import Neighbour
from engine.search.search_engine import SearchEngine
from engine.sources.tables import Row
from engine.storage.files import replacing, write_text
from engine.telemetry import SILENT, Progress
from engine.vision.encoder import Encoder, OpenVinoEncoder
from engine.vision.heads import Heads
from engine.vision.model import Head, Model
from trainer.labels import match, teach
from trainer.labels.clean import CleanLabels, Interaction, Rules, clean
from trainer.labels.match import Matches, MatchRules
from trainer.labels.tables import SEPARATOR, Cells, check_out, read_table, write_labelled
from trainer.photos import embed, encode_in_batches

UNREADABLE = "it cannot be read"
KNOWN = "it is in the index itself"


@dataclass(frozen=True, slots=True)
class PhotoTable:
    """What is read: a table, the folder or tar of its photos (None: in the table), the rows' filters, the photos'
    column."""

    table: Path
    images: Path | None = None
    where: tuple[str, ...] = ()
    image_column: str = "image"


def clean_table(
    source: PhotoTable,
    out: Path,
    rules: Rules,
    *,
    query_column: str,
    count_column: str | None = None,
    label_column: str = "queries",
    encoder: Encoder | None = None,
    progress: Progress = SILENT,
) -> CleanLabels:
    """Interactions, one a row -> `out`: one row a photo that kept labels, `label_column` holding them as `a|b`.

    Beside `out`: `<out>.dropped.csv` has what was dropped and why, `<out>.summary.json` the rules and the counts.
    Without an `encoder` nothing is dropped for how photos look. Raises BadCall, BadTable, MissingFile, BadFilter.
    """
    check_out(source.table, out)
    needed = [query_column, *([count_column] if count_column else [])]
    rows: dict[str, int] = {}  # URI -> the first row that names the photo
    interactions: list[Interaction] = []
    for number, row, uri in _rows(source, needed):
        photo = rows.setdefault(uri, number)
        if row[query_column] is not None:
            count = _count(row, count_column, number, source.table) if count_column else 1
            interactions.append(Interaction(photo, str(row[query_column]), count))
    place = {number: place for place, number in enumerate(rows.values())}
    vectors = None
    if encoder is not None:
        progress.start("encode photos", len(rows))
        vectors = embed(list(rows), encoder, progress)
    progress.start("clean")
    found = clean((Interaction(place[each.photo], each.query, each.count) for each in interactions), rules, vectors)
    numbers = list(rows.values())
    write_labelled(
        source.table,
        out,
        {numbers[photo]: {label_column: SEPARATOR.join(texts)} for photo, texts in found.labels.items()},
    )
    _write_dropped(out, found, list(rows))
    summary = {"rules": asdict(rules), "photos": len(rows), "interactions": len(interactions), **clean_summary(found)}
    write_text(_beside(out, "summary.json"), json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    progress.finish()
    return found


def clean_summary(found: CleanLabels) -> dict[str, Any]:
    """Counts of what was kept and, by reason, of what was dropped."""
    reasons: dict[str, dict[str, int]] = {"queries": {}, "labels": {}}
    for each in found.dropped:
        kind = reasons["queries" if each.photo is None else "labels"]
        kind[each.reason] = kind.get(each.reason, 0) + 1
    return {
        "kept": {
            "queries": len(found.queries),
            "photos": len(found.labels),
            "labels": sum(len(texts) for texts in found.labels.values()),
        },
        "dropped": reasons,
    }


def match_table(
    source: PhotoTable,
    out: Path,
    engine: SearchEngine,
    encoder: Encoder,
    rules: MatchRules,
    *,
    label_column: str = "product_id",
    progress: Progress = SILENT,
) -> Matches:
    """Unlabelled photos -> `out`: the rows whose photo is near enough to a product of the index, `label_column` naming
    it and `distance` saying how near. Photos that are in the index themselves are left out.

    Raises BadCall, BadTable, MissingFile, BadFilter; WrongModel where `encoder` is not the index's.
    """
    if encoder.model_id != engine.model.spec.model_id:
        raise WrongModel("The photos must be encoded by the model that the index was built with; use that one.")
    check_out(source.table, out)
    rows = {uri: number for number, _, uri in _rows(source, [])}
    uris = list(rows)
    progress.start("match photos", len(uris))
    near: dict[int, Sequence[Neighbour]] = {}
    left_out = {UNREADABLE: 0, KNOWN: 0}
    for batch in encode_in_batches(uris, encoder, progress):
        known = [digest in engine.content_hashes for digest in batch.hashes]
        asked = [place for place in range(len(known)) if batch.readable[place] and not known[place]]
        left_out[UNREADABLE] += int((~batch.readable).sum())
        left_out[KNOWN] += sum(known)
        if asked:
            answers = engine.nearest(batch.encoded.embeddings[asked], 2)
            near |= {batch.start + place: answer for place, answer in zip(asked, answers, strict=True)}
    found = match.choose(near, rules)
    cells: dict[int, Cells] = {
        rows[uris[each.photo]]: {label_column: each.product_id, "distance": round(each.distance, 5)}
        for each in found.matches
    }
    write_labelled(source.table, out, cells)
    progress.finish()
    return Matches(found.matches, {**{reason: n for reason, n in left_out.items() if n}, **found.left_out})


def agreement_with(source: PhotoTable, found: Matches, column: str) -> tuple[int, int]:
    """How many matches have the product that `column` says, and how many have one there to compare with."""
    truth = {uri: row[column] for _, row, uri in _rows(source, [column])}
    texts = list(truth.values())
    known = [(match.product_id, str(texts[match.photo])) for match in found.matches if texts[match.photo] is not None]
    return sum(found == true for found, true in known), len(known)


def teach_table(
    source: PhotoTable,
    out: Path,
    teacher: Model,
    heads: Sequence[str],
    *,
    classes_per_photo: int,
    photos_per_class: int,
    progress: Progress = SILENT,
) -> dict[str, int]:
    """Unlabelled photos -> `out`: those that the teacher's heads chose, a column for each head with classes as `a|b`.

    Returns the number of photos that each head chose. Raises WrongModel for a head that the teacher lacks, BadTable
    where no photo can be read.
    """
    chosen_heads = [_head(teacher, name) for name in heads]
    check_out(source.table, out)
    predictor = Heads.open(teacher)
    rows = {uri: number for number, _, uri in _rows(source, [])}
    progress.start("teach", len(rows))
    parts: dict[str, list[tuple[Any, Any]]] = {name: [] for name in heads}
    for batch in encode_in_batches(list(rows), OpenVinoEncoder(teacher), progress):
        probabilities = predictor.probabilities(batch.encoded.features)
        for name in heads:
            classes, figures = teach.likeliest(probabilities[name], classes_per_photo)
            classes[~batch.readable] = -1
            parts[name].append((classes, figures))
    numbers = list(rows.values())
    taught: dict[int, dict[str, str | float | None]] = {}
    counts = {}
    for head in chosen_heads:
        classes, figures = (np.concatenate(each) for each in zip(*parts[head.name], strict=True))
        chosen = teach.choose(teach.Candidates(classes, figures), photos_per_class)
        counts[head.name] = sum(map(bool, chosen))
        for number, places in zip(numbers, chosen, strict=True):
            if places:
                taught.setdefault(number, {})[head.name] = _joined([head.classes[place] for place in places])
    if not taught:
        raise BadTable(f"The teacher could not read a single photo of {source.table}; correct its images.")
    write_labelled(source.table, out, taught)
    progress.finish()
    return counts


def _rows(source: PhotoTable, needed: Sequence[str]) -> list[tuple[int, Row, str]]:
    rows = list(read_table(source.table, source.images, source.where, needed, source.image_column))
    if not rows:
        raise BadTable(f"{source.table} has no row that passes {' and '.join(source.where)}; correct --where.")
    return rows


def _count(row: Row, column: str, number: int, table: Path) -> int:
    try:
        count = int(row[column] or 0)
    except (TypeError, ValueError):
        count = -1
    if count < 0:
        raise BadTable(f"{table}, row {number}: {row[column]!r} in {column!r} is no number of interactions; mend it.")
    return count


def _head(teacher: Model, name: str) -> Head:
    known = {head.name: head for head in teacher.spec.heads}
    if name not in known:
        has = f"it has {', '.join(known)}" if known else "it has none"
        raise WrongModel(f"The teacher {teacher.path} has no head {name!r}; {has}.")
    return known[name]


def _joined(labels: Sequence[str]) -> str:
    for label in labels:
        if SEPARATOR in label:
            raise BadTable(f"The class {label!r} has a {SEPARATOR!r}, which parts labels in a table; rename the class.")
    return SEPARATOR.join(labels)


def _beside(out: Path, name: str) -> Path:
    return out.with_name(f"{out.stem}.{name}")


def _write_dropped(out: Path, found: CleanLabels, uris: Sequence[str]) -> None:
    with (
        replacing(_beside(out, "dropped.csv")) as partial,
        partial.open("w", encoding="utf-8", newline="") as file,
    ):
        lines = csv.writer(file)
        lines.writerow(["query", "photo", "reason", "figure"])
        for each in found.dropped:
            lines.writerow([each.query, "" if each.photo is None else uris[each.photo], each.reason, each.figure])


def kept_queries(found: CleanLabels, limit: int) -> list[Mapping[str, Any]]:
    """The queries with the most photos, as plain values to show."""
    return [asdict(each) for each in found.queries[:limit]]
