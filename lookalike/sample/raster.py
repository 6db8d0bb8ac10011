"""Which triangle is nearest at each pixel: a depth buffer in numpy, without a loop over triangles or pixels.

Every triangle is cut into one span for each row of pixels it crosses, every span into its pixels; then the nearest
pixel wins at each place.
"""

from dataclasses import dataclass

import numpy as np

from lookalike.sample.arrays import Floats, Ints


@dataclass(frozen=True)
class Fragments:
    """The visible pixels: place [n] in the flattened picture, triangle [n], barycentric shares b and c [n] of the
    triangle's second and third corner, distance [n]."""

    place: Ints
    triangle: Ints
    b: Floats
    c: Floats
    away: Floats


def rasterise(
    pixels: Floats, away: Floats, triangles: Ints, side: int, *, lift: Floats | None = None, both_sides: bool = False
) -> Fragments:
    """What a picture [side, side] shows of triangles [m, 3] over projected points.

    pixels [n, 2] (x right, y down) with distances `away` [n]. Triangles seen from their back are left out unless
    `both_sides`; `lift` [m] brings a triangle forward. Shares are affine over the picture: perspective within one
    small triangle is ignored.
    """
    corner = pixels[triangles]
    one, two = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    area = one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]
    # y runs down, so fronts have a negative area
    front = np.flatnonzero(np.abs(area) > 1e-6 if both_sides else area < -1e-6).astype(np.int32)
    corner, one, two = corner[front], one[front], two[front]
    span_triangle, row, left, width = _spans(corner, side)
    # pixels of all spans, one after the other
    count = int(width.sum())
    first = np.cumsum(width) - width
    span = np.repeat(np.arange(len(width), dtype=np.int32), width)
    x = np.arange(count, dtype=np.int32) - (first - left).astype(np.int32)[span]
    local = span_triangle[span]
    # b, c and depth grow linearly along a span: value = at the span's x = 0 + slope * x
    inverse = 1 / area[front]
    slope_b, slope_c = two[:, 1] * inverse, -one[:, 1] * inverse
    dx = 0.5 - corner[span_triangle, 0, 0]
    dy = row.astype(np.float32) + np.float32(0.5) - corner[span_triangle, 0, 1]
    start_b = slope_b[span_triangle] * dx - (two[:, 0] * inverse)[span_triangle] * dy
    start_c = slope_c[span_triangle] * dx + (one[:, 0] * inverse)[span_triangle] * dy
    depth = away[triangles[front]]
    base, by_b, by_c = depth[:, 0], depth[:, 1] - depth[:, 0], depth[:, 2] - depth[:, 0]
    start_depth = base[span_triangle] + start_b * by_b[span_triangle] + start_c * by_c[span_triangle]
    slope_depth = slope_b * by_b + slope_c * by_c
    far = start_depth[span] + slope_depth[local] * x.astype(np.float32)
    near = far if lift is None else far - lift[front][local]
    place = (row * side)[span] + x
    nearest = np.full(side * side, np.inf, np.float32)
    np.minimum.at(nearest, place, near)
    won = np.flatnonzero(near == nearest[place])
    x, span, local = x[won].astype(np.float32), span[won], local[won]
    return Fragments(
        place=place[won],
        triangle=front[local],
        b=start_b[span] + slope_b[local] * x,
        c=start_c[span] + slope_c[local] * x,
        away=far[won],
    )


def _spans(corner: Floats, side: int) -> tuple[Ints, Ints, Ints, Ints]:
    """Triangles [m, 3, 2] -> for every row of pixels that one crosses: triangle, row, first column, count of columns.

    A pixel belongs to a triangle when its centre does; on a shared edge, to exactly one of the two.
    """
    top = np.clip(np.ceil(corner[..., 1].min(axis=1) - 0.5), 0, side).astype(np.int32)
    bottom = np.clip(np.ceil(corner[..., 1].max(axis=1) - 0.5), 0, side).astype(np.int32)
    height = np.maximum(bottom - top, 0)
    triangle = np.repeat(np.arange(len(corner), dtype=np.int32), height)
    row = np.arange(len(triangle), dtype=np.int32) - np.repeat(
        (np.cumsum(height) - height - top).astype(np.int32), height
    )
    y = row.astype(np.float32) + np.float32(0.5)
    low, high = np.full(len(row), np.inf, np.float32), np.full(len(row), -np.inf, np.float32)
    for start, end in ((0, 1), (1, 2), (2, 0)):
        a, b = corner[:, start], corner[:, end]
        rise = b[:, 1] - a[:, 1]
        lean = (b[:, 0] - a[:, 0]) / np.where(rise == 0, np.float32(1), rise)
        a_above, b_above = a[triangle, 1] <= y, b[triangle, 1] <= y
        x = a[triangle, 0] + (y - a[triangle, 1]) * lean[triangle]
        crossed = a_above != b_above
        low = np.where(crossed, np.minimum(low, x), low)
        high = np.where(crossed, np.maximum(high, x), high)
    left = np.clip(np.ceil(low - 0.5), 0, side)
    right = np.clip(np.ceil(high - 0.5), 0, side)
    wide = np.maximum(right - left, 0).astype(np.int32)
    kept = np.flatnonzero(wide)
    return triangle[kept], row[kept], left[kept].astype(np.int32), wide[kept]
