"""Writes tables and sentences between the READMEs' markers, and the figure in ``figs/``, or tells which are stale."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from text2sql import ledger
from text2sql.artifacts import write_text
from text2sql.errors import UserError
from text2sql.evaluate.score import LEVELS
from text2sql.ledger import Row
from text2sql.report.figure import Chart, Series, draw, drawn_digest
from text2sql.report.tables import ACCURACIES, BLOCKS, WORDS, Language, markdown

logger = logging.getLogger(__name__)

READMES: dict[str, Language] = {
    "README.md": "en",
    "README.zh-CN.md": "zh",
    "results/README.md": "en",
    "models/tiny-base/README.md": "en",
}
FIGURE = Path("figs/model_performance_comparison.png")

_MARKED = re.compile(r"(<!-- results:([\w-]+) -->\n)(.*?)(<!-- /results -->)", re.DOTALL)


def render(root: Path, ledger_path: Path, check: bool = False) -> list[str]:
    """Bring the READMEs and the figure up to date with the ledger; returns the files that were stale.

    With ``check`` nothing is written.

    Raises:
        UserError: the ledger is broken, or a README asks for a block that does not exist.
    """
    rows, stale = ledger.read(ledger_path), []
    for name, language in READMES.items():
        old = (root / name).read_text(encoding="utf-8") if (root / name).is_file() else ""
        new = fill(old, rows, language, name)
        if new != old:
            stale.append(name)
            if not check:
                write_text(root / name, new)
    chart = toy_chart(rows)
    if chart is not None and drawn_digest(root / FIGURE) != chart.digest:
        stale.append(str(FIGURE))
        if not check:
            draw(chart, root / FIGURE)
    return stale


def fill(text: str, rows: Sequence[Row], language: Language, where: str) -> str:
    """``text`` with every marked block rendered anew.

    Raises:
        UserError: a marker names no block, or is not closed.
    """
    if text.count("<!-- results:") != len(_MARKED.findall(text)):
        raise UserError(
            f"{where}: a results marker is not closed; write <!-- results:NAME --> and <!-- /results --> on own lines"
        )

    def block(found: re.Match[str]) -> str:
        if found[2] not in BLOCKS:
            raise UserError(f"{where}: no block {found[2]!r}; there are {', '.join(BLOCKS)}")
        return f"{found[1]}\n{markdown(found[2], rows, language)}\n\n{found[4]}"

    return _MARKED.sub(block, text)


def toy_chart(rows: Sequence[Row]) -> Chart | None:
    """Base, LoRA and full fine-tuning on the toy test split by hardness; None without a measurement of the base."""
    base = ledger.latest(rows, "toy.base", "test")
    if not base:
        return None
    like, groups = base[-1], [ledger.latest(rows, experiment, "test") for experiment in ACCURACIES["toy"]]
    fitting = [group for group in groups if group and _conditions(group[-1]) == _conditions(like)]
    for group in groups:
        if group and group not in fitting:
            logger.warning("%s is left out of the figure: other conditions than toy.base", group[-1].experiment)
    most = max(map(len, fitting))
    ends = f"; mean and standard deviation over up to {most} training seeds" if most > 1 else ""
    labels = [f"{level}\nn = {like.metrics.get(f'n_{level}', 0):.0f}" for level in LEVELS]
    return Chart(
        "Tiny model on toy databases that training never saw",
        f"{like.protocol}, n = {like.n}, {like.decoding} decoding{ends}. Source: results/ledger.jsonl",
        (*labels, f"all\nn = {like.n}"),
        tuple(map(_series, fitting)),
    )


def _conditions(row: Row) -> tuple[object, ...]:
    return row.split, row.protocol, row.decoding, row.n


def _series(group: list[Row]) -> Series:
    metrics = [*(f"execution_accuracy_{level}" for level in LEVELS), "execution_accuracy"]
    found = [ledger.summarize(group, metric) for metric in metrics]
    spreads = tuple(summary.spread if summary else 0.0 for summary in found)
    label = WORDS["names"][group[-1].experiment]["en"]
    return Series(label, tuple(summary.mean if summary else None for summary in found), spreads, spreads)
