"""Thumbnails: small, whole, upright, never enlarged."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from engine.errors import BadImage
from webui.thumbnails import QUALITY, thumbnail


def file_of(picture: Image.Image, kind: str = "PNG", **how: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **how)
    return out.getvalue()


def pixels(file: bytes) -> NDArray[np.float64]:
    return np.asarray(Image.open(io.BytesIO(file)), np.float64)


@given(width=st.integers(1, 500), height=st.integers(1, 500), side=st.integers(32, 1024))
@settings(max_examples=40, deadline=None)
def test_the_longer_side_fits_and_the_shape_stays(width: int, height: int, side: int) -> None:
    small = Image.open(io.BytesIO(thumbnail(file_of(Image.new("RGB", (width, height))), "a photo", side)))

    assert max(small.size) == min(side, max(width, height))
    scale = max(small.size) / max(width, height)
    assert abs(small.width - width * scale) <= 1
    assert abs(small.height - height * scale) <= 1


def test_a_large_jpeg_looks_as_if_it_had_been_decoded_whole() -> None:
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.integers(0, 255, (12, 16, 3), np.uint8), np.ones((100, 100, 1), np.uint8))
    whole = Image.fromarray(blocks)

    small = thumbnail(file_of(whole, "JPEG", quality=95), "a photo", 160)

    expected = file_of(whole.resize((160, 120), Image.Resampling.BICUBIC), "JPEG", quality=QUALITY)
    difference = np.abs(pixels(small) - pixels(expected))
    assert difference.mean() < 2  # of 255


def test_it_is_upright() -> None:
    picture = Image.new("RGB", (40, 80), "red")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter

    small = Image.open(io.BytesIO(thumbnail(file_of(picture, "JPEG", exif=exif), "a photo", 64)))

    assert small.size == (64, 32)
    assert not small.getexif()


def test_what_is_no_picture_is_named() -> None:
    with pytest.raises(BadImage, match="photo 7"):
        thumbnail(b"text", "photo 7", 64)
