"""Accuracy over the number of samples, a line for each way of choosing."""

from collections.abc import Sequence
from pathlib import Path

from text2sql.artifacts import whole_path
from text2sql.select.measure import Line

_COLOURS = {  # Okabe and Ito's palette (2008)
    "random": "#8C8C8C",
    "vote": "#56B4E9",
    "rm_best_of": "#E69F00",
    "weighted_vote": "#0072B2",
    "oracle": "#009E73",
}


def draw(lines: Sequence[Line], path: Path) -> None:
    """Draw the lines of a report, with greedy as a level, to a PNG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 4.0), layout="constrained")
    axes = figure.subplots()
    for way, colour in _COLOURS.items():
        own = [line for line in lines if line.way == way]
        if own:
            accuracies = [100 * line.score.accuracy for line in own]
            label = own[0].title.partition(" of ")[0]
            axes.plot([line.samples for line in own], accuracies, marker="o", color=colour, label=label)
    for line in lines:
        if line.way == "greedy":
            axes.axhline(100 * line.score.accuracy, color="black", linewidth=1, linestyle="--", label="greedy")
    axes.set_xscale("log", base=2)
    sizes = sorted({line.samples for line in lines if line.way in _COLOURS})
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.set(xlabel="Samples", ylabel="Execution accuracy (%)")
    axes.set_title(f"n = {lines[0].score.n}", fontsize=10)
    axes.legend(fontsize=8)
    with whole_path(path) as partial:
        figure.savefig(partial, format="png", dpi=150)
