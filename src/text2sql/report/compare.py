"""Sets reports of single evaluations side by side: the last screen of the quickstart."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from rich.table import Table

from text2sql.errors import UserError
from text2sql.evaluate.score import Report, Score, read_report
from text2sql.report.figure import Chart, Series, draw


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
