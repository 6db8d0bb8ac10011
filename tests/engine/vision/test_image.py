import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from engine.errors import BadImage
from engine.settings import settings
from engine.vision.image import check_header, crop, decode

# pytest makes every warning an error and so undoes what engine.vision.image says about Pillow's remarks on EXIF
pytestmark = pytest.mark.filterwarnings(r"ignore::UserWarning:PIL\.")

RED, BLUE = (220, 20, 30), (20, 30, 220)
TURNS = range(1, 9)


def scene(width: int = 60, height: int = 40) -> Image.Image:
    """A picture with no symmetry: two ramps and a dark corner."""
    down, across = np.mgrid[0:height, 0:width]
    pixels = np.stack([across * 255 // width, down * 255 // height, np.full_like(down, 90)], axis=-1)
    pixels[: height // 4, : width // 4] = 10
    return Image.fromarray(pixels.astype(np.uint8))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_without_pixels(width: int, height: int) -> bytes:
    """A PNG that claims this size and ends where its pixels should begin."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return start + struct.pack(">I", 1000) + b"IDAT"


def difference(first: Image.Image, second: Image.Image) -> float:
    """Mean difference in grey levels."""
    return float(np.abs(np.asarray(first, float) - np.asarray(second, float)).mean())


# --- what is accepted --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_the_three_kinds_decode_to_rgb(kind: str) -> None:
    options = {"PNG": {}, "WEBP": {"lossless": True}, "JPEG": {"quality": 95}}[kind]
    image = decode(saved(scene(), kind, **options), "scene")
    assert image.mode == "RGB"
    assert difference(image, scene()) <= (0 if kind != "JPEG" else 2)


def test_the_name_does_not_decide_the_kind() -> None:
    assert decode(saved(scene(), "PNG"), "photo.gif").size == (60, 40)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("turn", TURNS)
def test_every_exif_orientation_is_turned_upright(kind: str, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    data = saved(scene(), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    upright = ImageOps.exif_transpose(Image.open(BytesIO(data))).convert("RGB")
    assert difference(decode(data, "turned"), upright) == 0


def test_a_broken_exif_block_does_not_cost_the_photo() -> None:
    data = saved(scene(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff broken")
    assert decode(data, "photo").size == (60, 40)


def test_transparency_is_laid_on_white() -> None:
    half = Image.new("RGBA", (4, 4), (*RED, 0))
    half.putpixel((0, 0), (*RED, 255))
    half.putpixel((1, 0), (0, 0, 0, 128))
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True})):
        image = decode(saved(half, kind, **options), "half")
        assert [image.getpixel((x, 0)) for x in range(3)] == [RED, (127, 127, 127), (255, 255, 255)]


def test_a_palette_with_transparency_is_laid_on_white() -> None:
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([*RED, *BLUE])
    palette.putpixel((1, 0), 1)
    whole = decode(saved(palette, "PNG"), "whole")
    holes = decode(saved(palette, "PNG", transparency=0), "holes")
    shades = decode(saved(palette, "PNG", transparency=b"\x00\xff"), "shades")
    assert [whole.getpixel((x, 0)) for x in range(2)] == [RED, BLUE]
    for image in (holes, shades):
        assert [image.getpixel((x, 0)) for x in range(2)] == [(255, 255, 255), BLUE]


def test_grey_with_transparency_is_laid_on_white() -> None:
    grey = Image.new("LA", (2, 1), (80, 255))
    grey.putpixel((1, 0), (80, 0))
    image = decode(saved(grey, "PNG"), "grey")
    assert [image.getpixel((x, 0)) for x in range(2)] == [(80, 80, 80), (255, 255, 255)]


def test_sixteen_bit_grey_is_scaled_and_not_cut_off() -> None:
    deep = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    image = decode(saved(Image.fromarray(deep), "PNG"), "deep")
    assert [image.getpixel((x, 0))[0] for x in range(5)] == [0, 0, 1, 128, 255]


@pytest.mark.parametrize("mode", ["1", "L"])
def test_grey_and_black_and_white_become_rgb(mode: str) -> None:
    image = decode(saved(scene().convert(mode), "PNG"), "grey")
    assert difference(image, scene().convert(mode).convert("RGB")) == 0


def test_cmyk_jpeg_has_its_true_colours() -> None:
    image = decode(saved(Image.new("RGB", (16, 16), RED).convert("CMYK"), "JPEG", quality=98), "print")
    assert np.abs(np.array(image.getpixel((8, 8))) - RED).max() <= 4


def test_of_an_animation_the_first_picture_counts() -> None:
    frames = [Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), BLUE)]
    data = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert decode(data, "moving").getpixel((4, 4)) == RED


# --- reduced decoding --------------------------------------------------------------------------------------------


def test_a_large_jpeg_is_decoded_reduced_but_never_below_twice_what_is_asked() -> None:
    data = saved(scene(1600, 1200), "JPEG")
    assert decode(data, "large").size == (1600, 1200)
    assert decode(data, "large", min_side=224).size == (800, 600)
    assert decode(data, "large", min_side=600).size == (1600, 1200)
    assert decode(data, "large", min_side=10).size == (200, 150)


def test_a_reduced_photo_looks_like_the_whole_one() -> None:
    data = saved(scene(1600, 1200), "JPEG", quality=95)
    whole, reduced = (decode(data, "large", min_side=side).resize((224, 168)) for side in (None, 168))
    assert difference(whole, reduced) < 0.5


def test_small_photos_stay_as_they_are() -> None:
    data = saved(scene(), "JPEG")
    assert difference(decode(data, "small", min_side=224), decode(data, "small")) == 0


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"hello", "no picture"),
        (saved(scene(), "GIF"), "a GIF"),
        (saved(scene(), "TIFF"), "a TIFF"),
        (saved(scene(), "BMP"), "a BMP"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC"),
        (b"<!DOCTYPE html><html></html>", "a web page"),
        (b"\xff\xd8\xff", "damaged or truncated JPEG"),
        (b"\x89PNG\r\n\x1a\n", "damaged or truncated PNG"),
        (b"RIFF\x04\0\0\0WEBP", "damaged or truncated WEBP"),
    ],
)
def test_what_is_no_photo_is_refused_in_one_sentence(data: bytes, said: str) -> None:
    for refuse in (decode, check_header):
        with pytest.raises(BadImage) as refused:
            refuse(data, "shelf/photo.jpg")
        assert str(refused.value).startswith("shelf/photo.jpg")
        assert said in str(refused.value)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_truncated_file_is_refused_wherever_it_ends(kind: str) -> None:
    data = saved(scene(300, 200), kind)
    for share in (0.2, 0.4, 0.6, 0.9):
        with pytest.raises(BadImage, match="damaged or truncated"):
            decode(data[: int(len(data) * share)], "cut")


@given(
    kind=st.sampled_from(["JPEG", "PNG", "WEBP"]),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=12),
)
@hypothesis_settings(max_examples=150, deadline=None)
def test_a_damaged_file_is_a_picture_or_a_bad_image_and_nothing_else(
    kind: str, changes: list[tuple[float, int]]
) -> None:
    data = bytearray(saved(scene(), kind))
    for place, value in changes:
        data[int(place * len(data))] = value
    try:
        image = decode(bytes(data), "damaged", min_side=16)
    except BadImage as refused:
        assert str(refused).startswith("damaged")
    else:
        assert image.mode == "RGB"


@pytest.mark.parametrize("side", [8_001, 10_000, 20_000, 60_000])
def test_too_many_pixels_are_refused_before_decoding(side: int) -> None:
    # around Pillow's own two limits as well; there are no pixels in the file, so decoding would say "truncated"
    with pytest.raises(BadImage, match="pixels allowed"):
        decode(png_without_pixels(side, side), "huge")


def test_a_file_of_too_many_bytes_is_refused() -> None:
    data = saved(scene(), "PNG") + bytes(settings().max_photo_bytes)
    with pytest.raises(BadImage, match="bytes, more than"):
        decode(data, "heavy")


def test_as_many_pixels_as_allowed_are_not_refused_for_their_number() -> None:
    with pytest.raises(BadImage, match="truncated PNG"):
        decode(png_without_pixels(8_000, 8_000), "large")


# --- crop --------------------------------------------------------------------------------------------------------


def test_a_crop_has_the_pixels_inside_the_box() -> None:
    assert difference(crop(scene(), (0.5, 0.25, 1, 0.75)), scene().crop((30, 10, 60, 30))) == 0


@given(edges=st.tuples(*[st.floats(0, 1)] * 4), width=st.integers(1, 50), height=st.integers(1, 50))
def test_every_box_gives_at_least_a_pixel_inside_the_photo(
    edges: tuple[float, float, float, float], width: int, height: int
) -> None:
    left, right = sorted(edges[:2])
    top, bottom = sorted(edges[2:])
    if left == right or top == bottom:
        return
    cut = crop(Image.new("RGB", (width, height), RED), (left, top, right, bottom))
    assert 1 <= cut.width <= width
    assert 1 <= cut.height <= height
    assert cut.getextrema() == tuple((value, value) for value in RED)  # no black from beyond the edge


@pytest.mark.shared_data
def test_real_photos_decode() -> None:
    images = Path(__file__).parents[3].parent / "shared" / "data" / "grocery" / "images"
    if not images.is_dir():
        pytest.skip("needs ../shared/data/grocery beside the checkout")
    for path in sorted(images.rglob("*.jpg"))[::100]:
        with Image.open(path) as plain:
            assert difference(decode(path.read_bytes(), path.name), plain.convert("RGB")) == 0
