"""A product in a setting -> a photo: camera, light, ground and wall, what is in the way, what the lens does."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageFilter

from lookalike.sample import occluders, render, scenery
from lookalike.sample.arrays import Floats, floats
from lookalike.sample.camera import Camera, frame
from lookalike.sample.family import Family, Model, Rng, between, pick
from lookalike.sample.palette import Rgb
from lookalike.sample.shading import Light

SIDE = 256  # pixels of a photo

# kind of photo -> floors and walls that go together
PLACES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "room": (("planks", "planks", "tiles", "cloth"), ("paint",)),
    "shelf": (("planks", "marble", "stone"), ("shelves",)),
    "street": (("stone", "stone", "grass"), ("street", "bricks")),
    "table": (("marble", "planks", "cloth"), ("paint", "shelves", "street")),
}
TINTS: dict[str, Rgb] = {
    "neutral": (1.0, 0.99, 0.97),
    "warm": (1.08, 0.97, 0.83),
    "cool": (0.9, 0.98, 1.09),
    "dim": (0.66, 0.63, 0.6),
    "bright": (1.18, 1.17, 1.14),
}


@dataclass(frozen=True)
class Setting:
    """How one photo is taken. Angles in degrees, blur and softness in pixels, shift in shares of the side."""

    kind: str
    yaw: float
    pitch: float
    roll: float
    fill: float
    shift: tuple[float, float]
    light: Light
    tint: Rgb
    floor: str
    wall: str
    variant: int
    occluder: str | None
    blur: float
    depth_blur: float
    noise: float
    quality: int


def studio(family: Family, rng: Rng, *, front: bool) -> Setting:
    """Near-white, soft light; `front`: the catalogue's own picture, from the usual side."""
    low, high = family.yaws
    yaw = low + (high - low) * between(rng, 0.18, 0.3) if front else between(rng, low, high)
    side = pick(rng, (-1.0, 1.0))
    return Setting(
        kind="studio",
        yaw=yaw,
        pitch=family.pitches[0] * 0.5 + family.pitches[1] * 0.3 + between(rng, 0, 5),
        roll=0.0,
        fill=between(rng, 0.74, 0.82),
        shift=(0.0, 0.0),
        light=Light(towards=(side * 0.5, -0.6, 1.0), strength=0.7),
        tint=(1.0, 1.0, 1.0),
        floor="",
        wall="",
        variant=0,
        occluder=None,
        blur=0.0,
        depth_blur=0.0,
        noise=0.6,
        quality=90,
    )


def snapshot(family: Family, rng: Rng) -> Setting:
    """Somewhere, somehow: what a shopper's photo may be like."""
    kind = pick(rng, list(PLACES))
    floors, walls = PLACES[kind]
    azimuth = between(rng, 0, 2 * np.pi)
    return Setting(
        kind=kind,
        yaw=between(rng, *family.yaws),
        pitch=between(rng, *family.pitches),
        roll=float(np.clip(rng.normal(0, 5), -14, 14)),
        fill=between(rng, 0.48, 0.86),
        shift=(float(rng.normal(0, 0.06)), float(rng.normal(0.02, 0.05))),
        light=Light(
            towards=(float(np.cos(azimuth)), -abs(float(np.sin(azimuth))) - 0.15, between(rng, 0.6, 1.6)),
            strength=between(rng, 0.45, 0.95),
        ),
        tint=TINTS[pick(rng, list(TINTS), [3, 2, 2, 1.5, 1.5])],
        floor=pick(rng, floors),
        wall=pick(rng, walls),
        variant=int(rng.integers(scenery.VARIANTS)),
        occluder=pick(rng, ["leaves", "fingers", "tag", "cloth"]) if rng.random() < 0.3 else None,
        blur=between(rng, 0.8, 1.8) if rng.random() < 0.2 else 0.0,
        depth_blur=between(rng, 0.6, 3.5),
        noise=between(rng, 1, 6),
        quality=int(rng.integers(78, 92)),
    )


def photograph(model: Model, openness: Floats, setting: Setting, rng: Rng) -> Image.Image:
    """An RGB photo [256, 256] of the model."""
    camera = frame(
        model.mesh,
        side=SIDE * 2 if setting.kind == "studio" else SIDE * 3 // 2,  # what is noisy and blurred needs fewer pixels
        yaw=setting.yaw,
        pitch=setting.pitch,
        roll=setting.roll,
        fill=setting.fill,
        shift=setting.shift,
    )
    light = _seen_from(setting.light, setting.yaw)
    product = render.picture(model, openness, camera, light, SIDE)
    lost = render.shadow(model.mesh, camera, light, side=SIDE, softness=between(rng, 4, 9))
    ground = (
        _sweep(rng) if setting.kind == "studio" else _place(setting, camera, float(np.ptp(model.mesh.points[:, 2])))
    )
    ground *= 1 - (0.42 if setting.kind == "studio" else 0.62) * lost[..., None]
    photo = Image.fromarray(np.clip(ground * 255, 0, 255).astype(np.uint8), "RGB")
    photo.paste(product, (0, 0), product)
    if setting.occluder:
        layer = occluders.draw(setting.occluder, SIDE, rng)
        photo.paste(layer, (0, 0), layer)
    if setting.blur:
        photo = photo.filter(ImageFilter.GaussianBlur(setting.blur))
    return _through_lens(photo, setting, rng)


def _seen_from(light: Light, yaw: float) -> Light:
    """The light goes with the camera: a direction given as the viewer sees it, in the world's axes."""
    x, y, z = light.towards
    cos, sin = np.cos(np.radians(-yaw)), np.sin(np.radians(-yaw))
    towards = (float(cos * x - sin * y), float(sin * x + cos * y), z)
    return Light(towards, light.key, light.sky, light.ground, light.strength)


def _sweep(rng: Rng) -> Floats:
    """A studio's paper sweep: near-white, a little darker towards the edges."""
    at = np.linspace(-1, 1, SIDE, dtype=np.float32)
    fall = 0.03 * (at[:, None] ** 2 + at[None, :] ** 2) - 0.012 * at[:, None]
    level = between(rng, 0.95, 0.985) - fall
    return np.repeat(level[..., None], 3, axis=2).astype(np.float32)


def _place(setting: Setting, camera: Camera, height: float) -> Floats:
    """Floor and wall as the camera sees them, [256, 256, 3] sRGB; the wall stands square to the view."""
    unit = max(height, 0.4 * camera.distance / 4)
    rays = camera.rays(SIDE)
    ahead = camera.turn[2] * floats([1, 1, 0])
    ahead /= max(float(np.linalg.norm(ahead)), 1e-6)
    right = floats([ahead[1], -ahead[0], 0])
    start = camera.eye - camera.target * floats([1, 1, 0])
    wall_at = 1.5 * unit
    forward = rays @ ahead
    to_floor = -start[2] / np.minimum(rays[..., 2], -1e-4)
    to_wall = (wall_at - float(start @ ahead)) / np.maximum(forward, 1e-4)
    is_floor = (rays[..., 2] < 0) & (to_floor < to_wall)
    reach = np.where(is_floor, to_floor, to_wall)
    across = float(start @ right) + (rays @ right) * reach
    away = float(start @ ahead) + forward * reach
    up = start[2] + rays[..., 2] * reach
    angle = setting.variant * 0.7
    cos, sin = np.cos(angle) / (2 * unit), np.sin(angle) / (2 * unit)
    floor = scenery.sample(
        scenery.tile(setting.floor, setting.variant), across * cos + away * sin, away * cos - across * sin
    )
    back = scenery.tile(setting.wall, setting.variant)
    wall = scenery.sample(back, across / (4 * unit) + 0.37 * setting.variant, -up / (4 * unit))
    sharp = np.where(is_floor[..., None], floor, wall)
    small = Image.fromarray(sharp, "RGB").reduce(2).filter(ImageFilter.GaussianBlur(setting.depth_blur / 2))
    soft = floats(small.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    near = floats(np.clip(1.1 - np.abs(away) / unit, 0, 1))[..., None]
    corner = floats(np.clip(1 - np.abs(away - wall_at) / (0.5 * unit), 0, 1) * is_floor)[..., None]
    return floats((soft + (sharp - soft) * near) * (1 - 0.25 * corner) / 255)


@cache
def _grain() -> Floats:
    """A sensor's noise [512, 512, 3] of deviation 1; photos cut their own window from it."""
    return np.random.default_rng(40).standard_normal((2 * SIDE, 2 * SIDE, 3), dtype=np.float32)


def _through_lens(photo: Image.Image, setting: Setting, rng: Rng) -> Image.Image:
    """Colour of the light, a darker rim, the sensor's noise."""
    pixels = floats(photo) * floats(setting.tint)
    if setting.kind != "studio":
        at = np.linspace(-1, 1, SIDE, dtype=np.float32)
        pixels *= (1.03 - 0.09 * (at[:, None] ** 2 + at[None, :] ** 2))[..., None]
    top, left = (int(at) for at in rng.integers(0, SIDE, 2))
    pixels += _grain()[top : top + SIDE, left : left + SIDE] * floats(setting.noise)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8), "RGB")
