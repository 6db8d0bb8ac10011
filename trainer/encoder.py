"""Encoding with torch: photos -> embeddings while a network is still in training, through the serving preprocessing."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from engine.errors import LookalikeError
from engine.settings import thread_count
from engine.sources.photos import read_photo
from engine.vision.preprocess import Preprocess, load
from trainer.network import Network

Floats = NDArray[np.float32]
BATCH = 32  # photos


def read_photos(uris: Sequence[str], preprocess: Preprocess) -> tuple[Floats, NDArray[np.bool_]]:
    """float32 [n, 3, size, size] and [n] which could be read; the others are zeros."""
    photos = np.zeros((len(uris), 3, preprocess.size, preprocess.size), np.float32)
    readable = np.zeros(len(uris), np.bool_)

    def read(place: int) -> None:
        try:
            photos[place] = load(read_photo(uris[place]), uris[place], preprocess)
            readable[place] = True
        except LookalikeError:
            pass  # told by `readable`; training itself names unreadable photos

    with ThreadPoolExecutor(thread_count()) as pool:
        list(pool.map(read, range(len(uris))))
    return photos, readable


def encode_photos(network: Network, uris: Sequence[str], preprocess: Preprocess) -> tuple[Floats, NDArray[np.bool_]]:
    """float32 [n, dim] embeddings and [n] which photos could be read. Leaves the network in eval mode."""
    network.eval()
    device = next(network.parameters()).device
    embeddings = np.zeros((len(uris), network.project.out_features), np.float32)
    readable = np.zeros(len(uris), np.bool_)
    starts = range(0, len(uris), BATCH)
    with ThreadPoolExecutor(1) as ahead, torch.inference_mode():
        pending = [ahead.submit(read_photos, uris[start : start + BATCH], preprocess) for start in starts[:2]]
        for number, start in enumerate(starts):
            photos, readable[start : start + BATCH] = pending.pop(0).result()
            if number + 2 < len(starts):
                following = starts[number + 2]
                pending.append(ahead.submit(read_photos, uris[following : following + BATCH], preprocess))
            batch = torch.from_numpy(photos).to(device).contiguous(memory_format=torch.channels_last)
            embeddings[start : start + BATCH] = network(batch).embedding.cpu().numpy()
    return embeddings, readable
