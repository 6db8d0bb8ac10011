"""How a query is to be answered, and how it was: plain numbers, and the sentence that is shown with every answer."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

Path = Literal["lists", "exact", "filtered lists", "nothing"]

MEASURED_AT = 10  # the k for which an index's depth and filter budget were measured
RERANK_COST = 12  # codes scanned in the time in which one float16 row is compared (Lookalike default)
COMPARISON_COST = 7  # codes scanned under a filter in the time in which one gathered row is compared
IN_PLACE_COST = 2  # the same for a row that is compared where it is mapped, on all cores
PASSED_OVER = 5  # rows on the way there that a filter is asked about in the time in which one code is scanned
TARGET = 0.98  # recall@10 to reach where nothing else was asked


def scaled(effort: int, k: int) -> int:
    """A depth or budget that was measured for 10 products, for `k` of them: never less, in proportion beyond."""
    return -(-effort * max(k, MEASURED_AT) // MEASURED_AT)


def codes_are_cheaper(survivors: int, scanned: int, depth: int) -> bool:
    """Whether `depth` photos chosen by their codes are less work than comparing all survivors, where `scanned` codes
    are looked at: whether they pass the filter or not, and once for every pass.

    How many of the photos will be worth a comparison is not known before, so codes must promise half the work.
    """
    return 2 * (scanned + COMPARISON_COST * depth) < COMPARISON_COST * survivors


def cost_in_place(survivors: int, rows: int) -> int:
    """What comparing all survivors of a filter costs, in codes scanned, where `rows` photos are passed over."""
    return IN_PLACE_COST * survivors + rows // PASSED_OVER


def products_needed(k: int, *, similar: bool) -> int:
    """Distinct products to find before an answer of `k` can be made.

    *Similar* folds near-copies away and leaves out the product that was found, so it chooses from twice as many.
    """
    return 2 * k + 1 if similar else k


@dataclass(frozen=True, slots=True)
class Plan:
    """How a query was answered.

    `path`: "lists" scanned the PQ codes of the nearest lists; "filtered lists" compared the filter's survivors in the
    nearest lists that have any; "exact" compared every photo that may be shown; "nothing" had nothing to compare.
    `survivors` counts the photos that pass the filter (None without a filter), `matching_products` their products.
    `rows_scanned` photos were looked at, `rows_reranked` of them by their float16 rows. `expected_recall` of the first
    ten products is what the index measured on itself, under a filter what its calibration foretells of this very query,
    1 where every photo was compared, None where nobody knows.
    `delta_rows` of the photos are newer than the generation and were compared one by one; the answer knows the
    catalogue up to its change `change_number`. `partial` names what was damaged and left out.
    """

    path: Path
    generation: str
    model_id: str
    shards: int
    lists_visited: int
    lists_total: int
    rows_scanned: int
    rows_reranked: int
    survivors: int | None
    matching_products: int
    expected_recall: float | None
    milliseconds: Mapping[str, float]
    delta_rows: int = 0
    change_number: int = 0
    partial: tuple[str, ...] = ()

    def sentence(self) -> str:
        """What was done, for a person."""
        if self.partial:
            return f"{replace(self, partial=()).sentence()} Partial: {' '.join(self.partial)}"
        took = f"{sum(self.milliseconds.values()):.1f} ms"
        if self.path == "nothing":
            return f"No product passes the filter; {took}."
        if self.path == "exact":
            return f"{self._passing()}{_photos(self.rows_reranked)} compared exactly, all there are; {took}."
        lists = f"{self.lists_visited:,} of {_count(self.lists_total, 'list')} visited"
        shards = f" in {_count(self.shards, 'shard')}" if self.shards > 1 else ""
        live = "" if not self.delta_rows else f" ({self.delta_rows:,} of them live)"
        recall = "" if self.expected_recall is None else f"; expected recall {self.expected_recall:.3f}"
        if self.path == "filtered lists":
            compared = f"{_photos(self.rows_reranked)} compared exactly{live}"
            return f"{self._passing()}{lists}{shards}, {compared}{recall}; {took}."
        scanned = f"{_photos(self.rows_scanned)} scanned by their codes, {self.rows_reranked:,} compared exactly{live}"
        return f"{lists}{shards}, {scanned}{recall}; {took}."

    def _passing(self) -> str:
        if self.survivors is None:
            return ""
        verb = "passes" if self.matching_products == 1 else "pass"
        products = _count(self.matching_products, "product")
        return f"{products} with {_photos(self.survivors)} {verb} the filter: "

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain JSON values, with the sentence."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}  # `asdict` copies what it finds
        return {**plain, "milliseconds": dict(self.milliseconds), "sentence": self.sentence()}


def _photos(count: int) -> str:
    return _count(count, "photo")


def _count(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
