"""Labelled queries -> precision@1, recall@k and mAP, for each label, by mode and filter.

**Relevant** is, for the label `product_id`, the product of the query's row; for any other label, every product whose
facet (or title) has the row's value. A query without a value for the label is left out, and so is one to which no
product of the gallery is relevant under the filter: nothing could answer it. Both are counted.

**The list that is judged** is the exact part for the mode `exact`, the similar part for `similar`, and for `both` what
a person reads from top to bottom: the first exact product, then the similar ones.

**Metrics**, on the first max(ks) distinct products: `precision@1` is the share of queries whose first product is
relevant; `recall@k` the share with a relevant product among the first k; `mAP` the mean of AP@max(ks) (see
`engine.metrics`). Intervals are 95 %: Wilson's for shares, percentile bootstrap for mAP.

A query whose very file is in the gallery would find itself, so it is left out and counted.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from time import perf_counter
from typing import Any

import numpy as np
from PIL import Image

from engine.errors import BadCall, BadImage, UnknownProduct
from engine.metrics import (
    average_precision_at,
    bootstrap_interval,
    found_at,
    percentiles,
    precision_at,
    wilson_interval,
)
from engine.search.filter_json import to_json
from engine.search.filters import Equal, Filter, bind, matches
from engine.search.look import Look
from engine.search.modes import Mode
from engine.search.query import Hit, Query
from engine.search.search_engine import SearchEngine
from engine.telemetry import SILENT, Progress

SEED = 0  # of the bootstrap: the same answers have the same interval
PRODUCT, TITLE = "product_id", "title"


@dataclass(frozen=True, slots=True, eq=False)
class LabelledQuery:
    """A photo file's bytes and what is known of it; `name` is what messages call it. A label may lack."""

    name: str
    photo: bytes
    labels: Mapping[str, str | float | bool]


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A labelled query that was encoded, in `encode_ms` milliseconds from bytes to vector."""

    labels: Mapping[str, str | float | bool]
    look: Look
    encode_ms: float


@dataclass(frozen=True, slots=True, eq=False)
class QuerySet:
    """Queries ready to be asked, each encoded once; with them the names of those that were left out."""

    queries: tuple[Seen, ...]
    in_gallery: tuple[str, ...]
    unreadable: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LabelResult:
    """What one label makes of the answers: `metrics` and their 95 % intervals by the names in the module's text."""

    label: str
    mode: Mode
    filter: Filter | None
    queries: int
    without_label: int
    without_relevant: int
    metrics: Mapping[str, float]
    interval_95: Mapping[str, tuple[float, float]]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, the metrics beside the rest."""
        return {
            "label": self.label,
            "mode": self.mode,
            "filter": None if self.filter is None else to_json(self.filter),
            "queries": self.queries,
            "without_label": self.without_label,
            "without_relevant": self.without_relevant,
            **self.metrics,
            "interval_95": {name: list(ends) for name, ends in self.interval_95.items()},
        }


@dataclass(frozen=True, slots=True)
class Report:
    """The results of one mode and filter, by label, and the milliseconds of every search, in the queries' order."""

    results: tuple[LabelResult, ...]
    search_ms: tuple[float, ...]


def encode_queries(engine: SearchEngine, queries: Iterable[LabelledQuery], progress: Progress = SILENT) -> QuerySet:
    """Encodes every query once; sets those aside that are in the gallery themselves or are no photos.

    Advances `progress` by one a query.
    """
    engine.look(Query(photo=Image.new("RGB", (64, 64))))  # the encoder is opened now, not during the first measurement
    seen: list[Seen] = []
    in_gallery: list[str] = []
    unreadable: list[str] = []
    for query in queries:
        progress.advance()
        if sha256(query.photo).digest() in engine.content_hashes:
            in_gallery.append(query.name)
            continue
        start = perf_counter()
        try:
            look = engine.look(Query(photo=query.photo))
        except BadImage:
            unreadable.append(query.name)
            continue
        seen.append(Seen(query.labels, look, (perf_counter() - start) * 1000))
    return QuerySet(tuple(seen), tuple(in_gallery), tuple(unreadable))


def evaluate(
    engine: SearchEngine,
    queries: QuerySet,
    labels: Sequence[str],
    *,
    ks: Sequence[int] = (1, 5, 10),
    mode: Mode = "exact",
    filter: Filter | None = None,
    progress: Progress = SILENT,
) -> Report:
    """Asks every query once and judges the answers by every label.

    Raises BadCall for a label that is neither `product_id`, `title` nor a facet of the index, or where a label leaves
    no query to judge; BadFilter. Advances `progress` by one a query.
    """
    check_labels(engine, labels)
    filter = None if filter is None else bind(filter, engine.facets)
    answers: list[tuple[Hit, ...]] = []
    search_ms: list[float] = []
    for seen in queries.queries:
        start = perf_counter()
        answers.append(_ask(engine, seen.look, max(ks), mode, filter))
        search_ms.append((perf_counter() - start) * 1000)
        progress.advance()
    judge = _Judge(engine, queries.queries, answers, mode, filter, tuple(ks))
    return Report(tuple(judge.result(label) for label in labels), tuple(search_ms))


def check_labels(engine: SearchEngine, labels: Sequence[str]) -> None:
    """Raises BadCall for a label that nothing in the index has."""
    known = [PRODUCT, TITLE, *(facet.name for facet in engine.facets)]
    for label in labels:
        if label not in known:
            raise BadCall(f"The index has no facet {label!r} to judge answers by; use one of {', '.join(known)}.")


def _ask(engine: SearchEngine, look: Look, k: int, mode: Mode, filter: Filter | None) -> tuple[Hit, ...]:
    """The k products that a person would read from top to bottom."""
    # a query is made of one of photo, vector and product; the look stands for whichever it was
    answer = engine.answer(Query(vector=look.vectors[0], k=k, mode=mode, filter=filter), look)
    exact = () if answer.exact is None else answer.exact.hits
    similar = answer.similar or ()
    return (*exact[:1], *similar)[:k] if mode == "both" else exact or similar


@dataclass(frozen=True, slots=True, eq=False)
class _Judge:
    engine: SearchEngine
    queries: Sequence[Seen]
    answers: Sequence[tuple[Hit, ...]]
    mode: Mode
    filter: Filter | None
    ks: tuple[int, ...]

    def result(self, label: str) -> LabelResult:
        rankings: list[list[bool]] = []
        relevant: list[int] = []
        without_label = without_relevant = 0
        for seen, hits in zip(self.queries, self.answers, strict=True):
            value = seen.labels.get(label)
            if value is None:
                without_label += 1
            elif count := self._relevant(label, value):
                rankings.append([self._is_relevant(hit, label, value) for hit in hits])
                relevant.append(count)
            else:
                without_relevant += 1
        if not rankings:
            raise BadCall(
                f"No query can be judged by {label!r}: {without_label} have no value, and for {without_relevant} "
                "nothing that may be shown is relevant; use another label, filter or table."
            )
        metrics, intervals = _measured(rankings, relevant, self.ks)
        return LabelResult(
            label, self.mode, self.filter, len(rankings), without_label, without_relevant, metrics, intervals
        )

    def _relevant(self, label: str, value: str | float | bool) -> int:
        """How many products that pass the filter are relevant."""
        snapshot = self.engine.snapshot  # one moment for all that is compared place by place
        passing = snapshot.matching(self.filter)
        if label == PRODUCT:
            try:
                product = self.engine.product(str(value))
            except UnknownProduct:
                return 0
            return int(self.filter is None or matches(self.filter, product.facets))
        if label == TITLE:
            return int((passing & (snapshot.titles == value)).sum())
        return int((passing & snapshot.matching(Equal(label, value))).sum())

    def _is_relevant(self, hit: Hit, label: str, value: str | float | bool) -> bool:
        if label == PRODUCT:
            return hit.product_id == str(value)
        if label == TITLE:
            return hit.title == value
        return matches(bind(Equal(label, value), self.engine.facets), hit.facets)


def _measured(
    rankings: Sequence[Sequence[bool]], relevant: Sequence[int], ks: Sequence[int]
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Every metric and its 95 % interval."""
    count = len(rankings)
    shares = {"precision@1": np.mean([precision_at(ranking, 1) for ranking in rankings])}
    for k in ks:
        shares[f"recall@{k}"] = np.mean([found_at(ranking, k) for ranking in rankings])
    metrics = {name: float(share) for name, share in shares.items()}
    intervals = {name: wilson_interval(share, count) for name, share in metrics.items()}
    precisions = np.array(
        [average_precision_at(ranking, total, max(ks)) for ranking, total in zip(rankings, relevant, strict=True)]
    )
    metrics["mAP"] = float(precisions.mean())
    intervals["mAP"] = bootstrap_interval(precisions, np.random.default_rng(SEED))
    return metrics, intervals


def latency(queries: QuerySet, reports: Sequence[Report]) -> dict[str, dict[str, float]]:
    """Percentiles in milliseconds of encoding, of searching and of both together, over all queries and reports."""
    encode = [seen.encode_ms for seen in queries.queries]
    search = [spent for report in reports for spent in report.search_ms]
    total = [one + other for report in reports for one, other in zip(encode, report.search_ms, strict=True)]
    return {"encode": percentiles(encode), "search": percentiles(search), "total": percentiles(total)}
