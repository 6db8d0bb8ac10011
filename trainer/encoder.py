"""Encoding with torch: photos -> embeddings while a network is still in training, through the serving preprocessing."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from engine.vision.preprocess import Preprocess
from trainer.network import Network
from trainer.photos import BATCH, read_photos

Floats = NDArray[np.float32]


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
