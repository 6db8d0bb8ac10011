"""Tables in, labelled tables out: what `lookalike label` and a recipe's [pretrain] call."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
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
from trainer.labels.clean import CleanLabels, Dropped, Interaction, Rules, clean
from trainer.labels.match import Matches, MatchRules
from trainer.labels.tables import SEPARATOR, Cells, PhotoTable, check_out, read_photo_table, write_labelled
from trainer.photos import embed, encode_in_batches

UNREADABLE = "it cannot be read"
KNOWN = "it is in the index itself"
GONE = "there is no such photo"
REPEATED = "an earlier row has the same photo"


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
    Without an `encoder` nothing is dropped for how photos look. Raises BadCall, MissingFile, BadFilter; BadTable, also
    where nothing is kept: what was dropped is written then, and `out` stays as it was.
    """
    check_out(source.table, out)
    photos = read_photo_table(source, [query_column, *([count_column] if count_column else [])])
    interactions: list[Interaction] = []
    gone: list[tuple[str, Dropped]] = []  # the photo's name, and what it was chosen for
    for number, row, place in photos.rows:
        count = _count(row, count_column, number, source.table) if count_column else 1
        query = row[query_column]
        if place is None:
            unlocated = len(photos.uris) + len(gone)
            gone.append((str(row[source.image_column] or ""), Dropped(str(query or ""), unlocated, GONE, count)))
        elif query is not None:
            interactions.append(Interaction(place, str(query), count))
    vectors = None
    if encoder is not None:
        progress.start("encode photos", len(photos.uris))
        vectors = embed(photos.uris, encoder, progress)
    progress.start("clean")
    found = clean(interactions, rules, vectors)
    found = replace(found, dropped=(*(each for _, each in gone), *found.dropped))
    _write_dropped(out, found, [*photos.uris, *(name for name, _ in gone)])
    summary = {
        "rules": asdict(rules),
        "photos": len(photos.uris),
        "interactions": len(interactions),
        **clean_summary(found),
    }
    write_text(_beside(out, "summary.json"), json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    if not found.labels:
        why = _beside(out, "dropped.csv")
        raise BadTable(f"No query of {source.table} is left, so there is no {out}; see why in {why}, and ask for less.")
    cells = {photos.numbers[photo]: {label_column: SEPARATOR.join(texts)} for photo, texts in found.labels.items()}
    write_labelled(source.table, out, {label_column: str}, cells)
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
    it and `distance` saying how near. Photos that are in the index themselves are left out. The columns are there even
    where no photo is near enough.

    Raises BadCall, BadTable, MissingFile, BadFilter; WrongModel where `encoder` is not the index's.
    """
    if encoder.model_id != engine.model.spec.model_id:
        raise WrongModel("The photos must be encoded by the model that the index was built with; use that one.")
    check_out(source.table, out)
    photos = read_photo_table(source, [])
    progress.start("match photos", len(photos.uris))
    near: dict[int, Sequence[Neighbour]] = {}
    left_out = {GONE: photos.gone, REPEATED: photos.repeated, UNREADABLE: 0, KNOWN: 0}
    for batch in encode_in_batches(photos.uris, encoder, progress):
        known = [digest in engine.content_hashes for digest in batch.hashes]
        asked = [place for place in range(len(known)) if batch.readable[place] and not known[place]]
        left_out[UNREADABLE] += int((~batch.readable).sum())
        left_out[KNOWN] += sum(known)
        if asked:
            answers = engine.nearest(batch.encoded.embeddings[asked], 2)
            near |= {batch.start + place: answer for place, answer in zip(asked, answers, strict=True)}
    found = match.choose(near, rules)
    cells: dict[int, Cells] = {
        photos.numbers[each.photo]: {label_column: each.product_id, "distance": round(each.distance, 5)}
        for each in found.matches
    }
    write_labelled(source.table, out, {label_column: str, "distance": float}, cells)
    progress.finish()
    return Matches(found.matches, {**{reason: n for reason, n in left_out.items() if n}, **found.left_out})


def agreement_with(source: PhotoTable, found: Matches, column: str) -> tuple[int, int]:
    """How many matches have the product that `column` of the photo's row says, and how many have one there."""
    photos = read_photo_table(source, [column])
    cells = {number: row[column] for number, row, _ in photos.rows}
    truth = [cells[photos.numbers[match.photo]] for match in found.matches]
    known = [
        (match.product_id, str(true)) for match, true in zip(found.matches, truth, strict=True) if true is not None
    ]
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
    photos = read_photo_table(source, [], by_address=True)  # a photo taught twice is but two examples
    if photos.gone or photos.repeated:
        progress.note(
            f"Left out: {photos.gone} rows without a photo, {photos.repeated} whose photo an earlier one has."
        )
    progress.start("teach", len(photos.uris))
    parts: dict[str, list[tuple[Any, Any]]] = {name: [] for name in heads}
    for batch in encode_in_batches(photos.uris, OpenVinoEncoder(teacher), progress):
        probabilities = predictor.probabilities(batch.encoded.features)
        for name in heads:
            classes, figures = teach.likeliest(probabilities[name], classes_per_photo)
            classes[~batch.readable] = -1
            parts[name].append((classes, figures))
    taught: dict[int, dict[str, str | float | None]] = {}
    counts = {}
    for head in chosen_heads:
        classes, figures = (np.concatenate(each) for each in zip(*parts[head.name], strict=True))
        chosen = teach.choose(teach.Candidates(classes, figures), photos_per_class)
        counts[head.name] = sum(map(bool, chosen))
        for number, places in zip(photos.numbers, chosen, strict=True):
            if places:
                taught.setdefault(number, {})[head.name] = _joined([head.classes[place] for place in places])
    if not taught:
        raise BadTable(f"The teacher could not read a single photo of {source.table}; correct its images.")
    write_labelled(source.table, out, dict.fromkeys(heads, str), taught)
    progress.finish()
    return counts


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
