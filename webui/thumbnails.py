"""A photo's file -> a small JPEG for a card."""

from io import BytesIO
from typing import Protocol

from PIL.Image import Resampling

from engine.vision.image import decode

QUALITY = 85  # JPEG: below it flat studio backgrounds begin to show blocks


class Thumbnailer(Protocol):
    """Anything that makes thumbnails, from several threads at once; `thumbnail` is one."""

    def __call__(self, data: bytes, name: str, side: int) -> bytes:
        """The picture as a JPEG whose longer side has at most `side` pixels. Raises BadImage, naming `name`."""


def thumbnail(data: bytes, name: str, side: int) -> bytes:
    """The picture as a JPEG whose longer side has at most `side` pixels: upright, whole, never enlarged.

    Raises BadImage where the bytes are no picture; `name` is what it calls them.
    """
    picture = decode(data, name, min_side=side)
    picture.thumbnail((side, side), Resampling.BICUBIC)
    out = BytesIO()
    picture.save(out, "JPEG", quality=QUALITY, optimize=True)
    return out.getvalue()
