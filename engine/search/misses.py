"""How many results a filtered search would miss if it stopped here: what decides how far it looks.

A list of the index is known by its centroid before any of its photos is looked at. How far photos' cosines exceed the
similarity of their centroid was measured while the index was built (`FilterCalibration`). So for every list that was
not visited yet, the number of its survivors, the similarity of its centroid and the worst cosine found so far foretell
how many results it holds. The search goes on until the lists left hold next to none: a filter whose survivors are many
or near is answered at once; one whose survivors lie far from the query takes longer and loses nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.storage.manifest import FilterCalibration

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

GAPS = 1024  # steps of the tables
FIRST = 150  # survivors a wanted product to begin with
BANDS = 32  # of lists, and
FLOORS = np.linspace(-1, 1, 129)  # cosines, to foretell from and among: coarse, but a tenth of a search's time
STRIDE = 16  # times as many survivors may be seen after the next step: what they show may spare the rest


@dataclass(frozen=True, slots=True)
class Reach:
    """Where a search stopped: after `lists` lists, which are expected to miss the share `missed` of the best."""

    lists: int
    missed: float


class Misses:
    """The calibration of an index, spread into tables that are quick to look up."""

    def __init__(self, calibration: FilterCalibration) -> None:
        log_tails = np.log(np.array(calibration.tails))
        excess = np.array(calibration.excess)
        self.caution = calibration.caution
        self._similarities = np.array(calibration.similarities)
        self._low, self._high = float(excess.min()), float(2 * excess.max() - excess.min())
        gaps = np.linspace(self._low, self._high, GAPS)
        self._shares = np.stack([_tail(gaps, row, log_tails) for row in excess]).astype(np.float32)
        self._code_excess, self._log_tails = np.array(calibration.code_excess), log_tails

    def shares(self, similarities: Floats, floor: float | Doubles) -> Floats:
        """Of the photos in lists with these centroid similarities [n], the share with a cosine above `floor`: [n].

        For several floors [m, 1] the shares are [m, n].
        """
        if isinstance(floor, float) and floor == -np.inf:
            return np.ones(len(similarities), np.float32)
        known = self._similarities
        step = (known[-1] - known[0]) / (len(known) - 1) if len(known) > 1 else 1.0
        bins = np.clip(np.rint((similarities - known[0]) / step), 0, len(known) - 1).astype(np.intp)
        places = (floor - similarities - self._low) * ((GAPS - 1) / max(self._high - self._low, 1e-9))
        # rounding down looks up a smaller gap: rather too many misses than too few
        found: Floats = self._shares[bins, np.clip(places, 0, GAPS - 1).astype(np.intp)]
        return found

    def slack(self, share: float) -> float:
        """How far the code of a photo may score below its cosine, but for this share of the photos."""
        steps = self._log_tails[::-1]
        return float(np.interp(np.log(share / self.caution), steps, self._code_excess[::-1]))

    def follow(
        self, similarities: Floats, survivors: Ints, visit: Callable[[int, int, int], float], *, k: int, allowed: float
    ) -> Reach:
        """Visits lists, nearest first, until the rest holds no more than the share `allowed` of the k best.

        `similarities` [n] falling and `survivors` [n] of the lists; `visit` looks into the lists from one place to
        before another and returns the k-th best cosine of all it has seen, -inf while there are fewer. It is also told
        before which place the search would end if it found nothing better.
        """
        seen = np.cumsum(survivors)
        start, end = 0, _place(seen, FIRST * k)
        until = end
        while True:
            floor = visit(start, end, until)
            left = self._left(similarities[end:], survivors[end:], floor, k)
            more = int(np.argmax(left <= allowed))
            if more == 0:
                return Reach(end, float(left[0]))
            until = end + more
            start, end = end, min(until, max(end + 1, _place(seen, STRIDE * int(seen[end - 1]))))

    def foretell(self, similarities: Floats, survivors: Ints, *, k: int, allowed: float) -> int:
        """About how many lists `follow` would visit for photos that are as near to the query as photos in such lists
        are: told from bands of lists with much the same similarity, since it is asked before anything is found."""
        top, width = similarities[0], max(float(similarities[0] - similarities[-1]), 1e-6) / BANDS
        band = np.minimum(((top - similarities) / width).astype(np.intp), BANDS - 1)
        nearness = (top - width * np.arange(BANDS)).astype(np.float32)
        within = np.bincount(band, survivors, BANDS)
        expected = self.shares(nearness, FLOORS[:, None]) @ within  # photos above each, fewer and fewer
        floor = FLOORS[max(int(np.count_nonzero(expected >= k)) - 1, 0)]
        bands = int(np.argmax(self._left(nearness, within, floor, k) <= allowed))
        return int(np.searchsorted(band, bands))

    def _left(self, similarities: Floats, survivors: Ints | Doubles, floor: float, k: int) -> Floats:
        """[n] lists -> [n + 1] the share of the k best that is missed when stopping before each, and after the last."""
        expected = self.caution / k * survivors * self.shares(similarities, floor)
        return np.append(np.cumsum(expected[::-1])[::-1], 0.0).astype(np.float32)


def _place(seen: Ints, wanted: int) -> int:
    """How many lists have so many survivors together; all where they have fewer."""
    return min(int(np.searchsorted(seen, wanted)) + 1, len(seen))


def _tail(gaps: Doubles, excess: Doubles, log_tails: Doubles) -> Doubles:
    """The share that exceeds each of `gaps`: log-linear between the tails measured, 1 below them, falling on beyond."""
    rising, steps = _distinct(excess, log_tails)
    shares = np.exp(np.interp(gaps, rising, steps))
    shares[gaps < rising[0]] = 1.0
    if len(rising) > 1:
        slope = (steps[-1] - steps[-2]) / (rising[-1] - rising[-2])
        beyond = gaps > rising[-1]
        shares[beyond] = np.exp(steps[-1] + slope * (gaps[beyond] - rising[-1]))
    return shares


def _distinct(excess: Doubles, log_tails: Doubles) -> tuple[Doubles, Doubles]:
    """Without equal neighbours, which have no slope; of equal ones the greater share is kept."""
    kept = np.concatenate([[True], np.diff(excess) > 1e-9])
    return excess[kept], log_tails[kept]
