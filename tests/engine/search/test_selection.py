from pathlib import Path

import numpy as np

from engine.catalogue.schema import Facet, FacetType, Product
from engine.search.filters import Filter, Range
from engine.search.gallery import Gallery
from engine.search.selection import Selection, Selections, select
from engine.storage.generation import open_index
from tests.engine.search.small_index import Contents, clustered, write_index
from tests.fakes import tiny_model


def gallery(root: Path) -> Gallery:
    owners, vectors = clustered(np.random.default_rng(1), 90, 200, 16, clusters=5)
    products = [Product(f"p{place:03d}", None, {"price": float(place)}) for place in range(90)]
    contents = Contents((Facet("price", FacetType.NUMBER),), products, owners, vectors)
    write_index(root / "index", contents, tiny_model(root / "model"), lists=6, shards=3).close()
    return Gallery(open_index(root / "index"))


def compiled(filter: Filter, everything: Gallery) -> Selection:
    return select(filter, everything.generation.products, everything)


def test_selection_has_the_photos_of_what_passes_by_segment(tmp_path: Path) -> None:
    everything = gallery(tmp_path)
    selection = compiled(Range("price", low=50.0), everything)
    assert selection.matching == selection.mask.sum() == 40
    assert selection.rows.tolist() == [row for row in range(200) if everything.ordinals[row] >= 50]
    for segment in range(3 * 6):
        start, end = everything.segments[segment : segment + 2]
        mine = selection.rows[selection.offsets[segment] : selection.offsets[segment + 1]]
        assert mine.tolist() == [row for row in selection.rows.tolist() if start <= row < end]
    assert everything.list_sizes(selection.offsets).sum() == len(selection.rows)


def test_filters_asked_for_again_are_remembered_and_the_oldest_forgotten(tmp_path: Path) -> None:
    everything = gallery(tmp_path)
    one, two, three = (Range("price", low=float(low)) for low in (10, 20, 30))
    room = compiled(one, everything).nbytes + compiled(two, everything).nbytes
    selections = Selections(limit=room)

    def of(filter: Filter) -> Selection:
        return selections.of(filter, lambda filter: compiled(filter, everything))

    first, second = of(one), of(two)
    assert of(Range("price", low=10.0)) is first
    of(three)  # two was asked for longest ago
    assert of(one) is first
    assert of(two) is not second
    forgetful = Selections(limit=0)
    assert forgetful.of(one, lambda filter: compiled(filter, everything)).rows.tolist() == first.rows.tolist()
