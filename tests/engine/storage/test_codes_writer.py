"""Codes of rows whose lists are told, against FAISS finding them itself."""

from pathlib import Path

import faiss
import numpy as np
import pytest

from engine.storage.codes_writer import CodesWriter
from engine.storage.ivf import empty_like
from indexer.quantizer import Representation, codec_for, train
from tests.fakes import product_vectors


@pytest.mark.parametrize("representation", ["pq", "rabitq", "int8", "float16"])
def test_codes_are_those_that_faiss_makes_when_it_assigns_the_rows_itself(
    tmp_path: Path, representation: Representation
) -> None:
    vectors = product_vectors(products=700, photos=3, dim=32)[0].astype(np.float16)
    quantizer = train(vectors.astype(np.float32), 20, codec_for(32, 20, representation=representation))
    lists = quantizer.assign(vectors)
    order = np.argsort(lists, kind="stable")
    writer, alone = CodesWriter(quantizer), empty_like(quantizer.trained)
    for start in range(0, len(order), 500):
        block = order[start : start + 500]
        writer.add(vectors[block], lists[block])
        alone.add(quantizer.turned(vectors[block]))
    written = writer.finish()
    written.save(tmp_path / "told")

    out = faiss.FileIOWriter(str(tmp_path / "alone"))
    faiss.write_InvertedLists(alone.invlists, out)
    del out
    assert written.rows == len(vectors)
    assert (tmp_path / "told").read_bytes() == (tmp_path / "alone").read_bytes()
