"""Curves as SVG: small, sharp at any size, with the numbers under the pointer, and nothing to load."""

import math
from collections.abc import Mapping, Sequence
from html import escape

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 420, 230  # of the viewBox
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 12, 26  # margins


def ticks(high: float, count: int = 4) -> list[float]:
    """Round numbers from 0 to at least `high`, `count` or a few more of them."""
    if not high > 0:
        return [0.0, 1.0]
    power = 10 ** math.floor(math.log10(high / count))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor * count >= high)
    return [round(number * step, 12) for number in range(math.ceil(high / step - 1e-9) + 1)]


def line_chart(curves: Mapping[str, Points], *, top: float | None = None) -> str:
    """An SVG element: each curve in `.curve-0`, `.curve-1` … over epochs from 1.

    The vertical axis goes from 0 to `top`, or to what the curves need. A curve of one point is a dot.
    """
    values = [y for points in curves.values() for _, y in points]
    last = max((x for points in curves.values() for x, _ in points), default=1.0)
    marks = ticks(top if top is not None else max(values, default=1.0))
    high = marks[-1]

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - 1) / (last - 1) if last > 1 else 0.5
        up = min(max(y / high, 0.0), 1.0)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">']
    for mark in marks:
        _, y = place(1, mark)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="axis" x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{mark:g}</text>')
    for middle in sorted({1, round((1 + last) / 2), round(last)}):
        x, _ = place(middle, 0)
        parts.append(f'<text class="axis" x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{middle}</text>')
    for number, (name, points) in enumerate(curves.items()):
        parts.append(f'<g class="curve curve-{number}">')
        where = [place(x, y) for x, y in points]
        parts.append('<polyline points="' + " ".join(f"{x:.1f},{y:.1f}" for x, y in where) + '"/>')
        for (epoch, value), (x, y) in zip(points, where, strict=True):
            told = escape(f"{name}, epoch {epoch:g}: {value:.4g}")
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6"><title>{told}</title></circle>')
        parts.append("</g>")
    parts.append("</svg>")
    return "".join(parts)
