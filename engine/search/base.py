"""A generation made ready for questions: all that its snapshots share, however much changes in the catalogue."""

from collections.abc import Callable
from copy import copy
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.schema import Facet
from engine.errors import WrongModel
from engine.search.filters import Filter
from engine.search.gallery import Gallery
from engine.search.look import Eyes
from engine.search.selection import Selection, Selections, select
from engine.search.similar import Attributes
from engine.storage.generation import Generation
from engine.storage.gpu import DeviceRows
from engine.storage.products import Products
from engine.vision.encoder import Encoder, OpenVinoEncoder
from engine.vision.heads import Heads
from engine.vision.model import Model

Ints = NDArray[np.int64]
OpenEncoder = Callable[[Model], Encoder]


class Base:
    """An opened generation and its model. Immutable; only what is found again and again is kept."""

    def __init__(self, generation: Generation, eyes: Eyes, model: Model, device: DeviceRows | None = None) -> None:
        self.generation = generation
        self.model = model
        self.eyes = eyes
        self.gallery = Gallery(generation, device)
        self._see(generation.products)

    @classmethod
    def open(
        cls,
        generation: Generation,
        encoder: Encoder | OpenEncoder | None = None,
        *,
        threads: int = 0,
        gpu: bool = False,
        before: "Base | None" = None,
    ) -> "Base":
        """`encoder` None opens the model's own when the first photo comes, with `threads` (0: all cores); a function
        that opens a model's encoder is called then. With `gpu` the rows are copied to a GPU.

        The model and encoder of `before`, the generation that answered so far, are used again where they are the same.
        Raises WrongModel where the encoder's vectors are not those of the index, Unavailable where there is no GPU.
        """
        model_id = generation.manifest.model_id
        ready = None if encoder is None or callable(encoder) else encoder
        if ready is not None and ready.model_id != model_id:
            raise WrongModel(
                f"The index was built with the model {model_id[:12]}, not {ready.model_id[:12]}; "
                "search with that model, or build the index again with this one."
            )
        rows = (shard.vectors for shard in generation.shards)
        device = DeviceRows.on_gpu(generation.manifest.dim, rows) if gpu else None
        if before is not None and before.model.spec.model_id == model_id:
            return cls(generation, before.eyes, before.model, device)
        model = Model.open(generation.model_path)

        def opener() -> Encoder:
            if ready is not None:
                return ready
            return encoder(model) if callable(encoder) else OpenVinoEncoder(model, threads=threads)

        return cls(generation, Eyes(Heads.open(model), opener), model, device)

    @cached_property
    def absent(self) -> Ints:
        """The products, rising, of which no photo is there, because a shard is damaged and was left out."""
        if not self.generation.damaged:
            return np.empty(0, np.int64)
        there = np.zeros(self.generation.products.count, np.bool_)
        there[self.gallery.ordinals] = True
        return np.flatnonzero(~there)

    @property
    def facets(self) -> tuple[Facet, ...]:
        """What products can be filtered by."""
        return self.products.facets.facets

    def under(self, facets: tuple[Facet, ...]) -> "Base":
        """The same generation under another schema: a facet that is new or had another type has no values in it."""
        if facets == self.facets:
            return self
        lens = copy(self)
        lens._see(self.generation.products.under(facets))
        return lens

    def selection(self, filter: Filter) -> Selection:
        """What of the generation passes a bound filter, as it was built."""
        return self._selections.of(filter, lambda filter: select(filter, self.products, self.gallery))

    def attributes_of(self, products: Products) -> Attributes:
        """What the model's heads can say about products."""
        return Attributes(self.eyes.heads.heads, products.facets)

    def _see(self, products: Products) -> None:
        self.products = products
        self.attributes = self.attributes_of(products)
        self._selections = Selections()
