"""Puts tables between the READMEs' markers and the figure in ``figs/``, or tells which of them are stale."""

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

from text2sql import ledger
from text2sql.errors import UserError
from text2sql.evaluate import LEVELS
from text2sql.ledger import Row
from text2sql.report.figure import Chart, Series, draw, drawn_digest
from text2sql.report.tables import TABLES, Language, label, markdown

logger = logging.getLogger(__name__)

READMES: dict[str, Language] = {"README.md": "en", "README.zh-CN.md": "zh", "models/tiny-base/README.md": "en"}
FIGURE = Path("figs/model_performance_comparison.png")

_MARKED = re.compile(r"(<!-- results:([\w-]+) -->\n)(.*?)(<!-- /results -->)", re.DOTALL)


def render(root: Path, ledger_path: Path, check: bool = False) -> list[str]:
    """Bring tables and figure up to date with the ledger; returns the files that were stale.

    With ``check`` nothing is written.

    Raises:
        UserError: the ledger is broken, or a README asks for a table that does not exist.
    """
    rows = ledger.read(ledger_path)
    stale = []
    for name, language in READMES.items():
        path = root / name
        if not path.is_file():
            continue
        old = path.read_text(encoding="utf-8")
        new = fill(old, rows, language, name)
        if new != old:
            stale.append(name)
            if not check:
                partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
                partial.write_text(new, encoding="utf-8")
                partial.replace(path)
    chart = toy_chart(rows)
    if chart is not None and drawn_digest(root / FIGURE) != chart.digest:
        stale.append(str(FIGURE))
        if not check:
            draw(chart, root / FIGURE)
    return stale


def fill(text: str, rows: Sequence[Row], language: Language, where: str) -> str:
    """``text`` with every marked table rendered anew.

    Raises:
        UserError: a marker names no table, or is not closed.
    """
    opened = text.count("<!-- results:")
    if opened != len(_MARKED.findall(text)):
        raise UserError(
            f"{where}: a results marker is not closed; write <!-- results:NAME --> and <!-- /results --> on own lines"
        )

    def table(found: re.Match[str]) -> str:
        name = found[2]
        if name not in TABLES:
            raise UserError(f"{where}: no table {name!r}; there are {', '.join(TABLES)}")
        return f"{found[1]}\n{markdown(name, rows, language)}\n\n{found[4]}"

    return _MARKED.sub(table, text)


def toy_chart(rows: Sequence[Row]) -> Chart | None:
    """Base, LoRA and full fine-tuning on the toy test split by hardness; None without a measurement of the base."""
    base = ledger.latest(rows, "toy.base", "test")
    if not base:
        return None
    like, series, seeds = base[-1], [], set()
    for experiment in TABLES["toy"].experiments:
        group = ledger.latest(rows, experiment, "test")
        if not group:
            continue
        if _conditions(group[-1]) != _conditions(like):
            logger.warning("%s is left out of the figure: measured under other conditions than toy.base", experiment)
            continue
        series.append(_series(label(experiment), group))
        seeds.add(len(group))
    most = max(seeds)
    ends = f"; mean and standard deviation over up to {most} training seeds" if most > 1 else ""
    groups = [f"{level}\nn = {like.metrics.get(f'n_{level}', 0):.0f}" for level in LEVELS]
    return Chart(
        "Tiny model on toy databases that training never saw",
        f"{like.protocol}, n = {like.n}, {like.decoding} decoding{ends}. Source: results/ledger.jsonl",
        (*groups, f"all\nn = {like.n}"),
        tuple(series),
    )


def _conditions(row: Row) -> tuple[object, ...]:
    return row.split, row.protocol, row.decoding, row.n


def _series(name: str, group: list[Row]) -> Series:
    metrics = [*(f"execution_accuracy_{level}" for level in LEVELS), "execution_accuracy"]
    found = [ledger.summarize(group, metric) for metric in metrics]
    spreads = tuple(summary.spread if summary else 0.0 for summary in found)
    return Series(name, tuple(summary.mean if summary else None for summary in found), spreads, spreads)
