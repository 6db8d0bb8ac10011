"""Upserts and deletes without end, until killed; says on standard output what was acknowledged, and only then.

python -m tests.engine.crash_writer CATALOGUE MODEL_DIR PHOTOS SEED
"""

import sys
from pathlib import Path

import numpy as np

from engine.catalogue.store import Catalogue
from engine.updates import Updates, Upsert
from engine.vision.model import Model
from tests.indexer.shop import draw, encoder_of


def say(*words: object) -> None:
    """One line, gone from this process before anything else happens in it."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def main(where: str, model: str, photos: str, seed: str) -> None:
    rng = np.random.default_rng(int(seed))
    there: list[str] = []
    with Catalogue.open(where) as catalogue:
        updates = Updates(catalogue, encoder_of(Model.open(model)), Path(photos))
        for number in range(10**6):
            if there and rng.random() < 0.3:
                product_id = there.pop(int(rng.integers(len(there))))
                say("deleting", product_id)
                done = updates.delete([product_id])
                say("deleted", product_id, done.change_number)
            else:
                product_id = f"{seed}-{number}"
                done = updates.upsert(Upsert(product_id, None, {"price": float(number)}, [draw(number, int(seed))]))
                say("upserted", product_id, done.change_number)
                there.append(product_id)


if __name__ == "__main__":
    main(*sys.argv[1:])
