"""How many lists, which codec, and training both once on a sample of the catalogue.

The codec chooses what is re-ranked on the float16 rows, so its errors cost depth, not results. By default it is 4-bit
residual PQ in fast-scan layout with two dimensions a sub-space: of the codes that were tried
(`benchmarks/representations.py`) it is the fastest to scan, and twice the bytes of the usual four dimensions save more
re-ranking than they cost.
"""

import math
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from engine.storage.ivf import Floats, Quantizer

if TYPE_CHECKING:
    import faiss

PHOTOS_PER_LIST = 39  # below this k-means has too few points for a centroid, by FAISS's own rule
SAMPLE_PER_LIST = 64  # photos of the sample for each list
SAMPLE_FLOOR = 8192  # photos of the sample at least, for the codec's sake
CENTROIDS = 16  # of each PQ sub-space: 4 bits


def lists_for(photos: int) -> int:
    """How many inverted lists suit so many photos: two square roots, but no list without enough photos to learn it.

    1 for up to 77 photos, 76 for 3,000, 1,414 for 500,000 (Lookalike default).
    """
    return max(1, min(round(2 * math.sqrt(photos)), photos // PHOTOS_PER_LIST))


def subspaces_for(dim: int) -> int:
    """PQ sub-spaces, 4 bits each: two dimensions apiece, one where that would leave under 16 sub-spaces."""
    return dim // 2 if dim % 2 == 0 and dim >= 32 else dim


def sample_size(photos: int, lists: int) -> int:
    """How many photos to train on."""
    return min(photos, max(SAMPLE_FLOOR, lists * SAMPLE_PER_LIST))


Representation = Literal["pq", "rabitq", "int8", "float16"]
"""How codes stand for vectors: 4-bit PQ, RaBitQ's one bit a dimension (arXiv:2405.12497), scaled int8, float16."""


def codec_for(dim: int, lists: int, bytes_per_photo: int | None = None, representation: Representation = "pq") -> str:
    """The FAISS factory string of a codec.

    PQ takes at most `bytes_per_photo` where given, two sub-spaces a byte; the other representations have one size.
    """
    match representation:
        case "pq":
            subspaces = subspaces_for(dim)
            if bytes_per_photo is not None:
                subspaces = max(n for n in range(1, dim + 1) if dim % n == 0 and n <= max(1, 2 * bytes_per_photo))
            return f"IVF{lists},PQ{subspaces}x4fsr"
        case "rabitq":
            return f"RR{dim},IVF{lists},RaBitQfs"  # its bits are good only where no direction is special
        case "int8":
            return f"IVF{lists},SQ8"
        case "float16":
            return f"IVF{lists},SQfp16"


def representation_of(codec: str) -> Representation:
    """The representation that `codec_for` gave this codec for."""
    codes = codec.rpartition(",")[2]
    names: dict[str, Representation] = {"RaBitQfs": "rabitq", "SQ8": "int8", "SQfp16": "float16"}
    return names.get(codes, "pq")


def train(sample: Floats, lists: int, codec: str | None = None) -> Quantizer:
    """Learns centroids and codec from `sample` [n, dim], L2 norm 1, n >= 1; the same sample gives the same result."""
    import faiss  # not above: `engine.storage.ivf` says how its threads wait before it loads

    dim = sample.shape[1]
    codec = codec or codec_for(dim, lists)
    index = faiss.index_factory(dim, codec, faiss.METRIC_INNER_PRODUCT)
    inner = faiss.downcast_index(faiss.extract_index_ivf(index))
    # a small catalogue is no mistake to be warned of
    inner.cp.min_points_per_centroid = 1
    if isinstance(inner, faiss.IndexIVFPQFastScan):
        inner.pq.cp.min_points_per_centroid = 1
    on_gpu = faiss.index_cpu_to_all_gpus(faiss.IndexFlatIP(inner.d)) if faiss.get_num_gpus() else None
    if on_gpu is not None:  # k-means of the centroids is nearly all of the work
        inner.clustering_index = on_gpu
    # k-means needs a point for each centroid, so a tiny sample is repeated
    index.train(np.resize(sample, (max(len(sample), CENTROIDS, lists), dim)))
    if on_gpu is not None:
        inner.clustering_index = None  # it is gone when this returns
    if isinstance(inner, faiss.IndexIVFPQFastScan):
        _spread_flat_codebooks(inner)
    return Quantizer(index, codec)


def _spread_flat_codebooks(index: "faiss.IndexIVFPQFastScan") -> None:
    """Gives centroids that are all alike (one photo, or copies of one) a tiny spread.

    Fast-scan divides its tables by their range: with a range of nothing it finds no row at all.
    """
    import faiss

    codebooks: NDArray[np.float32] = faiss.vector_to_array(index.pq.centroids)
    by_subspace = codebooks.reshape(index.pq.M, CENTROIDS, index.pq.dsub)
    if np.ptp(by_subspace, axis=1).any():
        return
    noise = np.random.default_rng(0).standard_normal(codebooks.shape) * 1e-3
    faiss.copy_array_to_vector((codebooks + noise).astype(np.float32), index.pq.centroids)
