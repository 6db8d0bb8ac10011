"""Files as nobody should send them: truncated, flipped, lying, bombs, polyglots, too large. The same on every machine.

`corpus()` has more than five hundred. Of some it is certain that they are no picture; others (a flipped bit in a pixel,
a page of HTML after a sound PNG) may well be decoded, and all that is asked is an answer.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image, PngImagePlugin

SIDE = 64  # pixels of the sound pictures that everything is made of
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC = b"\xff\xd8\xff\xe0"


@dataclass(frozen=True)
class Malformed:
    """`refused`: no decoder may make a picture of it."""

    kind: str
    name: str
    data: bytes
    refused: bool = False


def corpus(*kinds: str) -> list[Malformed]:
    """All files of these kinds, or of all kinds."""
    sound = _sound()
    makers: dict[str, Callable[[], Iterator[Malformed]]] = {
        "truncated": lambda: _truncated(sound),
        "flipped": lambda: _flipped(sound),
        "mislabelled": lambda: _mislabelled(sound),
        "other magic": _other_magic,
        "lying header": lambda: _lying_headers(sound),
        "polyglot": lambda: _polyglots(sound),
        "bomb": _bombs,
        "too large": _too_large,
    }
    return [file for kind in kinds or makers for file in makers[kind]()]


def spread(files: list[Malformed], count: int) -> list[Malformed]:
    """At least `count` of the files, as many of every kind, drawn."""
    kinds = sorted({file.kind for file in files})
    rng = np.random.default_rng(0)
    chosen = []
    for kind in kinds:
        own = [file for file in files if file.kind == kind]
        chosen += [own[number] for number in rng.permutation(len(own))[: -(-count // len(kinds))]]
    return chosen


# --- Sound pictures --------------------------------------------------------------------------------------------------


def _sound() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    colours = Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).resize((SIDE, SIDE))
    clear = colours.copy()
    clear.putalpha(128)
    grey16 = Image.fromarray(rng.integers(0, 65535, (SIDE, SIDE), np.uint16))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a photo"
    return {
        "jpeg": _file(colours, "JPEG"),
        "jpeg-progressive": _file(colours, "JPEG", progressive=True),
        "jpeg-grey": _file(colours.convert("L"), "JPEG"),
        "jpeg-cmyk": _file(colours.convert("CMYK"), "JPEG"),
        "jpeg-exif": _file(colours, "JPEG", exif=exif),
        "png": _file(colours, "PNG"),
        "png-alpha": _file(clear, "PNG"),
        "png-palette": _file(colours.convert("P"), "PNG"),
        "png-16-bit": _file(grey16, "PNG"),
        "png-animated": _file(colours, "PNG", save_all=True, append_images=[clear.convert("RGB")]),
        "webp": _file(colours, "WEBP"),
        "webp-lossless": _file(colours, "WEBP", lossless=True),
        "webp-alpha": _file(clear, "WEBP"),
        "webp-animated": _file(colours, "WEBP", save_all=True, append_images=[colours.rotate(90)]),
    }


def _file(picture: Image.Image, kind: str, **how: object) -> bytes:
    file = BytesIO()
    picture.save(file, kind, **how)
    return file.getvalue()


# --- Damage ----------------------------------------------------------------------------------------------------------


def _truncated(sound: dict[str, bytes]) -> Iterator[Malformed]:
    for name, data in sound.items():
        for percent in (1, 3, 8, 15, 25, 40, 55, 70, 85, 95, 99):
            # an animation may have its first picture whole in its first half
            certain = percent <= 40 or (percent <= 55 and "animated" not in name)
            yield Malformed("truncated", f"{name} at {percent} %", data[: len(data) * percent // 100], certain)


def _flipped(sound: dict[str, bytes]) -> Iterator[Malformed]:
    rng = np.random.default_rng(1)
    for name, data in sound.items():
        for flips in (1, 1, 1, 1, 2, 4, 8, 16, 32, 64, 256):
            bits = np.unpackbits(np.frombuffer(data, np.uint8))
            bits[rng.integers(12 * 8, len(bits), flips)] ^= 1  # the magic stays, or nothing would be decoded
            yield Malformed("flipped", f"{name}, {flips} bits", np.packbits(bits).tobytes())


def _mislabelled(sound: dict[str, bytes]) -> Iterator[Malformed]:
    magics = {"jpeg": JPEG_MAGIC, "png": PNG_MAGIC, "webp": b"RIFF\x00\x10\x00\x00WEBPVP8 "}
    for name, data in sound.items():
        for other, magic in magics.items():
            if not name.startswith(other):
                yield Malformed("mislabelled", f"{name} with the magic of {other}", magic + data[len(magic) :], True)


def _other_magic() -> Iterator[Malformed]:
    beginnings = {
        "empty": b"",
        "a byte": b"\xff",
        "zeros": bytes(5000),
        "ones": b"\xff" * 5000,
        "text": b"a photo of a mug " * 100,
        "gif": b"GIF89a",
        "bmp": b"BM",
        "tiff": b"II*\0",
        "big tiff": b"MM\0*",
        "pdf": b"%PDF-1.7\n",
        "zip": b"PK\3\4",
        "gzip": b"\x1f\x8b\x08",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'>",
        "xml": b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>",
        "html": b"<!DOCTYPE html><script>",
        "heic": b"\0\0\0\x18ftypheic",
        "avif": b"\0\0\0\x18ftypavif",
        "mp4": b"\0\0\0\x18ftypmp42",
        "elf": b"\x7fELF",
        "exe": b"MZ",
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "psd": b"8BPS\0\1",
        "ico": b"\0\0\1\0\1\0",
        "jpeg 2000": b"\0\0\0\x0cjP  \r\n\x87\n",
        "pickle": b"\x80\x04\x95",
        "wave": b"RIFF\x24\0\0\0WAVEfmt ",
        "avi": b"RIFF\x24\0\0\0AVI LIST",
        "jpeg magic alone": JPEG_MAGIC,
        "png magic alone": PNG_MAGIC,
        "webp magic alone": b"RIFF\x04\0\0\0WEBP",
        "jpeg without its first byte": b"\xd8\xff\xe0",
        "png with other line ends": b"\x89PNG\n\x1a\n",
        "a mark before a jpeg": b"\xef\xbb\xbf\xff\xd8\xff",
    }
    noise = np.random.default_rng(2).bytes(2000)
    for name, beginning in beginnings.items():
        yield Malformed("other magic", name, beginning, True)
        yield Malformed("other magic", f"{name}, then noise", beginning + noise, True)


# --- Lies ------------------------------------------------------------------------------------------------------------


def _lying_headers(sound: dict[str, bytes]) -> Iterator[Malformed]:
    png, jpeg, webp = sound["png"], sound["jpeg"], sound["webp-alpha"]
    sizes = ((0, 0), (0, 64), (64, 0), (1, 1), (63, 64), (64, 65), (7000, 9000), (2**31 - 1, 1), (2**32 - 1, 2**32 - 1))
    for width, height in sizes:
        certain = min(width, height) == 0 or width * height > 64_000_000
        for sound_sum in (True, False):
            header = _chunk(b"IHDR", struct.pack("!II5B", width, height, 8, 2, 0, 0, 0), sound_sum)
            name = f"png says {width} x {height}, {'right' if sound_sum else 'wrong'} sum"
            yield Malformed("lying header", name, PNG_MAGIC + header + png[33:], certain or not sound_sum)
    for depth, colour in ((0, 2), (3, 2), (16, 3), (1, 6), (8, 1), (8, 5), (255, 255)):
        header = _chunk(b"IHDR", struct.pack("!II5B", SIDE, SIDE, depth, colour, 0, 0, 0))
        yield Malformed("lying header", f"png of depth {depth}, colours {colour}", PNG_MAGIC + header + png[33:], True)
    for length in (0, 1, 2**31 - 1, 2**32 - 1):
        data = png[:33] + struct.pack("!I", length) + png[37:]
        yield Malformed("lying header", f"png chunk of {length} bytes", data)
    frame = jpeg.index(b"\xff\xc0")
    for width, height in ((0, 0), (0, 64), (1, 1), (64, 65000), (8000, 7000), (65535, 65535), (65500, 978)):
        data = jpeg[: frame + 5] + struct.pack("!HH", height, width) + jpeg[frame + 9 :]
        yield Malformed("lying header", f"jpeg says {width} x {height}", data, width * height > 64_000_000)
    for components in (0, 2, 5, 255):
        data = jpeg[: frame + 9] + bytes([components]) + jpeg[frame + 10 :]
        yield Malformed("lying header", f"jpeg of {components} colours", data, True)
    for length in (0, 1, 2, 65535):
        data = jpeg[: frame + 2] + struct.pack("!H", length) + jpeg[frame + 4 :]
        yield Malformed("lying header", f"jpeg segment of {length} bytes", data)
    for size in (0, 4, 2**31, 2**32 - 1):
        yield Malformed("lying header", f"webp of {size} bytes", webp[:4] + struct.pack("<I", size) + webp[8:])
    for canvas in (b"\0\0\0\0\0\0", b"\xff\xff\xff\xff\xff\xff", b"\x3e\0\0\x3f\0\0", b"\xff\x3f\0\xff\x3f\0"):
        yield Malformed("lying header", f"webp of canvas {canvas.hex()}", webp[:24] + canvas + webp[30:])


def _chunk(kind: bytes, data: bytes, sound_sum: bool = True) -> bytes:
    check = zlib.crc32(kind + data) ^ (0 if sound_sum else 1)
    return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", check)


def _png(width: int, height: int, pixels: bytes, *others: bytes) -> bytes:
    header = _chunk(b"IHDR", struct.pack("!II5B", width, height, 8, 0, 0, 0, 0))
    return PNG_MAGIC + header + b"".join(others) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


# --- Bombs -----------------------------------------------------------------------------------------------------------


def _bombs() -> Iterator[Malformed]:
    zeros = zlib.compress(bytes(50_000_000), 9)
    flat = zlib.compress(bytes(SIDE * (SIDE + 1)))
    for width, height in ((20_000, 20_000), (100_000, 100_000), (1, 50_000_000), (50_000_000, 1), (6_000, 6_000)):
        certain = width * height > 64_000_000 or (width, height) == (1, 50_000_000)
        yield Malformed("bomb", f"png of zeros, {width} x {height}", _png(width, height, zeros), certain)
    yield Malformed("bomb", "png with more pixels than it says", _png(SIDE, SIDE, zeros))
    for kind, before in ((b"zTXt", b"comment\0\0"), (b"iTXt", b"comment\0\1\0\0\0"), (b"iCCP", b"profile\0\0")):
        for times in (1, 20):
            texts = [_chunk(kind, before + zeros)] * times
            yield Malformed("bomb", f"png with {times} {kind.decode()} of zeros", _png(SIDE, SIDE, flat, *texts))
    info = PngImagePlugin.PngInfo()
    for number in range(2000):
        info.add_text(f"key {number}", "x" * 100)
    yield Malformed("bomb", "png with 2,000 texts", _file(Image.new("L", (SIDE, SIDE)), "PNG", pnginfo=info))
    yield Malformed("bomb", "png with 100,000 chunks", _png(SIDE, SIDE, flat, *[_chunk(b"teSt", b"")] * 100_000))
    nested = zlib.compress(zlib.compress(zeros))
    yield Malformed("bomb", "png of compressed zeros, compressed", _png(SIDE, SIDE, nested), True)
    for scans in (200, 5_000, 100_000):
        yield Malformed("bomb", f"jpeg of {scans} scans", scan_bomb(scans))
    canvas = Image.new("RGB", (2500, 2500))
    frames = [Image.new("RGB", (2500, 2500), (number, 0, 0)) for number in range(3)]
    yield Malformed(
        "bomb", "webp of large frames", _file(canvas, "WEBP", save_all=True, append_images=frames, method=0)
    )
    comments = b"".join(b"\xff\xfe\xff\xff" + bytes(65533) for _ in range(100))
    plain = _file(Image.new("L", (SIDE, SIDE)), "JPEG")
    yield Malformed("bomb", "jpeg with 6 MB of comments", plain[:2] + comments + plain[2:])


def scan_bomb(scans: int = 100_000, side: int = 3000) -> bytes:
    """A progressive JPEG of one grey whose last scan comes so many times; each goes over all pixels again.

    A few kilobytes for a moment's work are common; here a few megabytes are minutes.
    """
    plain = _file(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    start = plain.rindex(b"\xff\xda")
    return plain[:start] + plain[start:-2] * scans + plain[-2:]


# --- Two things at once, and too much of one -------------------------------------------------------------------------


def _polyglots(sound: dict[str, bytes]) -> Iterator[Malformed]:
    page = b"<html><script>alert(1)</script></html>"
    archive = b"PK\3\4" + bytes(26) + b"PK\5\6" + bytes(18)
    for name, data in sound.items():
        yield Malformed("polyglot", f"{name}, then a page", data + page)
        yield Malformed("polyglot", f"{name}, then an archive", data + archive)
        yield Malformed("polyglot", f"{name} twice", data + data)
        yield Malformed("polyglot", f"a GIF's magic, then {name}", b"GIF89a/*" + data, True)
        yield Malformed("polyglot", f"a page, then {name}", page + data, True)
        yield Malformed("polyglot", f"a PDF's magic, then {name}", b"%PDF-1.4\n" + data, True)
    jpeg = sound["jpeg"]
    for what in (page, archive, b"<?php system($_GET['c']);?>", b"%PDF-1.7\n1 0 obj", b"\0" * 100):
        comment = b"\xff\xfe" + struct.pack("!H", len(what) + 2) + what
        yield Malformed("polyglot", f"a jpeg whose comment begins {what[:8]!r}", jpeg[:2] + comment + jpeg[2:])


def _too_large() -> Iterator[Malformed]:
    for width, height in ((8001, 8000), (64_000_001, 1), (1, 64_000_001), (2**16, 2**16), (2**31 - 1, 2**31 - 1)):
        pixels = zlib.compress(bytes(1000))
        yield Malformed("too large", f"png of {width} x {height}", _png(width, height, pixels), True)
    small = _file(Image.new("L", (SIDE, SIDE)), "JPEG")
    frame = small.index(b"\xff\xc0")
    for width, height in ((8001, 8000), (65500, 978), (978, 65500), (65500, 65500)):
        data = small[: frame + 5] + struct.pack("!HH", height, width) + small[frame + 9 :]
        yield Malformed("too large", f"jpeg of {width} x {height}", data, True)
    for width, height in ((8001, 8000), (16383, 16383), (16383, 3907)):
        size = (width | height << 14).to_bytes(4, "little")  # a VP8L header: 14 bits each, less one
        image = b"VP8L" + struct.pack("<I", 12) + b"\x2f" + size + bytes(7)
        data = b"RIFF" + struct.pack("<I", 4 + len(image)) + b"WEBP" + image
        yield Malformed("too large", f"webp of {width} x {height}", data, True)
    for width, height in ((8000, 8000), (16000, 4000)):
        picture = zlib.compress(bytes(height * (width + 1)), 1)
        yield Malformed("too large", f"png of {width} x {height}, which is just allowed", _png(width, height, picture))
    yield Malformed(
        "too large", "png of 8100 x 8100, whole", _png(8100, 8100, zlib.compress(bytes(8100 * 8101), 1)), True
    )
