"""The performance page of a run: step times, tokens a second and memory, drawn from what the training recorded."""

import io
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from statistics import median
from typing import Any

from jinja2 import Environment

from text2sql.artifacts import write_text

RECORDED = "performance.jsonl"
PAGE = "performance.html"
Rows = list[dict[str, Any]]


def write_page(output_dir: Path) -> Path | None:
    """Write the page beside the run's record; None where the run recorded nothing (Megatron's, or one of no logged step)."""
    recorded = output_dir / RECORDED
    rows = (
        [json.loads(line) for line in recorded.read_text(encoding="utf-8").splitlines()] if recorded.is_file() else []
    )
    if not rows:
        return None
    template = files(__package__).joinpath("performance.html.j2").read_text(encoding="utf-8")
    page = Environment(autoescape=True, trim_blocks=True).from_string(template)
    write_text(output_dir / PAGE, page.render(name=output_dir.name, figures=_figures(rows), plots=_plots(rows)))
    return output_dir / PAGE


def _figures(rows: Rows) -> dict[str, str]:
    """The run in words; all of one process, times the number of processes where it says so."""
    seconds, in_steps = sum(row["seconds"] for row in rows), sum(row["in_steps"] for row in rows)
    tokens, padding = (sum(row[key] for row in rows) for key in ("tokens", "padding"))
    processes = rows[-1]["processes"]
    each = [row["in_steps"] / row["steps"] for row in rows]
    found = {
        "steps": f"{sum(row['steps'] for row in rows)} in {seconds / 60:.1f} minutes",
        "seconds a step": f"median {median(each):.2f}, slowest interval {max(each):.2f}",
        "time outside steps": f"{1 - in_steps / seconds:.1%} (evaluation, checkpoints, logging)",
    }
    if tokens:
        found["tokens a second"] = (
            f"{processes * (tokens - padding) / in_steps:,.0f} of text, in steps, {processes} processes"
        )
        found["padding"] = f"{padding / tokens:.1%} of the tokens"
    found["memory of a process"] = f"{max(row['peak_memory_mb'] for row in rows):,.0f} MB at its peak"
    if rows[-1]["gpu_memory_mb"] is not None:
        found["memory of a GPU"] = f"{max(row['gpu_memory_mb'] for row in rows):,.0f} MB at its peak"
        found["GPU busy"] = f"{median(row['gpu_utilisation'] for row in rows):.0%} (median)"
    return found


def _plots(rows: Rows) -> list[tuple[str, str]]:
    steps = [row["step"] for row in rows]
    series = [("Seconds a step", [row["in_steps"] / row["steps"] for row in rows])]
    if rows[-1]["tokens"]:
        rate = [row["processes"] * (row["tokens"] - row["padding"]) / max(row["in_steps"], 1e-9) for row in rows]
        series.append(("Tokens a second", rate))
    series.append(("Memory of a process, MB", [row["memory_mb"] for row in rows]))
    if rows[-1]["gpu_memory_mb"] is not None:
        series.append(("Memory of a GPU, MB", [row["gpu_memory_mb"] for row in rows]))
        series.append(("GPU busy, %", [100 * row["gpu_utilisation"] for row in rows]))
    return [(title, _line(steps, values)) for title, values in series]


def _line(steps: Sequence[int], values: Sequence[float]) -> str:
    """A curve over steps, from zero, as SVG text."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "text2sql", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(5.2, 2.6), layout="constrained")
        axes = figure.subplots()
        axes.plot(steps, values, marker="o" if len(steps) < 40 else None, markersize=3, color="#0072B2")
        axes.set_xlabel("step")
        axes.set_ylim(bottom=0, top=1.15 * max(*values, 1e-9))
        axes.spines[["top", "right"]].set_visible(False)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]
