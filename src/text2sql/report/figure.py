"""Grouped bars of accuracy by hardness, drawn the same way for the README and for a single comparison."""

import hashlib
import logging
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

# Okabe and Ito's palette (2008), told apart with any colour vision; grey for what is compared against.
COLOURS = ("#8C8C8C", "#56B4E9", "#0072B2", "#E69F00", "#009E73", "#CC79A7")


@dataclass(frozen=True)
class Series:
    """One model: a fraction for each group, with how far its error bar reaches down and up (0: none)."""

    label: str
    values: tuple[float | None, ...]
    down: tuple[float, ...]
    up: tuple[float, ...]


@dataclass(frozen=True)
class Chart:
    """What is drawn. ``groups`` are the labels below, in order; ``caption`` tells protocol, n and what the bars' ends mean."""

    title: str
    caption: str
    groups: tuple[str, ...]
    series: tuple[Series, ...]

    @property
    def digest(self) -> str:
        """Equal for charts that look equal; it is kept in the file."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]


def draw(chart: Chart, path: Path) -> None:
    """Write the chart as a PNG with its digest inside."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    count = len(chart.series)
    width = min(0.8 / count, 0.3)
    figure, axes = plt.subplots(figsize=(max(7.5, 0.38 * len(chart.groups) * (count + 1) + 1.2), 4.8))
    size = 9 if count <= 2 else 7.5
    for place, series in enumerate(chart.series):
        centres = [group + (place - (count - 1) / 2) * width for group in range(len(chart.groups))]
        colour = COLOURS[place % len(COLOURS)]
        _bars(axes, series, centres, width, colour, size)
    axes.set_xticks(range(len(chart.groups)), chart.groups)
    axes.set_ylim(0, 112)
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel("execution accuracy (%)")
    axes.set_title(chart.title, loc="left", fontsize=12, pad=32)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=count, frameon=False, fontsize=9.5, borderaxespad=0.3)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0)
    lines = textwrap.fill(chart.caption, int(figure.get_figwidth() * 14))
    figure.text(0.01, 0.01, lines, fontsize=8.5, color="#444444", va="bottom")
    figure.tight_layout(rect=(0, 0.035 * (lines.count("\n") + 1) + 0.01, 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    figure.savefig(partial, dpi=160, format="png", metadata={"Description": chart.digest, "Software": None})
    plt.close(figure)
    partial.replace(path)


def _bars(axes: "object", series: Series, centres: Sequence[float], width: float, colour: str, size: float) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    heights = [100 * (value or 0) for value in series.values]
    axes.bar(centres, heights, 0.92 * width, color=colour, label=series.label)
    for centre, value, height, down, up in zip(centres, series.values, heights, series.down, series.up, strict=True):
        if value is None:
            continue
        if down or up:
            reach = [[100 * down], [100 * up]]
            axes.errorbar([centre], [height], yerr=reach, color="#222222", elinewidth=1, capsize=2.5, capthick=1)
        axes.annotate(
            f"{height:.0f}" if len(centres) * len(series.values) > 60 else f"{height:.1f}",
            (centre, height + 100 * up), xytext=(0, 2.5), textcoords="offset points",
            ha="center", va="bottom", fontsize=size, color="#222222",
        )  # fmt: skip


def drawn_digest(path: Path) -> str | None:
    """The digest of the chart that a PNG shows; None where there is no such file or it has none."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            digest = image.info.get("Description")
    except (FileNotFoundError, UnidentifiedImageError):
        return None
    return digest if isinstance(digest, str) else None
