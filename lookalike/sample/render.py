"""Mesh + camera + light -> a picture of a product, its light computed pixel by pixel.

Normals and texture coordinates are interpolated within triangles, so meshes stay coarse and curves still look round.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from lookalike.sample.arrays import Floats, Ints, floats
from lookalike.sample.camera import Camera, looking
from lookalike.sample.family import Model
from lookalike.sample.mesh import Mesh
from lookalike.sample.raster import Fragments, rasterise
from lookalike.sample.shading import Light, Shading, Spots

CHUNK = 6144  # pixels computed at once: their arrays then stay in the processor's cache


def occlusion(mesh: Mesh, *, directions: int = 11, side: int = 60) -> Floats:
    """How open each point is to the sky, [n] in 0..1: the share of directions from which it is seen.

    Each direction paints a small depth picture; a point counts as seen when nothing lies clearly before it. The
    directions are spread evenly (a Fibonacci lattice) from the zenith to a little below the horizon: deeper lies the
    ground.
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


def picture(model: Model, openness: Floats, camera: Camera, light: Light, side: int) -> Image.Image:
    """An RGBA picture [side, side] of the product, reduced from the camera's larger one: that smooths its edges.

    `openness` [n] is what `occlusion` says about the model's points.
    """
    mesh = model.mesh
    pixels, away = camera.project(mesh.points)
    seen = rasterise(pixels, away, mesh.triangles, camera.side, lift=mesh.lift)
    traits = np.concatenate([mesh.normals, mesh.uv, openness[:, None]], axis=1)
    shading = Shading(light, -camera.turn[2])
    kinds = _finish_of(seen, mesh)
    canvas = np.zeros(camera.side * camera.side, np.uint32)
    for kind in np.unique(kinds):
        chosen = np.flatnonzero(kinds == kind)
        for start in range(0, len(chosen), CHUNK):
            some = chosen[start : start + CHUNK]
            spots = _spots(traits, mesh.triangles[seen.triangle[some]], seen.b[some], seen.c[some])
            canvas[seen.place[some]] = _developed(shading.lit(model.finishes[kind], spots))
    full = Image.fromarray(canvas.view(np.uint8).reshape(camera.side, camera.side, 4), "RGBA")
    return full.resize((side, side), Image.Resampling.BOX)


def _spots(traits: Floats, corners: Ints, b: Floats, c: Floats) -> Spots:
    """Traits [points, 6] (normal, uv, openness) between the corners [n, 3] of the triangles seen."""
    first, second, third = (traits.take(corners[:, number], axis=0) for number in range(3))
    found = first * (1 - b - c)[:, None] + second * b[:, None] + third * c[:, None]
    columns = np.ascontiguousarray(found.T)
    normal = columns[:3]
    normal /= np.sqrt(np.einsum("ij,ij->j", normal, normal) + np.float32(1e-9))
    return Spots(normal, columns[3], columns[4], columns[5])


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
