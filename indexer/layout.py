"""Which product has which ordinal: those with a photo that can be read, in the order of their ids."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import EmptyCatalogue
from indexer.embed import Embedded
from indexer.known import AT_ONCE, UNKNOWN
from indexer.roster import Roster

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """`shown` bool [products] are the products that get an ordinal; `ordinals` int32 [photos], mapped from
    `ordinals_path`, is that of each photo's product. `photos` of them can be read."""

    shown: NDArray[np.bool_]
    ordinals: NDArray[np.int32]
    ordinals_path: Path
    products: int
    photos: int


def lay_out(roster: Roster, embedded: Embedded, name: str, path: Path) -> Layout:
    """Gives ordinals, and writes them to `path`. Raises EmptyCatalogue where the catalogue `name` has photos and none
    of them can be read."""
    shown = np.zeros(len(roster.product_ids), np.bool_)
    photos = 0
    for block in _blocks(len(roster)):
        readable = embedded.places[block] != UNKNOWN
        shown[roster.owners[block][readable]] = True
        photos += int(readable.sum())
    if len(roster) and not photos:
        raise EmptyCatalogue(
            f"None of the {len(roster)} photos of {name} can be read (the first: {embedded.unreadable[0].reason}); "
            "put them back and import again."
        )
    ordinal_of_product = np.cumsum(shown, dtype=np.int32) - np.int32(1)
    ordinals = np.lib.format.open_memmap(path, "w+", np.int32, (len(roster),))
    for block in _blocks(len(roster)):
        ordinals[block] = ordinal_of_product[roster.owners[block]]
    ordinals.flush()
    return Layout(shown, np.load(path, mmap_mode="r"), path, int(shown.sum()), photos)


def draw_sample(layout: Layout, places: Ints, size: int, without: Ints, rng: np.random.Generator) -> Ints:
    """The places of up to `size` vectors to train on, of photos that can be read and of products other than those with
    the ordinals `without`."""
    photos = len(places)
    # drawn from all photos, so that a sample costs its own size and not the catalogue's; a few are thrown away
    most = size + size // 4 + 8 * len(without)
    if photos - layout.photos > photos // 8 or most > photos // 2:
        drawn = rng.permutation(np.flatnonzero(places != UNKNOWN))
    else:
        drawn = rng.choice(photos, most, replace=False)
    drawn = drawn[(places[drawn] != UNKNOWN) & ~np.isin(layout.ordinals[drawn], without)]
    sample: Ints = places[np.sort(drawn[:size])]
    return sample


def _blocks(count: int) -> list[slice]:
    return [slice(start, start + AT_ONCE) for start in range(0, count, AT_ONCE)]
