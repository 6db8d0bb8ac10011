"""A small shop on the disk: photos as PNG files, a catalogue of them, a model that sees patches of colour."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from engine.catalogue.schema import Facet, FacetType, Product
from engine.catalogue.store import Catalogue
from engine.telemetry import SILENT, Progress
from engine.vision.model import Model
from engine.vision.photo_vectors import PRECISION
from engine.vision.preprocess import load
from indexer.build import BuildOptions, BuildReport, build_index
from indexer.merge import merge_index
from indexer.quantizer import Representation
from indexer.repair import RepairReport, repair_index
from tests.fakes import GRID, FakeEncoder, tiny_model

COLOURS = ("Blue", "Green", "Red")
FACETS = (Facet("colour", FacetType.KEYWORD), Facet("price", FacetType.NUMBER))


class Shop:
    """A folder with a catalogue, its photos, models and an index; everything drawn from `seed`."""

    def __init__(self, folder: Path, where: str | None = None) -> None:
        self.folder = folder
        self.index = folder / "index"
        self.catalogue = Catalogue.open(where or folder / "shop.db", create=True)
        self.model = tiny_model(folder / "model")
        self.encoder = encoder_of(self.model)
        with self.catalogue.transaction() as writer:
            writer.declare_facets(FACETS)

    def stock(self, products: range, photos: int = 2) -> None:
        """Puts products with so many photos each into the catalogue; the same numbers are the same photos."""
        with self.catalogue.transaction() as writer:
            for number in products:
                product_id = f"p{number:04d}"
                facets = {"colour": COLOURS[number % 3], "price": float(number)}
                writer.upsert_product(Product(product_id, f"Product {number}", facets))
                for photo in range(photos):
                    data = draw(number, photo)
                    path = self.folder / f"{product_id}-{photo}.png"
                    path.write_bytes(data)
                    writer.add_photo(product_id, sha256(data).hexdigest(), path.as_uri(), {})

    def photo(self, number: int, photo: int = 0) -> Path:
        """The file of a photo."""
        return self.folder / f"p{number:04d}-{photo}.png"

    def build(
        self,
        model: Model | None = None,
        *,
        out: Path | None = None,
        shards: int | None = None,
        workers: int | None = None,
        recall: float | None = None,
        representation: Representation = "pq",
        progress: Progress = SILENT,
    ) -> BuildReport:
        """Builds the index with the shop's model, or another."""
        encoder = self.encoder if model is None else encoder_of(model)
        return build_index(
            self.catalogue,
            model or self.model,
            out or self.index,
            encoder=encoder,
            options=BuildOptions(shards, workers, recall=recall, representation=representation),
            progress=progress,
        )

    def merge(self, *, workers: int | None = None, progress: Progress = SILENT) -> BuildReport | None:
        """Folds the catalogue's changes into a new generation."""
        return merge_index(
            self.catalogue,
            self.model,
            self.index,
            encoder=self.encoder,
            options=BuildOptions(workers=workers),
            progress=progress,
        )

    def repair(self, progress: Progress = SILENT) -> RepairReport:
        """Makes the index whole again."""
        return repair_index(self.catalogue, self.model, self.index, encoder=self.encoder, progress=progress)

    def put_vectors(self, products: range, photos: int = 2) -> None:
        """Keeps the vectors of these products' photos in the catalogue, as a live upsert does."""
        with self.catalogue.transaction() as writer:
            for number in products:
                for photo in range(photos):
                    data = draw(number, photo)
                    pixels = load(data, "photo", self.encoder.preprocess)
                    (vector,) = self.encoder.encode(pixels[None]).embeddings
                    writer.put_vector(sha256(data).hexdigest(), self.encoder.model_id, PRECISION, vector)


@contextmanager
def shop(folder: Path, products: int = 12, photos: int = 2, *, where: str | None = None) -> Iterator[Shop]:
    """A shop with products in it; its catalogue is a file in the folder, or lives at `where`."""
    opened = Shop(folder, where)
    with opened.catalogue:
        if products:
            opened.stock(range(products), photos)
        yield opened


def encoder_of(model: Model) -> FakeEncoder:
    """What the model's network computes, without a runtime for it; only of models of seed 0."""
    return FakeEncoder(model.spec.dim, model_id=model.spec.model_id, size=model.spec.preprocess.size)


def draw(number: int, photo: int) -> bytes:
    """A PNG of patches of colour that are the product's own, a little different in every photo."""
    own = np.random.default_rng(number).integers(0, 256, (GRID, GRID, 3))
    noise = np.random.default_rng([number, photo]).integers(-20, 21, own.shape)
    pixels = np.clip(own + noise, 0, 255).astype(np.uint8).repeat(4, axis=0).repeat(4, axis=1)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
