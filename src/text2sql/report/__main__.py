"""Render README tables and figs/ from the results ledger, or compare reports of single evaluations.

python -m text2sql.report [--check] [ledger=results/ledger.jsonl]
python -m text2sql.report compare LABEL=REPORT.json LABEL=REPORT.json ... output=COMPARISON.png
"""

import logging
import sys
from pathlib import Path

from rich.console import Console

from text2sql.errors import UserError, run_command
from text2sql.ledger import LEDGER
from text2sql.report import compare, render

logger = logging.getLogger("text2sql.report")


def main() -> None:
    """Entry of ``python -m text2sql.report``."""
    arguments = sys.argv[1:]
    if {"-h", "--help"} & set(arguments):
        sys.stdout.write(f"{__doc__}\n")
        return
    if arguments[:1] == ["compare"]:
        _compare(arguments[1:])
        return
    check = "--check" in arguments
    options = _pairs([argument for argument in arguments if argument != "--check"])
    ledger = Path(options.pop("ledger", str(LEDGER)))
    if options:
        raise UserError(f"unknown key {next(iter(options))!r}; known keys: ledger")
    stale = render(Path.cwd(), ledger, check)
    if check and stale:
        raise UserError(f"stale: {', '.join(stale)}; run `python -m text2sql.report`")
    logger.info("%s", "up to date" if not stale else f"rendered {', '.join(stale)}")


def _compare(arguments: list[str]) -> None:
    options = _pairs(arguments)
    output = Path(options.pop("output", "comparison.png"))
    table = compare({label: Path(path) for label, path in options.items()}, output)
    Console().print(table)
    logger.info("figure: %s", output)


def _pairs(arguments: list[str]) -> dict[str, str]:
    wrong = [argument for argument in arguments if not argument.partition("=")[1]]
    if wrong:
        raise UserError(f"{wrong[0]!r}: write key=value; see --help")
    return dict(argument.rsplit("=", 1) for argument in arguments)


if __name__ == "__main__":
    run_command(main)
