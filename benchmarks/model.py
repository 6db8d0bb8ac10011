"""A model directory for indexes made of vectors: it says how long they are, and encodes nothing worth having."""

from pathlib import Path

from engine.vision.model import Model
from tests.fakes import tiny_model


def bare_model(directory: Path, dim: int) -> Model:
    """Writes it into `directory/model`."""
    return tiny_model(directory / "model", dim=dim)
