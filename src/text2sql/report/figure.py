"""Grouped bars of accuracy by hardness, drawn the same way for the README and to compare single evaluations."""

import math
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

from text2sql.artifacts import digest_of, whole_path
from text2sql.errors import UserError
from text2sql.evaluate.score import Report, Score, read_report

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
        """Equal for equal charts; it is kept in the file."""
        return digest_of(asdict(self))


def draw(chart: Chart, path: Path, measured: str = "execution accuracy (%)") -> None:
    """Write the chart as a PNG with its digest inside; ``measured`` is the label of the bars' axis."""
    from matplotlib.figure import Figure

    count, groups = len(chart.series), len(chart.groups)
    width = min(0.8 / count, 0.3)
    figure = Figure(figsize=(max(7.5, 0.38 * groups * (count + 1) + 1.2), 4.8))
    axes = figure.subplots()
    ends = {"ecolor": "#222222", "elinewidth": 1, "capsize": 2.5, "capthick": 1}
    for place, series in enumerate(chart.series):
        centres = [group + (place - (count - 1) / 2) * width for group in range(groups)]
        heights = [math.nan if value is None else 100 * value for value in series.values]
        reach = [[100 * end for end in way] for way in (series.down, series.up)] if any(series.up) else None
        colour = COLOURS[place % len(COLOURS)]
        bars = axes.bar(centres, heights, 0.92 * width, color=colour, label=series.label, yerr=reach, error_kw=ends)
        axes.bar_label(bars, fmt="%.1f", padding=2.5, fontsize=9 if count <= 2 else 7.5, color="#222222")
    axes.set_xticks(range(groups), chart.groups)
    axes.set_ylim(0, 112)
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel(measured)
    axes.set_title(chart.title, loc="left", fontsize=12, pad=32)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=count, frameon=False, fontsize=9.5, borderaxespad=0.3)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0)
    lines = textwrap.fill(chart.caption, int(figure.get_figwidth() * 14))
    figure.text(0.01, 0.01, lines, fontsize=8.5, color="#444444", va="bottom")
    figure.tight_layout(rect=(0, 0.035 * (lines.count("\n") + 1) + 0.01, 1, 1))
    with whole_path(path) as partial:
        figure.savefig(partial, dpi=160, format="png", metadata={"Description": chart.digest, "Software": None})


def drawn_digest(path: Path) -> str | None:
    """The digest of the chart that a PNG shows; None where there is no such file or it has none."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            digest = image.info.get("Description")
    except (FileNotFoundError, UnidentifiedImageError):
        return None
    return digest if isinstance(digest, str) else None


def compare(reports: Mapping[str, Path], output: Path) -> Table:
    """Draw the models' accuracy by hardness to ``output`` and return the table to print.

    ``reports`` maps a model's label to its ``report.json``; differences are the last model's against the first's.

    Raises:
        UserError: fewer than two reports, or they were not measured under the same conditions.
    """
    if len(reports) < 2:
        raise UserError("comparing needs two reports or more, written LABEL=PATH_OF_REPORT.json")
    found = {name: read_report(path) for name, path in reports.items()}
    first = next(iter(found.values()))
    for name, report in found.items():
        if _conditions(report) != _conditions(first):
            ours, theirs = ", ".join(map(str, _conditions(first))), ", ".join(map(str, _conditions(report)))
            raise UserError(f"{name!r} cannot be compared: measured with {theirs}, the first with {ours}")
    draw(_chart(found), output)
    return _table(found)


def _conditions(report: Report) -> tuple[object, ...]:
    return report.protocol, f"n = {report.overall.n}", report.decoding, f"data {report.data_hash}"


def _scores(report: Report) -> dict[str, Score]:
    return {**report.by_difficulty, "all": report.overall}


def _chart(found: Mapping[str, Report]) -> Chart:
    first = next(iter(found.values()))
    split = f"{first.split} split, " if first.split else ""
    return Chart(
        "Execution accuracy by hardness",
        f"{first.protocol}, {split}n = {first.overall.n}, {first.decoding} decoding; bars' ends: 95 % interval (Wilson)",
        tuple(f"{name}\nn = {score.n}" for name, score in _scores(first).items()),
        tuple(_series(name, _scores(report).values()) for name, report in found.items()),
    )


def _series(name: str, scores: Iterable[Score]) -> Series:
    parts = [(score.accuracy, score.accuracy - score.low, score.high - score.accuracy) for score in scores]
    return Series(name, *zip(*parts, strict=True))


def _table(found: Mapping[str, Report]) -> Table:
    first, last = next(iter(found.values())), list(found.values())[-1]
    table = Table("hardness", title="execution accuracy", caption=f"{first.protocol}, {first.decoding} decoding")
    for name in ("n", *found, "difference"):
        table.add_column(name, justify="right")
    for level, score in _scores(first).items():
        if level == "all":
            table.add_section()
        cells = [f"{_scores(report)[level].accuracy:.1%}" for report in found.values()]
        change = 100 * (_scores(last)[level].accuracy - score.accuracy)
        table.add_row(level, str(score.n), *cells, f"{change:+.1f} points", style="bold" if level == "all" else None)
    return table
