import json
import math
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from engine.errors import BadImage
from engine.vision.preprocess import Floats, Interpolation, Preprocess, load

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZES = [(640, 480), (480, 640), (300, 300), (257, 991), (100, 33), (224, 224), (225, 224), (901, 256)]


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth noise: every frequency a photo has, and no symmetry."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (max(2, height // 7), max(2, width // 7), 3), dtype=np.uint8))
    grain = rng.normal(0, 12, (height, width, 3))
    pixels = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)) + grain
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def grey_levels(values: Floats, preprocess: Preprocess) -> Floats:
    """Back from normalised values to [0, 255]."""
    mean, std = (np.array(part, np.float32)[:, None, None] for part in (preprocess.mean, preprocess.std))
    return (values * std + mean) * 255


def weights(reach: int, to: float, scale: float) -> np.ndarray:
    """Bicubic weights (a = -0.5) of the source pixels 0..reach-1 for the output pixel centred at `to`."""
    support = max(scale, 1.0)
    x = np.abs((np.arange(reach) + 0.5 - to) / support)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    raw = np.where(x < 1, near, np.where(x < 2, far, 0))
    return raw / raw.sum()


def slow_preprocess(image: Image.Image, preprocess: Preprocess) -> np.ndarray:
    """The definition, in float64 and as matrix products: antialiased bicubic, one axis after the other."""
    width, height = image.size
    short = math.floor(preprocess.size / preprocess.crop_fraction)
    new_width = short if width <= height else int(short * width / height)
    new_height = short if height <= width else int(short * height / width)
    pixels = np.asarray(image, np.float64)
    for axis, old, new in ((1, width, new_width), (0, height, new_height)):
        matrix = np.stack([weights(old, (place + 0.5) * old / new, old / new) for place in range(new)])
        pixels = np.moveaxis(np.tensordot(matrix, pixels, (1, axis)), 0, axis)
        pixels = pixels.round().clip(0, 255)
    top, left = round((new_height - preprocess.size) / 2), round((new_width - preprocess.size) / 2)
    square = pixels[top : top + preprocess.size, left : left + preprocess.size] / 255
    return ((square - preprocess.mean) / preprocess.std).transpose(2, 0, 1)


def jpeg(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "JPEG", quality=95)
    return file.getvalue()


def plainly_decoded(data: bytes) -> Image.Image:
    with Image.open(BytesIO(data)) as image:
        return image.convert("RGB")


@pytest.mark.parametrize("fraction", [1.0, 0.875])
@pytest.mark.parametrize("size", SIZES)
def test_it_is_its_definition_to_within_a_grey_level(size: tuple[int, int], fraction: float) -> None:
    preprocess = Preprocess(64, MEAN, STD, crop_fraction=fraction)
    image = noise(*size)
    found = grey_levels(preprocess(image), preprocess)
    expected = grey_levels(slow_preprocess(image, preprocess).astype(np.float32), preprocess)
    assert np.abs(found - expected).max() <= 1.01


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("fraction", [1.0, 0.875])
def test_it_is_what_timm_evaluates_with(interpolation: Interpolation, fraction: float) -> None:
    try:
        from trainer.torchvision_shim import timm
    except ModuleNotFoundError as missing:
        pytest.skip(f"needs the [train] extra ({missing.name} is not installed)")
    transform = timm.data.create_transform(
        224, is_training=False, mean=MEAN, std=STD, crop_pct=fraction, interpolation=interpolation
    )
    preprocess = Preprocess(224, MEAN, STD, interpolation, fraction)
    for size in SIZES:
        image = noise(*size)
        found, expected = (grey_levels(values, preprocess) for values in (preprocess(image), transform(image).numpy()))
        assert np.abs(found - expected).max() <= 0.01


@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    size=st.integers(1, 40),
    fraction=st.floats(0.3, 1),
)
@hypothesis_settings(max_examples=100, deadline=None)
def test_any_picture_fills_the_square(width: int, height: int, size: int, fraction: float) -> None:
    preprocess = Preprocess(size, (0, 0, 0), (1, 1, 1), crop_fraction=fraction)
    found = preprocess(Image.new("RGB", (width, height), (255, 255, 255)))
    assert found.shape == (3, size, size)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    assert np.all(found == 1)  # nothing black from beyond the picture


@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1), (3, 20_000)])
def test_a_line_of_pixels_does_not_become_gigabytes(size: tuple[int, int]) -> None:
    assert Preprocess(224, MEAN, STD)(Image.new("RGB", size)).shape == (3, 224, 224)


def test_of_a_panorama_the_middle_counts() -> None:
    preprocess = Preprocess(32, (0, 0, 0), (1, 1, 1))
    image = noise(1000, 50)
    expected = preprocess(image.crop((450, 0, 550, 50)))
    assert np.abs(preprocess(image) - expected)[:, :, 4:-4].max() < 0.02


def test_it_survives_json() -> None:
    preprocess = Preprocess(192, MEAN, STD, "bilinear", 0.95)
    assert Preprocess.from_dict(json.loads(json.dumps(preprocess.to_dict()))) == preprocess


@pytest.mark.parametrize(
    "wrong",
    [{"size": 0}, {"crop_fraction": 0}, {"crop_fraction": 1.5}, {"std": (1, 0, 1)}, {"interpolation": "nearest"}],
)
def test_values_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Preprocess.from_dict({**Preprocess(8, MEAN, STD).to_dict(), **wrong})


def test_a_file_loads_as_its_picture_does() -> None:
    preprocess = Preprocess(64, MEAN, STD)
    data = jpeg(noise(640, 480))
    expected = grey_levels(preprocess(plainly_decoded(data)), preprocess)
    found = grey_levels(load(data, "photo", preprocess), preprocess)
    assert np.abs(found - expected).mean() < 2  # decoded at half its size, on purpose, and it is noise


def test_a_box_loads_only_its_part() -> None:
    preprocess = Preprocess(64, MEAN, STD)
    data = jpeg(noise(640, 480))
    expected = grey_levels(preprocess(plainly_decoded(data).crop((320, 120, 640, 360))), preprocess)
    found = grey_levels(load(data, "photo", preprocess, (0.5, 0.25, 1, 0.75)), preprocess)
    assert np.abs(found - expected).mean() < 2


def test_a_small_box_of_a_large_photo_keeps_its_detail() -> None:
    preprocess = Preprocess(64, MEAN, STD)
    data = jpeg(noise(1000, 1000))
    expected = preprocess(plainly_decoded(data).crop((0, 0, 100, 100)))
    assert np.array_equal(load(data, "photo", preprocess, (0, 0, 0.1, 0.1)), expected)


def test_what_is_no_photo_is_refused_by_name() -> None:
    with pytest.raises(BadImage, match=r"^shelf\.jpg"):
        load(b"nothing", "shelf.jpg", Preprocess(8, MEAN, STD))
