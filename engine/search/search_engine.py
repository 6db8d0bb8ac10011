"""The search engine: an index opened for questions."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.schema import Facet, FacetValue
from engine.errors import UnknownPhoto, UnknownProduct, WrongModel
from engine.search.facet_counts import FacetSummary, summarise, without
from engine.search.filters import Filter, bind, matches
from engine.search.gallery import Gallery
from engine.search.group import Ranking
from engine.search.look import Eyes, Look
from engine.search.masks import Mask
from engine.search.plan import Plan, products_needed
from engine.search.query import Exact, Hit, Query, SearchResult
from engine.search.rerank import widen
from engine.search.scan import Found, Scan
from engine.search.selection import Selection, Selections
from engine.search.similar import NEAR_COPY, Attributes, like_it
from engine.sources.photos import read_photo
from engine.storage.generation import Generation, open_index
from engine.storage.manifest import Manifest
from engine.telemetry import Stopwatch
from engine.vision.encoder import Encoder, OpenVinoEncoder
from engine.vision.heads import Heads
from engine.vision.model import Model


@dataclass(frozen=True, slots=True)
class ProductDetail:
    """A product of the index and its photos, by rising id."""

    product_id: str
    title: str | None
    facets: dict[str, FacetValue]
    photo_ids: tuple[int, ...]


class SearchEngine:
    """Answers queries from one generation of an index. Immutable once opened, safe to share between threads."""

    def __init__(
        self, generation: Generation, model: Model, encoder: Encoder | None = None, *, threads: int = 0
    ) -> None:
        """`encoder` None opens the model's own when the first photo comes, with `threads` (0: all cores).

        Raises WrongModel where the encoder's vectors are not those of the index.
        """
        if encoder is not None and encoder.model_id != generation.manifest.model_id:
            raise WrongModel(
                f"The index was built with the model {generation.manifest.model_id[:12]}, not {encoder.model_id[:12]}; "
                "search with that model, or build the index again with this one."
            )
        heads = Heads.open(model)
        self.model = model
        self._generation = generation
        self._gallery = Gallery(generation)
        self._selections = Selections(self._gallery)
        self._attributes = Attributes(heads.heads, generation.facets)
        open_encoder = (lambda: OpenVinoEncoder(model, threads=threads)) if encoder is None else (lambda: encoder)
        self._eyes = Eyes(self._gallery, self._attributes, heads, open_encoder)

    @classmethod
    def open(cls, index_dir: str | Path, *, encoder: Encoder | None = None, threads: int = 0) -> Self:
        """Opens the generation of `index_dir` that answers.

        Raises IndexMissing, DamagedFile, UnsupportedFormat, WrongModel.
        """
        generation = open_index(Path(index_dir))
        return cls(generation, Model.open(generation.model_path), encoder, threads=threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the files."""
        self._generation.close()

    # --- What is in it ---------------------------------------------------------------------------------------------

    @property
    def generation(self) -> str:
        """The name of the generation that answers."""
        return self._generation.name

    @property
    def manifest(self) -> Manifest:
        return self._generation.manifest

    @property
    def facets(self) -> tuple[Facet, ...]:
        """What products can be filtered by."""
        return self._generation.facets.facets

    @property
    def products(self) -> int:
        """How many products can be found."""
        return self._gallery.products

    @property
    def photos(self) -> int:
        """How many photos can be found."""
        return self._gallery.rows

    @cached_property
    def content_hashes(self) -> frozenset[bytes]:
        """The sha256 of every photo's file, 32 bytes each."""
        return frozenset(digest for shard, _ in self._gallery.shards for digest in shard.content_hashes())

    @cached_property
    def titles(self) -> NDArray[np.object_]:
        """The titles (or None) of all products, in the order of their ids: [products]."""
        title = self._generation.products.title
        return np.array([title(ordinal) for ordinal in range(self.products)], object)

    def product(self, product_id: str) -> ProductDetail:
        """Raises UnknownProduct."""
        products = self._generation.products
        ordinal = products.ordinal(product_id)
        if ordinal is None:
            raise UnknownProduct(f"There is no product {product_id!r} in this index; check the id, or index it first.")
        photo_ids = sorted(self._gallery.photo_id(row) for row in self._gallery.rows_of_product(ordinal).tolist())
        return ProductDetail(product_id, products.title(ordinal), products.facets_of(ordinal), tuple(photo_ids))

    def photo(self, photo_id: int) -> bytes:
        """The bytes of a photo's file. Raises UnknownPhoto, or MissingFile where the file is gone."""
        uri = self._gallery.uri(photo_id)
        if uri is None:
            raise UnknownPhoto(f"There is no photo {photo_id} in this index; take the ids from an answer.")
        return read_photo(uri)

    def matching(self, filter: Filter | None) -> Mask:
        """Which products pass, in the order of their ids: bool [products]. Raises BadFilter."""
        if filter is None:
            return np.ones(self.products, np.bool_)
        return self._selections.of(bind(filter, self.facets)).mask

    def facet_counts(self, filter: Filter | None = None, *, limit: int = 50) -> tuple[FacetSummary, ...]:
        """Every facet of the products under the filter, each without its own clauses; at most `limit` values each.

        Raises BadFilter.
        """
        return summarise(
            self.facets, self._generation.facets, lambda facet: self.matching(without(filter, facet)), limit
        )

    # --- Questions -------------------------------------------------------------------------------------------------

    def search(self, query: Query) -> SearchResult:
        """Answers a query. Raises BadFilter, BadQuery, BadImage, UnknownProduct."""
        watch = Stopwatch()
        selection = self._select(query.filter, watch)  # a wrong filter is told before a photo is encoded
        return self._answer(query, self._eyes.look(query, watch), selection, watch)

    def look(self, query: Query) -> Look:
        """What the engine sees in a query, for asking more than one question about it; raises what `search` does."""
        return self._eyes.look(query, Stopwatch())

    def answer(self, query: Query, look: Look) -> SearchResult:
        """`search` with a look that was taken before."""
        watch = Stopwatch()
        return self._answer(query, look, self._select(query.filter, watch), watch)

    def _select(self, filter: Filter | None, watch: Stopwatch) -> Selection | None:
        if filter is None:
            return None
        with watch.stage("filter"):
            return self._selections.of(bind(filter, self.facets))

    def _answer(self, query: Query, look: Look, selection: Selection | None, watch: Stopwatch) -> SearchResult:
        need = products_needed(query.k, similar=query.mode != "exact")
        found = Scan(self._gallery, look.vectors, query.k, need, watch).find(selection)
        check = None if query.filter is None else bind(query.filter, self.facets)
        exact = similar = None
        if query.mode != "similar":
            with watch.stage("group"):
                exact = Exact(self._hits(found.ranking, check, query.k))
        if query.mode != "exact":
            with watch.stage("similar"):
                pool = found.ranking.take(np.arange(min(need, len(found.ranking))))
                similar = self._hits(self._like_it(pool, look, query), check, query.k)
        matching = self.products if selection is None else selection.matching
        plan = self._plan(found, selection, matching, watch)
        return SearchResult(exact, similar, look.predictions, matching, plan)

    def _like_it(self, pool: Ranking, look: Look, query: Query) -> Ranking:
        if not len(pool):
            return pool
        # the query's own product is no news; nor is what the exact part shows first, or evidently found
        left_out = set(np.flatnonzero(pool.ordinals == look.ordinal).tolist()) if look.ordinal is not None else set()
        if query.mode == "both" or pool.scores[0] >= NEAR_COPY:
            left_out.add(0)
        rising = np.argsort(pool.rows)
        vectors = np.empty((len(pool), self.manifest.dim), np.float32)
        vectors[rising] = widen(self._gallery.vectors(pool.rows[rising]))
        agreement = self._attributes.agreement(look.probabilities, pool.ordinals)
        return like_it(pool, vectors, agreement, found=left_out)

    def _hits(self, ranking: Ranking, filter: Filter | None, k: int) -> tuple[Hit, ...]:
        """The first k products, each checked against the filter once more, value by value."""
        hits: list[Hit] = []
        for place in range(len(ranking)):
            hit = self._hit(int(ranking.ordinals[place]), int(ranking.rows[place]), float(ranking.scores[place]))
            if filter is None or matches(filter, hit.facets):
                hits.append(hit)
            if len(hits) == k:
                break
        return tuple(hits)

    def _hit(self, ordinal: int, row: int, score: float) -> Hit:
        products = self._generation.products
        return Hit(
            product_id=products.product_id(ordinal),
            title=products.title(ordinal),
            facets=products.facets_of(ordinal),
            score=score,
            photo_id=self._gallery.photo_id(row),
        )

    def _plan(self, found: Found, selection: Selection | None, matching: int, watch: Stopwatch) -> Plan:
        return Plan(
            path=found.path,
            generation=self.generation,
            model_id=self.manifest.model_id,
            shards=len(self._gallery.shards),
            lists_visited=found.lists_visited,
            lists_total=self._gallery.lists,
            rows_scanned=found.rows_scanned,
            rows_reranked=found.rows_reranked,
            survivors=None if selection is None else len(selection.rows),
            matching_products=matching,
            expected_recall=found.expected_recall,
            milliseconds=dict(watch.milliseconds),
        )
