"""Curves beside one another, drawn calmly: our own in colour, the others in greys that their ends name."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

OURS = "lookalike"
ACCENT = "#b5502b"
GREYS = ("#3d4a57", "#6b7a88", "#93a0ab", "#5b6f5e", "#8a7f6b", "#a8a29a", "#4f5d75", "#7d8597")
STYLES = ("-", "--", ":", "-.")
MARKERS = ("o", "D", "s", "^")  # of points that stand alone


@dataclass(frozen=True, slots=True)
class Curve:
    """A line of points (x, y)."""

    name: str
    points: Sequence[tuple[float, float]]


def draw(
    path: Path,
    title: str,
    panels: Mapping[str, Sequence[Curve]],
    *,
    x: str,
    y: str,
    log_x: bool = False,
    linear: Collection[str] = (),
) -> None:
    """Writes a PNG with one panel a heading, two in a line; y is logarithmic but in the panels called `linear`."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams |= {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "font.family": "sans-serif"}
    lines = -(-len(panels) // 2)
    figure, axes = plt.subplots(lines, 2, figsize=(10.4, 3.9 * lines), squeeze=False)
    for axis, (heading, curves) in zip(axes.ravel(), panels.items(), strict=True):
        for number, curve in enumerate(curves):
            if not curve.points:
                continue
            ours = curve.name.startswith(OURS)
            colour = ACCENT if ours else GREYS[number % len(GREYS)]
            axis.plot(
                *zip(*curve.points, strict=True),
                label=curve.name,
                color=colour,
                linewidth=2.2 if ours else 1.2,
                linestyle="-" if ours else STYLES[number % len(STYLES)],
                marker="o" if len(curve.points) > 1 else MARKERS[number % len(MARKERS)],
                markersize=4 if ours else 2.5 if len(curve.points) > 1 else 6,
                zorder=3 if ours else 2,
            )
        axis.set(title=heading, xlabel=x, xscale="log" if log_x else "linear")
        axis.set_yscale("linear" if heading in linear else "log")
        for scale in (axis.xaxis, axis.yaxis):
            scale.set_major_formatter("{x:,.9g}")
        axis.xaxis.set_minor_formatter("")
        if log_x:  # few values, and those are what one wants to read
            axis.set_xticks(sorted({place for curve in curves for place, _ in curve.points}))
            axis.set_xticks([], minor=True)
        axis.yaxis.set_minor_formatter(lambda value, _: f"{value:,.9g}" if f"{value:e}"[0] in "25" else "")
        if heading in linear:
            axis.set_ylim(top=1.01)
        axis.grid(visible=True, color="#ece9e4", linewidth=0.7)
        axis.title.set_fontsize(10)
    axes[0][0].set_ylabel(y)
    axes[0][-1].legend(frameon=False, fontsize=8, loc="best")
    figure.suptitle(title, fontsize=10, color="#3d4a57")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    print(f"wrote {path}")
