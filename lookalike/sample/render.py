"""Mesh + camera + light -> a picture of a product: a small rasteriser with per-pixel light.

Pillow paints triangle *numbers*, far ones first; numpy then interpolates normals and texture coordinates at every
covered pixel and computes the light there. So meshes stay coarse and curves still look round.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from lookalike.sample import patterns
from lookalike.sample.camera import Camera
from lookalike.sample.materials import MATERIALS
from lookalike.sample.mesh import Mesh, rotation
from lookalike.sample.palette import Finish, Rgb, linear

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


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
        way = np.float32(self.towards)
        return np.asarray(way / np.linalg.norm(way), dtype=np.float32)


CHUNK = 6144  # pixels computed at once: their arrays then stay in the processor's cache


def paint_numbers(pixels: Floats, away: Floats, mesh: Mesh, side: int) -> tuple[Ints, Ints]:
    """-> picture [side, side] of 1 + the position in `order`, 0 where nothing is; and `order`, triangles far first."""
    corner = pixels[mesh.triangles]
    one, two = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    facing = np.flatnonzero(one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0] < -1e-6)  # y runs down
    depth = away[mesh.triangles[facing]].mean(axis=1) - mesh.lift[facing]
    order = facing[np.argsort(-depth, kind="stable")].astype(np.int32)
    picture = Image.new("I", (side, side), 0)
    draw = ImageDraw.Draw(picture)
    for number, outline in enumerate(corner[order].reshape(-1, 6).tolist(), start=1):
        draw.polygon(outline, fill=number)
    return np.asarray(picture, dtype=np.int32), order


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
        turn = rotation("x", -float(np.degrees(np.arcsin(height)))) @ np.float32([[1, 0, 0], [0, 0, 1], [0, 1, 0]])
        turn = turn @ rotation("z", float(around))
        view = Camera(turn, (low + high) / 2, 8 * reach, 8 * side * 0.48, (side / 2, side / 2), side)
        pixels, away = view.project(mesh.points)
        numbers, order = paint_numbers(pixels, away, mesh, side)
        nearest = np.full(len(order) + 1, np.inf, np.float32)
        nearest[1:] = away[mesh.triangles[order]].max(axis=1)
        column = np.clip(pixels[:, 0], 0, side - 1).astype(int)
        row = np.clip(pixels[:, 1], 0, side - 1).astype(int)
        free = away - nearest[numbers[row, column]] < 0.03 * reach
        towards = mesh.normals @ -turn[2]
        weight = np.clip(towards + 0.15, 0, 1)
        seen += weight * free
        weights += weight
    return np.asarray(np.where(weights > 0, seen / np.maximum(weights, 1e-6), 0.5), dtype=np.float32)


class Skin:
    """Normals, uv and openness of a mesh as a camera sees it, to be read off at any covered pixel.

    On a triangle each of them is linear over the picture: value = corner 0 + b (corner 1 - 0) + c (corner 2 - 0), with
    b and c linear in the pixel's place. (Perspective bends that a little; triangles are small.)
    """

    def __init__(self, mesh: Mesh, openness: Floats, pixels: Floats, order: Ints) -> None:
        corner = pixels[mesh.triangles[order]]
        one, two = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
        area = (one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0])[:, None]
        slopes = np.concatenate([two[:, 1:], -two[:, :1], -one[:, 1:], one[:, :1]], axis=1) / area
        traits = np.concatenate([mesh.normals, mesh.uv, openness[:, None]], axis=1)[mesh.triangles[order]]
        base = traits[:, 0]
        steps = (traits[:, 1:] - base[:, None]).reshape(len(order), -1)
        self._table = np.concatenate([corner[:, 0], slopes, base, steps], axis=1).astype(np.float32)

    def at(self, numbers: Ints, x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
        """Triangles [n] and pixel centres -> unit normals [n, 3], uv [n, 2], openness [n, 1]."""
        row = self._table.take(numbers, axis=0)
        dx, dy = x - row[:, 0], y - row[:, 1]
        # pixels on an edge lie a little outside; slivers must not carry that far
        b = np.clip(row[:, 2] * dx + row[:, 3] * dy, -0.5, 1.5)[:, None]
        c = np.clip(row[:, 4] * dx + row[:, 5] * dy, -0.5, 1.5)[:, None]
        found = row[:, 6:12] + b * row[:, 12:18] + c * row[:, 18:24]
        normal = found[:, :3]
        normal /= np.sqrt(np.einsum("ij,ij->i", normal, normal) + np.float32(1e-9))[:, None]
        return normal, found[:, 3:5], found[:, 5:]


def albedo(finish: Finish, uv: Floats) -> Floats:
    """The light [n, 3] that a finish scatters at uv [n, 2]: colour, pattern and grain."""
    u, v = np.ascontiguousarray(uv[:, 0]), np.ascontiguousarray(uv[:, 1])
    base = np.broadcast_to(linear(finish.colour), (len(u), 3))
    if finish.pattern != "plain":
        share = patterns.draw(finish.pattern, u, v, finish.scale, finish.turn)[:, None]
        base = base + (linear(finish.second) - base) * share
    return np.asarray(base * MATERIALS[finish.material].grain(u, v)[:, None], dtype=np.float32)


def _surroundings(way: Floats, light: Light) -> Floats:
    """What a mirror sees in direction `way` [n, 3]: a bright window on the key's side, a wall, a darker floor."""
    up = way[:, 2]
    wall = np.float32(light.sky) * 0.75
    floor = np.float32(light.ground) * 0.45
    blend = np.clip(up * 4 + 0.5, 0, 1)[:, None]
    room = floor + (wall - floor) * blend
    aim = light.direction
    right = np.cross([0, 0, 1.0], aim)
    right = (right / max(float(np.linalg.norm(right)), 1e-6)).astype(np.float32)
    x, y, ahead = way @ right, way @ np.cross(aim, right).astype(np.float32), way @ aim
    inside = np.clip((0.42 - np.abs(x)) * 9, 0, 1) * np.clip((0.55 - np.abs(y)) * 9, 0, 1) * (ahead > 0)
    strip = np.clip((0.12 - np.abs(x + 0.86)) * 12, 0, 1) * np.clip((0.6 - np.abs(up)) * 6, 0, 1) * 0.7
    return np.asarray(room + (inside * 1.9 + strip)[:, None] * np.float32(light.key), dtype=np.float32)


def _lit(finish: Finish, normal: Floats, uv: Floats, openness: Floats, to_eye: Floats, light: Light) -> Floats:
    """One finish under the light: diffuse, highlight, reflection, fuzz, glow."""
    material = MATERIALS[finish.material]
    base = albedo(finish, uv)
    aim = light.direction
    up = normal[:, 2:] * 0.5 + 0.5
    openness = 0.25 + 0.75 * openness
    ambient = (np.float32(light.ground) + (np.float32(light.sky) - np.float32(light.ground)) * up) * openness
    facing = np.clip(normal @ aim, 0, 1)[:, None]
    key = np.float32(light.key) * (light.strength * facing * np.clip(openness * 1.5 - 0.35, 0, 1))
    result = base * material.diffuse * (ambient + key)
    cos = np.clip(normal @ to_eye, 0, 1)[:, None]
    if material.shine:
        half = (aim + to_eye) / np.linalg.norm(aim + to_eye)
        spot = np.clip(normal @ half, 0, 1)[:, None] ** material.gloss
        result += material.shine * light.strength * spot * np.float32(light.key) * openness
    if material.mirror:
        bounce = 2 * cos * normal - to_eye
        fresnel = material.mirror + (1 - material.mirror) * (1 - cos) ** 5 * 0.6
        tint = base if material.tinted else np.float32(1.0)
        result += _surroundings(bounce, light) * fresnel * tint * openness
    if material.fuzz:
        result += material.fuzz * (1 - cos) ** 3 * base * 3 * openness
    if finish.glow:
        result += finish.glow * base * np.float32([1.0, 0.85, 0.6])
    return np.asarray(result, dtype=np.float32)


def picture(mesh: Mesh, openness: Floats, finishes: tuple[Finish, ...], camera: Camera, light: Light) -> Image.Image:
    """An RGBA picture of the product, half the camera's side: twice the pixels are computed than are kept."""
    pixels, away = camera.project(mesh.points)
    numbers, order = paint_numbers(pixels, away, mesh, camera.side)
    skin = Skin(mesh, openness, pixels, order)
    places = np.flatnonzero(numbers)
    triangles = numbers.ravel()[places] - 1
    kinds = mesh.finish[order][triangles]
    canvas = np.zeros((camera.side * camera.side, 4), np.uint8)
    for kind in np.unique(mesh.finish):
        chosen = np.flatnonzero(kinds == kind)
        for start in range(0, len(chosen), CHUNK):
            some = chosen[start : start + CHUNK]
            place = places[some]
            x, y = np.float32(place % camera.side) + 0.5, np.float32(place // camera.side) + 0.5
            normal, uv, openly = skin.at(triangles[some], x, y)
            values = _lit(finishes[kind], normal, uv, openly, -camera.turn[2], light)
            canvas[place, :3] = _developed(values)
            canvas[place, 3] = 255
    full = Image.fromarray(canvas.reshape(camera.side, camera.side, 4), "RGBA")
    return full.resize((camera.side // 2, camera.side // 2), Image.Resampling.BOX)


def _developed(light: Floats) -> NDArray[np.uint8]:
    """Light -> sRGB bytes; bright parts roll off as they do on film."""
    film = np.sqrt(1 - np.exp(-1.35 * np.maximum(light, 0)))  # a power of 1/2 lies near 1/2.2 and is far faster
    return np.asarray(film * 255, dtype=np.uint8)


def shadow(mesh: Mesh, camera: Camera, light: Light, *, side: int, softness: float) -> Floats:
    """How much light the ground loses under the product, [side, side] in 0..1: a cast and a contact shadow.

    `softness` is the blur of the cast shadow in pixels of this picture.
    """
    aim = light.direction
    height = mesh.points[:, 2:]
    slope = aim[:2] / max(float(aim[2]), 0.35)
    scale = side / camera.side
    layers = []
    for strength, blur, lean in ((0.5, softness, 1.0), (0.45, softness * 0.45, 0.25)):
        ground = mesh.points.copy()
        ground[:, :2] -= slope * height * lean
        ground[:, 2] = 0
        pixels, _ = camera.project(ground)
        layer = Image.new("L", (side, side), 0)
        draw = ImageDraw.Draw(layer)
        low = height[mesh.triangles].min(axis=1)[:, 0]
        reach = np.inf if lean == 1.0 else 0.25 * float(height.max())
        corners = pixels[mesh.triangles[low < reach]] * scale
        for outline in corners.reshape(-1, 6).tolist():
            draw.polygon(outline, fill=255)
        blurred = layer.filter(ImageFilter.GaussianBlur(blur))
        layers.append(np.asarray(blurred, dtype=np.float32) / 255 * strength)
    return np.asarray(1 - (1 - layers[0]) * (1 - layers[1]), dtype=np.float32)
