"""What a benchmark found, as a table on the screen, as JSON, and as a page beside published figures."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path

import yaml
from jinja2 import Environment
from rich.table import Table

from text2sql.artifacts import write_json, write_text
from text2sql.benchmark.options import BenchmarkOptions
from text2sql.benchmark.run import Outcome, Result
from text2sql.ledger import git_revision


@dataclass(frozen=True)
class Rival:
    """A published figure (a fraction). ``rescored``: measured again on its published predictions, by the official evaluator."""

    name: str
    size: str
    set: str
    protocol: str
    decoding: str
    accuracy: float
    source: str
    rescored: bool


def read_rivals() -> list[Rival]:
    """The figures of ``rivals.yaml``."""
    text = files(__package__).joinpath("rivals.yaml").read_text(encoding="utf-8")
    return [Rival(**row) for row in yaml.safe_load(text)]


def table(results: Sequence[Result]) -> Table:
    """All figures, one line each."""
    shown = Table(title="execution accuracy and graded measures", title_justify="left")
    for head in ("set", "protocol", "way"):
        shown.add_column(head, no_wrap=head != "set")
    compared = any(result.paired for result in results)
    for head in ("n", "figure", "95 % interval", *["difference", "p"] * compared):
        shown.add_column(head, justify="right")
    for place, result in enumerate(results):
        first = not place or results[place - 1].name != result.name
        if first and place:
            shown.add_section()
        score, paired = result.report.overall, result.paired
        cells = [str(score.n), f"{score.accuracy:.1%}", f"{score.low:.1%} - {score.high:.1%}"]
        if paired is not None:
            cells += [f"{paired.difference:+.1%}", f"{paired.p_value:.3g}"]
        shown.add_row(result.title if first else "", result.protocol, result.way.replace("_", " of "), *cells)
    return shown


def write_report(options: BenchmarkOptions, outcome: Outcome) -> Path:
    """Write ``benchmark.json`` and ``benchmark.html`` to ``output_dir``; returns the page's path."""
    found = {
        "model": options.model_name_or_path,
        "adapter": str(options.adapter_name_or_path or ""),
        "git": git_revision(),
        "results": [asdict(result) for result in outcome.results],
        "skipped": outcome.skipped,
    }
    write_json(options.output_dir / "benchmark.json", found)
    template = files(__package__).joinpath("page.html.j2").read_text(encoding="utf-8")
    sections: dict[tuple[str, str], list[Result]] = {}
    for result in outcome.results:
        sections.setdefault((result.name, result.protocol), []).append(result)
    page = Environment(autoescape=True, trim_blocks=True).from_string(template)
    path = options.output_dir / "benchmark.html"
    against = str(options.against or "")
    write_text(
        path, page.render(found=found, sections=sections, rivals=read_rivals(), options=options, against=against)
    )
    return path
