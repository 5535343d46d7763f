"""The command of this room: ``text2sql report [add|compare]``."""

import logging
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from text2sql.errors import UserError, run_command
from text2sql.ledger import LEDGER, publish
from text2sql.recipe.command import group
from text2sql.recipe.load import from_caller
from text2sql.report.figure import compare as compare_reports
from text2sql.report.readme import render

logger = logging.getLogger("text2sql.report")
app = group("Render the READMEs and figs/ from the results ledger, or compare reports of single evaluations.")


@app.callback(invoke_without_command=True, no_args_is_help=False)
def report(
    context: typer.Context,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail where a file is stale.")] = False,
    ledger: Annotated[Path, typer.Option(help="The ledger to render.")] = LEDGER,
) -> None:
    """Render the READMEs and figs/ from the results ledger."""
    if context.invoked_subcommand:
        return
    stale = render(Path.cwd(), ledger, check)
    if check and stale:
        raise UserError(f"stale: {', '.join(stale)}; run `text2sql report`")
    logger.info("%s", "up to date" if not stale else f"rendered {', '.join(stale)}")


@app.command()
def compare(
    reports: Annotated[list[str], typer.Argument(help="Reports of evaluations, at least two.", metavar="LABEL=REPORT")],
    output: Annotated[Path, typer.Option(help="The figure to draw.")] = Path("comparison.png"),
) -> None:
    """Set reports of single evaluations side by side: a table and a figure; the first is what others are compared with."""
    wrong = [given for given in reports if "=" not in given]
    if wrong:
        raise UserError(f"{wrong[0]!r}: write LABEL=REPORT.json")
    labelled = dict(given.rsplit("=", 1) for given in reports)
    paths = {label: Path(from_caller(path)) for label, path in labelled.items()}
    Console().print(compare_reports(paths, output))
    logger.info("figure: %s", output)


@app.command()
def add(
    measured: Annotated[Path, typer.Argument(help="A ledger of measurements beside the repository's.")],
    experiment: Annotated[str, typer.Argument(help="The experiment whose rows are complete.")],
) -> None:
    """Add an experiment's rows to the repository's ledger, those that it lacks."""
    added = publish(Path(from_caller(str(measured))), LEDGER, experiment)
    logger.info("%s: %d new rows in %s", experiment, added, LEDGER)


if __name__ == "__main__":
    run_command(app)
