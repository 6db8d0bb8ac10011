"""A file's bytes -> a safe RGB picture, upright, on white.

Photos come from strangers. So the kind is told by the first bytes and not by the name, only three decoders are ever
let near the data, and the number of pixels is checked in the header, before anything is decoded.
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base as ExifTag

from engine.errors import BadImage
from engine.settings import settings

# Pillow only warns of pictures between one and two times its limit; with this it refuses them.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
# Damaged EXIF beside sound pixels is common in photos and nobody's business.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

# Reduced JPEG decoding keeps this many times the pixels asked for, so that the resize after it still decides how the
# result looks (Pillow's own `thumbnail` keeps the same reserve).
DRAFT_RESERVE = 2

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_REFUSED = (
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"%PDF", "a PDF"),
    (b"PK\3\4", "a zip archive"),
    (b"<svg", "an SVG"),
    (b"<?xml", "an XML file"),
    (b"<!DOCTYPE", "a web page"),
    (b"<html", "a web page"),
)
_HEIF_BRANDS = {b"heic": "a HEIC", b"heix": "a HEIC", b"mif1": "a HEIC", b"msf1": "a HEIC", b"avif": "an AVIF"}


def decode(data: bytes, name: str, *, min_side: int | None = None) -> Image.Image:
    """A picture as RGB, turned upright by its EXIF orientation, transparency laid on white.

    `min_side` (pixels) allows a JPEG to be decoded at 1/2, 1/4 or 1/8 of its size, several times faster, as long as
    its short side stays at least twice that; what is resized to `min_side` afterwards looks the same. `name` is what
    errors call the photo.

    Raises:
        BadImage: empty, truncated, damaged, not JPEG, PNG or WebP, or of more bytes or pixels than the settings allow.
    """
    with _opened(data, name) as image:
        if min_side is not None:
            image.draft(None, (min_side * DRAFT_RESERVE, min_side * DRAFT_RESERVE))
        image.load()
        return _upright(_on_white(image), _orientation(image))


def check_header(data: bytes, name: str) -> None:
    """Raises BadImage for what `decode` would refuse before decoding: wrong kind, damaged header, too large.

    Costs microseconds; a file that is cut off or damaged further on passes.
    """
    with _opened(data, name):
        pass


@contextmanager
def _opened(data: bytes, name: str) -> Iterator[Image.Image]:
    kind = _kind(data, name)
    try:
        with Image.open(BytesIO(data), formats=[kind]) as image:
            _check_pixels(image, name)
            yield image
    except BadImage:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadImage(_too_many_pixels(name)) from None
    except MemoryError:  # says nothing about the file: whoever set the limit on memory knows what to tell
        raise
    except Exception as error:  # a damaged file may raise anything in a decoder, and all of it means the same
        reason = "" if isinstance(error, UnidentifiedImageError) else f" ({' '.join(str(error).split())})"
        raise BadImage(f"{name} is a damaged or truncated {kind}{reason}; send it again or save it anew.") from error


def crop(image: Image.Image, box: tuple[float, float, float, float]) -> Image.Image:
    """The part of `image` inside `box`: left, top, right, bottom as fractions of its width and height, in [0, 1].

    Pixels that the box only touches are in, so even the smallest box gives one pixel.
    """
    left, top, right, bottom = box
    assert 0 <= left < right <= 1, box
    assert 0 <= top < bottom <= 1, box
    width, height = image.size
    return image.crop(
        (math.floor(left * width), math.floor(top * height), math.ceil(right * width), math.ceil(bottom * height))
    )


def _kind(data: bytes, name: str) -> str:
    limit = settings().max_photo_bytes
    if not data:
        raise BadImage(f"{name} is empty; send a JPEG, PNG or WebP.")
    if len(data) > limit:
        raise BadImage(f"{name} has {len(data):,} bytes, more than the {limit:,} allowed; send a smaller picture.")
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    raise BadImage(f"{name} is {_guess(data)}; send a JPEG, PNG or WebP.")


def _guess(data: bytes) -> str:
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        return _HEIF_BRANDS[data[8:12]]
    return next((kind for magic, kind in _REFUSED if data.startswith(magic)), "no picture")


def _check_pixels(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > settings().max_photo_pixels:
        raise BadImage(_too_many_pixels(name, f" ({width:,} x {height:,})"))


def _too_many_pixels(name: str, size: str = "") -> str:
    return f"{name}{size} has more than the {settings().max_photo_pixels:,} pixels allowed; send a smaller picture."


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey: Pillow would cut off at 255 instead of scaling
        grey = np.asarray(image) >> 8
        return Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")  # which would copy what is RGB already
    layer = image if image.mode == "RGBA" else image.convert("RGBA")
    paper = Image.new("RGB", image.size, "white")
    paper.paste(layer, mask=layer.getchannel("A"))  # half the memory of alpha_composite, which wants RGBA paper
    return paper


def _orientation(image: Image.Image) -> int | None:
    try:
        return image.getexif().get(ExifTag.Orientation)
    except Exception:  # damaged EXIF beside a sound picture: the picture counts
        return None


def _upright(image: Image.Image, orientation: int | None) -> Image.Image:
    # ImageOps.exif_transpose writes the EXIF block anew, which fails on damaged ones; turning is all we need.
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image
