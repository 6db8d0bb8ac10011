"""An encoder whose concurrent callers share batches, so that photos of many requests keep every core, or a GPU, busy.

One caller at a time leads: it encodes what has come until then, its own photos and those of everybody who waits, hands
each their part and the lead to the first who came meanwhile. So a batch is as large as the load makes it, and no thread
of its own is needed. A leader waits a little, `patience_s` at most, only when more callers shared the batch before than
have come by now; a caller that is alone never waits.
"""

from collections import deque
from contextlib import suppress
from threading import Condition, Event, Lock
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from engine.vision.encoder import Encoded, Encoder
from engine.vision.preprocess import Preprocess

Floats = NDArray[np.float32]

AT_MOST = 16  # photos of a shared batch; larger ones of a single caller go by themselves
PATIENCE_S = 0.002  # a third of what one photo takes, and less than a shopper can tell


class BatchingEncoder:
    """Another encoder, shared; what it says of a photo is what that one says. Safe to share between threads.

    Each caller gets its own photos' embeddings and features, in its order. Where the other encoder fails on a batch of
    several callers, each caller's photos are tried by themselves, so that an error reaches only whom it belongs to.
    """

    def __init__(self, encoder: Encoder, *, at_most: int = AT_MOST, patience_s: float = PATIENCE_S) -> None:
        """`at_most` photos go together, at least one caller's; `patience_s` 0 never waits for more."""
        self._encoder = encoder
        self._at_most = at_most
        self.patience_s = patience_s
        self._lock = Lock()
        self._came = Condition(self._lock)
        self._waiting: deque[_Call] = deque()
        self._led = False  # somebody encodes, or is about to
        self._callers_before = 1  # that shared the last batch

    @property
    def model_id(self) -> str:
        return self._encoder.model_id

    @property
    def dim(self) -> int:
        return self._encoder.dim

    @property
    def preprocess(self) -> Preprocess:
        return self._encoder.preprocess

    @property
    def waiting(self) -> int:
        """Callers that wait for the next batch."""
        return len(self._waiting)

    def encode(self, batch: Floats) -> Encoded:
        """float32 [n, 3, size, size] -> embeddings and features of the n photos, in their order."""
        if len(batch) >= self._at_most:
            return self._encoder.encode(batch)
        mine = _Call(batch)
        with self._lock:
            self._waiting.append(mine)
            leads, self._led = not self._led, True
            self._came.notify()
        if not leads:
            mine.told.wait()
        if not mine.done:
            self._lead()
        return mine.result()

    def _lead(self) -> None:
        """Encodes for the first who waits, which is the caller, and for others; then hands the lead on."""
        calls = self._gather()
        try:
            _encode(self._encoder, calls)
        finally:
            with self._lock:
                heir = self._waiting[0] if self._waiting else None
                self._led = heir is not None
            if heir is not None:
                heir.told.set()
            for call in calls[1:]:
                call.told.set()

    def _gather(self) -> list["_Call"]:
        with self._lock:
            deadline = monotonic() + self.patience_s
            while len(self._waiting) < self._callers_before and self._photos() < self._at_most:
                left = deadline - monotonic()
                if left <= 0 or not self._came.wait(left):
                    break
            calls = [self._waiting.popleft()]
            photos = len(calls[0].photos)
            while self._waiting and photos + len(self._waiting[0].photos) <= self._at_most:
                calls.append(self._waiting.popleft())
                photos += len(calls[-1].photos)
            self._callers_before = len(calls)
            return calls

    def _photos(self) -> int:
        return sum(len(call.photos) for call in self._waiting)


class _Call:
    """A caller's photos and, once `done`, what became of them. `told` is set when they are, or when it is to lead."""

    __slots__ = ("error", "found", "photos", "told")

    def __init__(self, photos: Floats) -> None:
        self.photos = photos
        self.told = Event()
        self.found: Encoded | None = None
        self.error: BaseException | None = None

    @property
    def done(self) -> bool:
        return self.found is not None or self.error is not None

    def result(self) -> Encoded:
        if self.error is not None:
            raise self.error
        assert self.found is not None
        return self.found


def _encode(encoder: Encoder, calls: list[_Call]) -> None:
    """Fills in `found` or `error` of every call, also where this is interrupted."""
    try:
        if len(calls) > 1:
            with suppress(Exception):  # whose fault it is shows below
                _encode_together(encoder, calls)
        for call in calls:
            if not call.done:
                _encode_alone(encoder, call)
    except BaseException as interrupted:
        for call in calls:
            if not call.done:
                call.error = interrupted
        raise


def _encode_together(encoder: Encoder, calls: list[_Call]) -> None:
    found = encoder.encode(np.concatenate([call.photos for call in calls]))
    start = 0
    for call in calls:
        end = start + len(call.photos)
        call.found = Encoded(found.embeddings[start:end], found.features[start:end])
        start = end


def _encode_alone(encoder: Encoder, call: _Call) -> None:
    try:
        call.found = encoder.encode(call.photos)
    except Exception as error:
        call.error = error
