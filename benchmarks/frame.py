"""What the benchmarks share: one function as a command, the ledger row, a table on the terminal, and where data lie."""

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from text2sql import ledger
from text2sql.errors import run_command

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("TEXT2SQL_SHARED", ROOT.parent / "shared"))

ToLedger = Annotated[bool, typer.Option("--ledger", help="Append the figures to results/ledger.jsonl.")]
Shared = Annotated[Path, typer.Option(help="Folder of spider, bird, verdicts and tokenizer_qwen.")]


def run(main: Callable[..., object], text: str | None) -> None:
    """Run ``main`` as a command from the repository's root; ``text`` is its help."""
    os.chdir(ROOT)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    # A line of its own for each line of the module's text.
    app.command(help="\b\n" + (text or "").replace("\n\n", "\n\n\b\n"))(main)
    run_command(app)


def record(experiment: str, metrics: dict[str, float], *, split: str, n: int, data_hash: str, **more: Any) -> None:
    """Append a row; see :func:`text2sql.ledger.new_row` for what else it may have."""
    fields = {"profile": "cpu", "seed": 0, "seconds": 0.0, **more}
    ledger.append(
        ledger.LEDGER, ledger.new_row(experiment, metrics=metrics, split=split, n=n, data_hash=data_hash, **fields)
    )


def show(title: str, heads: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a table; all columns but the first are numbers."""
    table = Table("", title=title, title_justify="left")
    for head in heads:
        table.add_column(head, justify="right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
