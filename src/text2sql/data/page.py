"""The report as a page with plots, one file without anything to load."""

import io
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment

from text2sql.artifacts import write_text

_ORDER = ("easy", "medium", "hard", "extra")


def write_page(target: Path, name: str, report: dict[str, Any]) -> None:
    """Write the HTML page of a report, whole. Equal reports give equal bytes."""
    template = files(__package__).joinpath("page.html.j2").read_text(encoding="utf-8")
    text = Environment(autoescape=True).from_string(template).render(name=name, report=report, plots=_plots(report))
    write_text(target, text)


def _plots(report: dict[str, Any]) -> list[tuple[str, str]]:
    splits = {name: found for name, found in report["splits"].items() if found["kept"]}
    in_tokens = any("tokens" in found for found in splits.values())
    unit = "tokens" if in_tokens else "characters"
    lengths = {
        name: found["tokens"]["prompt"] if in_tokens else found["prompt_chars"] for name, found in splits.items()
    }
    hardness = {name: _shares(found["difficulty"], found["kept"]) for name, found in splits.items()}
    tables = {name: _shares(found["tables_per_query"], found["kept"]) for name, found in splits.items()}
    words = {name: _shares(found["keywords"], found["kept"]) for name, found in splits.items()}
    dropped = {name: found["rejected"] for name, found in report["splits"].items() if found["rejected"]}
    known = sorted({level for found in hardness.values() for level in found}, key=lambda x: ((*_ORDER, x).index(x), x))
    reasons = sorted({reason for found in dropped.values() for reason in found})
    share = "share of queries"
    plots = [
        (f"Length of prompts in {unit}", _bars(lengths, ["p50", "p90", "p95", "p99", "max"], unit)),
        ("Hardness", _bars(hardness, known, share)),
        ("Tables per query", _bars(tables, sorted({n for found in tables.values() for n in found}, key=int), share)),
        ("Keywords", _bars(words, list(dict.fromkeys(w for found in words.values() for w in found)), share)),
    ]
    return [*plots, ("Rows left out", _bars(dropped, reasons, "rows"))] if reasons else plots


def _shares(counts: dict[str, int], total: int) -> dict[str, float]:
    return {name: count / total for name, count in counts.items()}


def _bars(series: dict[str, dict[str, float]], labels: list[str], unit: str) -> str:
    """Grouped bars as SVG text, one colour a split."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    with matplotlib.rc_context({"svg.hashsalt": "text2sql", "svg.fonttype": "none", "font.size": 9}):
        figure, axes = pyplot.subplots(figsize=(max(4.5, 0.55 * len(labels) + 2), 2.8), layout="constrained")
        width = 0.8 / max(1, len(series))
        for place, (name, found) in enumerate(series.items()):
            positions = [number + place * width for number in range(len(labels))]
            axes.bar(positions, [found.get(label, 0) for label in labels], width, label=name)
        middle = 0.4 - width / 2
        axes.set_xticks([number + middle for number in range(len(labels))], labels)
        if len(labels) >= 7 or max(map(len, labels), default=0) > 12:
            pyplot.setp(axes.get_xticklabels(), rotation=35, ha="right", rotation_mode="anchor")
        axes.set_ylabel(unit)
        if series:
            figure.legend(loc="outside upper center", ncols=len(series), frameon=False)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
        pyplot.close(figure)
    return out.getvalue()[out.getvalue().index("<svg") :]
