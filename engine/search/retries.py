"""When photos that could not be read are tried again: every one about once a minute, a few products at a time.

Between two steps the follower looks for changes, so retries never keep those waiting for long; and a round ends for
this minute when it has spent `ROUND_S` on photos that failed once more, since those on a share that is down may take
seconds each. The next round goes on where it stopped. Photos that can be read again are waited for by nobody.
"""

from collections import deque
from collections.abc import Collection, Sequence
from itertools import islice

EVERY_S = 60.0  # seconds between two rounds
ROUND_S = 3.0  # seconds that a round may spend on photos that fail again
STEP_S = 0.5  # seconds after which a step takes no further product
PRODUCTS = 64  # at most in one step


class Retries:
    """Which products are due. Times are seconds of any clock that never goes back."""

    def __init__(self, now: float) -> None:
        self._waiting: deque[str] = deque()
        self._at = now + EVERY_S  # when the next round begins, or goes on
        self._wasted = 0.0

    def due(self, unreadable: Collection[str], now: float) -> list[str]:
        """The products to try now, of those that have unreadable photos; in the order of their ids."""
        if not unreadable:
            self._waiting.clear()
            self._at = now + EVERY_S
        if now < self._at:
            return []
        if not self._waiting:
            self._waiting.extend(sorted(unreadable))
        return list(islice(self._waiting, PRODUCTS))

    def tried(self, product_ids: Sequence[str], wasted: float, now: float) -> None:
        """These, the first that were due, are done; `wasted` seconds went to photos that failed again."""
        for product_id in product_ids:
            first = self._waiting.popleft()
            assert first == product_id
        self._wasted += wasted
        if not self._waiting or self._wasted >= ROUND_S:
            self._at, self._wasted = now + EVERY_S, 0.0
