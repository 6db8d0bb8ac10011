"""How a snapshot answers a query: scan the generation, compare the live photos, group, fold, check."""

from dataclasses import dataclass

import numpy as np

from engine.search.filters import Filter, bind, matches
from engine.search.group import Ranking, best_per_product
from engine.search.look import Look
from engine.search.plan import Path, Plan, products_needed
from engine.search.query import Exact, Hit, Query, SearchResult
from engine.search.scan import Found, Scan
from engine.search.selection import Selection
from engine.search.similar import NEAR_COPY, like_it
from engine.search.snapshot import Snapshot
from engine.storage.halves import widen
from engine.telemetry import Stopwatch


def select(snapshot: Snapshot, filter: Filter | None, watch: Stopwatch) -> Selection | None:
    """What passes the filter, None without one. Raises BadFilter."""
    if filter is None:
        return None
    with watch.stage("filter"):
        return snapshot.selection(filter)


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A query that was looked at, what of the snapshot may be shown (None: everything), and the time it takes."""

    snapshot: Snapshot
    query: Query
    look: Look
    selection: Selection | None
    watch: Stopwatch

    def answer(self) -> SearchResult:
        """The best products, and how they were found."""
        query = self.query
        need = products_needed(query.k, similar=query.mode != "exact")
        found = Scan(self.snapshot.gallery, self.look.vectors, query.k, need, self.watch).find(self.selection)
        ranking = self._with_live(found.ranking, need)
        check = None if query.filter is None else bind(query.filter, self.snapshot.facets)
        exact = similar = None
        if query.mode != "similar":
            with self.watch.stage("group"):
                exact = Exact(self._hits(ranking, check))
        if query.mode != "exact":
            with self.watch.stage("similar"):
                pool = ranking.take(np.arange(min(need, len(ranking))))
                similar = self._hits(self._like_it(pool), check)
        matching = self.snapshot.products if self.selection is None else self.selection.matching
        return SearchResult(exact, similar, self.look.predictions, matching, self._plan(found, matching))

    @property
    def _live_rows(self) -> int:
        """How many live photos may be shown."""
        return len(self.snapshot.delta.live) if self.selection is None else len(self.selection.live)

    def _with_live(self, ranking: Ranking, need: int) -> Ranking:
        """What was found in the generation together with the live photos that may be shown.

        A live photo that is no better than the last product needed changes nothing: if the generation has a better
        photo of its product, that one stands in the ranking already.
        """
        if not self._live_rows:
            return ranking
        live, places = self.snapshot.delta.live, None if self.selection is None else self.selection.live
        with self.watch.stage("delta"):
            scores = live.cosines(self.look.vectors, places)
            places = np.arange(len(live)) if places is None else places
            if len(ranking) >= need:
                better = scores >= ranking.scores[need - 1]
                places, scores = places[better], scores[better]
            return best_per_product(
                np.concatenate([ranking.ordinals, live.ordinals[places]]),
                np.concatenate([ranking.rows, self.snapshot.gallery.rows + places]),
                np.concatenate([ranking.scores, scores]),
            )

    def _like_it(self, pool: Ranking) -> Ranking:
        if not len(pool):
            return pool
        snapshot, look = self.snapshot, self.look
        # the query's own product is no news; nor is what the exact part shows first, or evidently found
        own = None if look.product_id is None else snapshot.find(look.product_id)
        left_out = set() if own is None else set(np.flatnonzero(pool.ordinals == own).tolist())
        if self.query.mode == "both" or pool.scores[0] >= NEAR_COPY:
            left_out.add(0)
        rising = np.argsort(pool.rows)
        vectors = np.empty((len(pool), look.vectors.shape[1]), np.float32)
        vectors[rising] = widen(snapshot.vectors(pool.rows[rising]))
        return like_it(pool, vectors, snapshot.agreement(look.probabilities, pool.ordinals), found=left_out)

    def _hits(self, ranking: Ranking, filter: Filter | None) -> tuple[Hit, ...]:
        """The first k products, each checked against the filter once more, value by value."""
        hits: list[Hit] = []
        for place in range(len(ranking)):
            product = self.snapshot.seen(int(ranking.ordinals[place]))
            if filter is None or matches(filter, product.facets):
                photo_id = self.snapshot.photo_id(int(ranking.rows[place]))
                score = float(ranking.scores[place])
                hits.append(Hit(product.product_id, product.title, product.facets, score, photo_id))
            if len(hits) == self.query.k:
                break
        return tuple(hits)

    def _plan(self, found: Found, matching: int) -> Plan:
        snapshot, selection, live = self.snapshot, self.selection, self._live_rows
        # live photos are all compared
        path: Path
        path, expected = ("exact", 1.0) if found.path == "nothing" and live else (found.path, found.expected_recall)
        return Plan(
            path=path,
            generation=snapshot.base.generation.name,
            model_id=snapshot.base.generation.manifest.model_id,
            shards=len(snapshot.gallery.shards),
            lists_visited=found.lists_visited,
            lists_total=snapshot.gallery.lists,
            rows_scanned=found.rows_scanned + live,
            rows_reranked=found.rows_reranked + live,
            survivors=None if selection is None else len(selection.rows) + live,
            matching_products=matching,
            expected_recall=expected,
            milliseconds=dict(self.watch.milliseconds),
            delta_rows=live,
            change_number=snapshot.delta.change_number,
            partial=snapshot.base.generation.damaged,
        )
