"""Mesh + camera + light -> a picture of a product, its light computed pixel by pixel.

Normals and texture coordinates are interpolated within triangles, so meshes stay coarse and curves still look round.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from lookalike.sample import patterns
from lookalike.sample.arrays import Floats, Ints, floats
from lookalike.sample.camera import Camera, looking
from lookalike.sample.materials import MATERIALS
from lookalike.sample.mesh import Mesh
from lookalike.sample.palette import Finish, Rgb, linear
from lookalike.sample.raster import Fragments, rasterise


@dataclass(frozen=True)
class Light:
    """The key light's direction (towards it, in the world), colours of key, sky and ground bounce, and exposure."""

    towards: tuple[float, float, float] = (-0.5, -0.55, 0.75)
    key: Rgb = (1.0, 0.98, 0.95)
    sky: Rgb = (0.62, 0.65, 0.7)
    ground: Rgb = (0.42, 0.4, 0.38)
    strength: float = 0.75

    @property
    def direction(self) -> Floats:
        way = floats(self.towards)
        return floats(way / np.linalg.norm(way))


CHUNK = 6144  # pixels computed at once: their arrays then stay in the processor's cache


def occlusion(mesh: Mesh, *, directions: int = 14, side: int = 72) -> Floats:
    """How open each point is to the sky, [n] in 0..1: the share of directions from which it is seen.

    Each direction paints a small depth picture; a point counts as seen when nothing lies clearly before it. The
    directions cover the sphere evenly (Fibonacci lattice), those from below weigh little: the ground is there.
    """
    low, high = mesh.points.min(axis=0), mesh.points.max(axis=0)
    reach = float(np.linalg.norm(high - low)) / 2
    seen = np.zeros(len(mesh.points), np.float32)
    weights = np.zeros(len(mesh.points), np.float32)
    for number in range(directions):
        height = 1 - (2 * number + 1) / directions * 0.75
        around = np.degrees(np.pi * (1 + 5**0.5) * number)
        turn = looking(float(around), float(np.degrees(np.arcsin(height))))
        view = Camera(turn, floats((low + high) / 2), 8 * reach, 8 * side * 0.48, (side / 2, side / 2), side)
        pixels, away = view.project(mesh.points)
        shown = rasterise(pixels, away, mesh.triangles, side)
        nearest = np.full(side * side, np.inf, np.float32)
        nearest[shown.place] = shown.away
        column = np.clip(pixels[:, 0], 0, side - 1).astype(int)
        row = np.clip(pixels[:, 1], 0, side - 1).astype(int)
        free = away - nearest[row * side + column] < 0.05 * reach
        towards = mesh.normals @ -turn[2]
        weight = np.clip(towards + 0.15, 0, 1)
        seen += weight * free
        weights += weight
    return floats(np.where(weights > 0, seen / np.maximum(weights, 1e-6), 0.5))


def albedo(finish: Finish, uv: Floats) -> Floats:
    """The light [n, 3] that a finish scatters at uv [n, 2]: colour, pattern and grain."""
    u, v = np.ascontiguousarray(uv[:, 0]), np.ascontiguousarray(uv[:, 1])
    base = np.broadcast_to(linear(finish.colour), (len(u), 3))
    if finish.pattern != "plain":
        share = patterns.draw(finish.pattern, u, v, finish.scale, finish.turn)[:, None]
        base = base + (linear(finish.second) - base) * share
    return floats(base * MATERIALS[finish.material].grain(u, v)[:, None])


def _surroundings(way: Floats, light: Light) -> Floats:
    """What a mirror sees in direction `way` [n, 3]: a bright window on the key's side, a wall, a darker floor."""
    up = way[:, 2]
    wall = floats(light.sky) * 0.75
    floor = floats(light.ground) * 0.45
    blend = np.clip(up * 4 + 0.5, 0, 1)[:, None]
    room = floor + (wall - floor) * blend
    aim = light.direction
    right = np.cross([0, 0, 1.0], aim)
    right = (right / max(float(np.linalg.norm(right)), 1e-6)).astype(np.float32)
    x, y, ahead = way @ right, way @ np.cross(aim, right).astype(np.float32), way @ aim
    inside = np.clip((0.42 - np.abs(x)) * 9, 0, 1) * np.clip((0.55 - np.abs(y)) * 9, 0, 1) * (ahead > 0)
    strip = np.clip((0.12 - np.abs(x + 0.86)) * 12, 0, 1) * np.clip((0.6 - np.abs(up)) * 6, 0, 1) * 0.7
    return floats(room + (inside * 1.9 + strip)[:, None] * floats(light.key))


@dataclass(frozen=True)
class Spots:
    """Points of a surface: unit normal [n, 3], uv [n, 2], openness to the sky [n, 1], and the way to the eye [3]."""

    normal: Floats
    uv: Floats
    openness: Floats
    to_eye: Floats


def _lit(finish: Finish, spots: Spots, light: Light) -> Floats:
    """One finish under the light [n, 3]: diffuse, highlight (Blinn-Phong), reflection (Schlick), fuzz, glow."""
    material = MATERIALS[finish.material]
    normal, to_eye, aim = spots.normal, spots.to_eye, light.direction
    base = albedo(finish, spots.uv)
    up = normal[:, 2:] * 0.5 + 0.5
    openness = 0.25 + 0.75 * spots.openness
    ambient = (floats(light.ground) + (floats(light.sky) - floats(light.ground)) * up) * openness
    facing = np.clip(normal @ aim, 0, 1)[:, None]
    key = floats(light.key) * (light.strength * facing * np.clip(openness * 1.5 - 0.35, 0, 1))
    result = base * material.diffuse * (ambient + key)
    cos = np.clip(normal @ to_eye, 0, 1)[:, None]
    if material.shine:
        half = (aim + to_eye) / np.linalg.norm(aim + to_eye)
        spot = np.clip(normal @ half, 0, 1)[:, None] ** material.gloss
        result += material.shine * light.strength * spot * floats(light.key) * openness
    if material.mirror:
        bounce = 2 * cos * normal - to_eye
        fresnel = material.mirror + (1 - material.mirror) * (1 - cos) ** 5 * 0.6
        tint = base if material.tinted else np.float32(1.0)
        result += _surroundings(bounce, light) * fresnel * tint * openness
    if material.fuzz:
        result += material.fuzz * (1 - cos) ** 3 * base * 3 * openness
    if finish.glow:
        result += finish.glow * base * floats([1.0, 0.85, 0.6])
    return floats(result)


def picture(mesh: Mesh, openness: Floats, finishes: tuple[Finish, ...], camera: Camera, light: Light) -> Image.Image:
    """An RGBA picture of the product, half the camera's side: twice the pixels are computed than are kept."""
    pixels, away = camera.project(mesh.points)
    seen = rasterise(pixels, away, mesh.triangles, camera.side, lift=mesh.lift)
    traits = np.concatenate([mesh.normals, mesh.uv, openness[:, None]], axis=1)[mesh.triangles]
    steps = (traits[:, 1:] - traits[:, :1]).reshape(len(traits), -1)
    table = np.concatenate([traits[:, 0], steps], axis=1)
    kinds = _finish_of(seen, mesh)
    canvas = np.zeros(camera.side * camera.side, np.uint32)
    for kind in np.unique(kinds):
        chosen = np.flatnonzero(kinds == kind)
        for start in range(0, len(chosen), CHUNK):
            some = chosen[start : start + CHUNK]
            row = table.take(seen.triangle[some], axis=0)
            found = row[:, :6] + seen.b[some, None] * row[:, 6:12] + seen.c[some, None] * row[:, 12:]
            normal = (
                found[:, :3] / np.sqrt(np.einsum("ij,ij->i", found[:, :3], found[:, :3]) + np.float32(1e-9))[:, None]
            )
            spots = Spots(normal, found[:, 3:5], found[:, 5:], -camera.turn[2])
            canvas[seen.place[some]] = _developed(_lit(finishes[kind], spots, light))
    full = Image.fromarray(canvas.view(np.uint8).reshape(camera.side, camera.side, 4), "RGBA")
    return full.resize((camera.side // 2, camera.side // 2), Image.Resampling.BOX)


def _finish_of(seen: Fragments, mesh: Mesh) -> Ints:
    """The finish of every visible pixel: the triangle's, or its inlay's where that is above zero."""
    depth = mesh.inlay[mesh.triangles[seen.triangle]]
    depth = depth[:, 0] + seen.b * (depth[:, 1] - depth[:, 0]) + seen.c * (depth[:, 2] - depth[:, 0])
    return np.where(depth > 0, mesh.inlaid[seen.triangle], mesh.finish[seen.triangle])


def _developed(light: Floats) -> NDArray[np.uint32]:
    """Light [n, 3] -> opaque RGBA pixels [n] of four bytes; bright parts roll off as they do on film."""
    film = np.sqrt(1 - np.exp(-1.35 * np.maximum(light, 0)))  # a power of 1/2 lies near 1/2.2 and is far faster
    pixels = np.full((len(light), 4), 255, np.uint8)
    pixels[:, :3] = film * 255
    return pixels.view(np.uint32).ravel()


def shadow(mesh: Mesh, camera: Camera, light: Light, *, side: int, softness: float) -> Floats:
    """How much light the ground loses under the product, [side, side] in 0..1: a cast and a contact shadow.

    `softness` is the blur of the cast shadow in pixels of this picture. Shadows are soft: half the side is drawn.
    """
    aim = light.direction
    height = mesh.points[:, 2:]
    slope = aim[:2] / max(float(aim[2]), 0.35)
    half = side // 2
    low = height[mesh.triangles].min(axis=1)[:, 0]
    kept = np.ones((half, half), np.float32)
    for strength, blur, lean, reach in ((0.5, 0.5, 1.0, np.inf), (0.45, 0.22, 0.25, 0.25 * float(height.max()))):
        ground = np.concatenate([mesh.points[:, :2] - slope * height * lean, np.zeros_like(height)], axis=1)
        pixels, away = camera.project(ground)
        dark = rasterise(pixels * (half / camera.side), away, mesh.triangles[low < reach], half, both_sides=True)
        layer = np.zeros(half * half, np.uint8)
        layer[dark.place] = 255
        soft = Image.fromarray(layer.reshape(half, half)).filter(ImageFilter.GaussianBlur(softness * blur))
        kept *= 1 - strength / 255 * floats(soft)
    lost = Image.fromarray(1 - kept).resize((side, side), Image.Resampling.BILINEAR)
    return floats(lost)
