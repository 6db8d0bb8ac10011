"""Photos -> embeddings: the protocol everybody codes against, and OpenVINO behind it."""

import sys
from collections import deque
from dataclasses import dataclass
from functools import cache, cached_property
from queue import Empty, SimpleQueue
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.errors import DamagedFile
from engine.settings import thread_count
from engine.vision.model import Model
from engine.vision.preprocess import Preprocess

Floats = NDArray[np.float32]

INPUT = "photos"


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """`embeddings` float32 [n, dim], L2 norm 1; `features` float32 [n, feature_dim], what the heads take."""

    embeddings: Floats
    features: Floats


class Encoder(Protocol):
    """Anything that turns preprocessed photos into embeddings, from several threads at once."""

    @property
    def model_id(self) -> str:
        """The model whose vectors these are; vectors of different models must never meet."""

    @property
    def dim(self) -> int:
        """Length of an embedding."""

    @property
    def preprocess(self) -> Preprocess:
        """How pictures become the input of `encode`."""

    def encode(self, batch: Floats) -> Encoded:
        """float32 [n, 3, size, size] -> embeddings and features of the n photos, in their order."""


class OpenVinoEncoder:
    """A model's `encoder.onnx` on OpenVINO, in float32 on every machine, safe to share between threads.

    The network runs one photo at a time. A batch keeps every core busy with a photo of its own, which is as fast as
    true batches on processors, and so a photo's vector never depends on what it was encoded with. The two
    compilations, all cores on one photo and one core a photo, are made when first needed.
    """

    def __init__(self, model: Model, *, threads: int = 0) -> None:
        """`threads` 0 takes as many as the settings say. Raises DamagedFile where the network is not what it should be.

        The file is read here, once, so the directory may be replaced or go away afterwards.
        """
        self._spec = model.spec
        self._threads = thread_count(threads)
        self._core, self._network = _read_network(model)

    @property
    def model_id(self) -> str:
        return self._spec.model_id

    @property
    def dim(self) -> int:
        return self._spec.dim

    @property
    def preprocess(self) -> Preprocess:
        return self._spec.preprocess

    def encode(self, batch: Floats) -> Encoded:
        """float32 [n, 3, size, size] -> embeddings and features of the n photos, the same whatever n is."""
        size = self.preprocess.size
        assert batch.shape[1:] == (3, size, size), batch.shape
        photos = np.ascontiguousarray(batch, dtype=np.float32)
        found = Encoded(
            np.empty((len(photos), self.dim), np.float32), np.empty((len(photos), self._spec.feature_dim), np.float32)
        )
        workers = self._one_photo if len(photos) == 1 else self._many_photos
        workers.encode(photos, found)
        return found

    @cached_property
    def _one_photo(self) -> "_Workers":
        return self._workers(streams=1)

    @cached_property
    def _many_photos(self) -> "_Workers":
        return self._workers(streams=self._threads)

    def _workers(self, streams: int) -> "_Workers":
        compiled = self._core.compile_model(
            self._network,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": "f32",  # processors with bf16 would use it, and vectors differ by machine
                "NUM_STREAMS": streams,
                "INFERENCE_NUM_THREADS": self._threads,
                "ENABLE_CPU_PINNING": False,  # a pinned thread waits for its core when another process has it
            },
        )
        return _Workers(compiled, streams)


class _Workers:
    """A compiled network and its idle requests, one for each stream; every call borrows a set of them for itself.

    OpenVINO's own queue calls back into Python from its threads. One that was still about to when the process ended
    took it down with SIGABRT; here its threads never see Python.
    """

    def __init__(self, compiled: Any, streams: int) -> None:
        self._compiled = compiled
        self._streams = streams
        self._idle: SimpleQueue[list[Any]] = SimpleQueue()

    def encode(self, photos: Floats, found: Encoded) -> None:
        """Fills `found` with what the network says about `photos`, row by row."""
        requests = self._borrow()
        under_way: deque[tuple[Any, int]] = deque()

        def finish_oldest() -> Any:
            request, row = under_way.popleft()
            request.wait()
            found.embeddings[row] = request.get_tensor("embedding").data
            found.features[row] = request.get_tensor("features").data
            return request

        for row in range(len(photos)):
            request = requests[row] if row < len(requests) else finish_oldest()
            request.start_async({INPUT: photos[row : row + 1]})
            under_way.append((request, row))
        while under_way:
            finish_oldest()
        self._idle.put(requests)  # not after an exception: they might still be under way

    def _borrow(self) -> list[Any]:
        try:
            return self._idle.get_nowait()
        except Empty:
            return [self._compiled.create_infer_request() for _ in range(self._streams)]


def _read_network(model: Model) -> tuple[Any, Any]:
    """The OpenVINO core and the network for one photo of the model's size."""
    path, spec = model.encoder_path, model.spec
    core = _core()
    size = spec.preprocess.size
    try:
        network = core.read_model(path)
        network.reshape({INPUT: [1, 3, size, size]})
        shapes = {name: list(network.output(name).shape) for name in ("embedding", "features")}
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise DamagedFile(f"{path} cannot be run ({reason}); restore it or export the model again.") from None
    wanted = {"embedding": [1, spec.dim], "features": [1, spec.feature_dim]}
    if shapes != wanted:
        raise DamagedFile(f"{path} gives {shapes}, model.json says {wanted}; export the model again.")
    return core, network


@cache
def _core() -> Any:
    """The one OpenVINO core of this process.

    Its CPU plugin gives the thread that loads it a signal stack and, with the last core and network, takes it away
    again. Where several came and went, the thread was left with one that is no longer there, and the next signal to
    Python, a Ctrl-C, ended the process with a segmentation fault.

    It must come from here before anybody else imports OpenVINO: on import that reports home, from a child that it forks
    and that keeps a copy of every open socket. Without its package for this it does nothing of the kind.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: cannot be imported
    import openvino

    return openvino.Core()
