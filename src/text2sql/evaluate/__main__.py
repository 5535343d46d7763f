"""Score predictions by executing them, look at how they come about, have them judged, or compare two files of them.

python -m text2sql.evaluate RECIPE [key=value ...]
python -m text2sql.evaluate process RECIPE [key=value ...]    how answers in the process format come about
python -m text2sql.evaluate judge RECIPE [key=value ...]      what a language model thinks of them, 1 to 5
python -m text2sql.evaluate agree FIRST.jsonl SECOND.jsonl [at_least=0.98]
"""

import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from text2sql.errors import UserError, run_command
from text2sql.evaluate import EvaluateOptions, Report, Score, evaluate
from text2sql.evaluate.agree import agree
from text2sql.evaluate.judge import JudgeOptions, judge
from text2sql.evaluate.process import ProcessReport, evaluate_process
from text2sql.recipe import load_recipe, options_from


def show(report: Report, console: Console) -> None:
    """Print accuracy by hardness, then what went wrong."""
    how = f"{report.protocol}, {report.split or 'no split named'}, n = {report.overall.n}, {report.decoding}"
    title = f"{report.experiment or 'execution accuracy'} ({how})"
    table = Table("hardness", title=title)
    for name in ("n", "correct", "accuracy", "95 % interval"):
        table.add_column(name, justify="right")
    for name, score in report.by_difficulty.items():
        table.add_row(name, *_cells(score))
    table.add_section()
    table.add_row("all", *_cells(report.overall), style="bold")
    console.print(table)
    if report.samples > 1:
        console.print(f"{report.samples} samples a question: accuracy is their mean; any right: {report.oracle:.1%}")
    total = sum(report.outcomes.values())
    console.print(
        "outcomes: " + ", ".join(f"{name} {count} ({count / total:.1%})" for name, count in report.outcomes.items())
    )
    if report.error_classes:
        console.print("errors: " + ", ".join(f"{name} {count}" for name, count in report.error_classes.items()))


def _cells(score: Score) -> tuple[str, str, str, str]:
    correct = f"{score.correct:.1f}".removesuffix(".0")
    return str(score.n), correct, f"{score.accuracy:.1%}", f"{score.low:.1%} - {score.high:.1%}"


def compare_files(arguments: list[str], console: Console) -> None:
    """The ``agree`` command: exits with 1 when fewer answers are equal than ``at_least`` (a fraction).

    Raises:
        UserError: not two files, or they cannot be compared.
    """
    files = [Path(argument) for argument in arguments if "=" not in argument]
    options = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    bound = options.pop("at_least", "0")
    if len(files) != 2 or options or not bound.replace(".", "", 1).isdecimal():
        raise UserError("usage: python -m text2sql.evaluate agree FIRST.jsonl SECOND.jsonl [at_least=0.98]")
    found = agree(*files)
    console.print(f"{found.same} of {found.n} completions are equal ({found.share:.2%})")
    if found.differing:
        console.print(f"differing: {', '.join(found.differing[:10])}{' ...' * (len(found.differing) > 10)}")
    if found.share < float(bound):
        sys.exit(1)


def show_process(report: ProcessReport, console: Console) -> None:
    """Print the metrics that are single numbers."""
    table = Table("metric", "value", title=f"process evaluation, n = {report.summary['completions']}")
    for name, value in report.metrics.items():
        if isinstance(value, float):
            table.add_row(name, f"{value:.3f}")
    for name, value in report.metrics["self_assessment"].items():
        table.add_row(f"self_assessment {name}", f"{value:.3f}")
    for name, value in report.metrics["issue_rate"].items():
        table.add_row(f"issue {name}", f"{value:.3f}")
    console.print(table)


def show_judge(section: dict[str, Any], console: Console) -> None:
    """Print mean and spread of each axis, and what failed."""
    table = Table(
        "axis", "mean", "std", "1", "2", "3", "4", "5", title=f"judge {section['model']}, n = {section['judged']}"
    )
    for axis, found in section["scores"].items():
        counts = (str(found["distribution"].get(str(score), 0)) for score in range(1, 6))
        table.add_row(axis, f"{found['mean']:.2f}", f"{found['std']:.2f}", *counts)
    console.print(table)
    failed = ", ".join(f"{name} {count}" for name, count in section["failed"].items())
    console.print(f"asked again for {section['asked_again']}; not judged: {failed or 'none'}")


def _keys(kind: type[Any]) -> str:
    return ", ".join(field.name for field in fields(kind))


def main() -> None:
    """Entry of ``python -m text2sql.evaluate``."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        sys.stdout.write(f"{__doc__}\nkeys: {_keys(EvaluateOptions)}\nkeys of judge: {_keys(JudgeOptions)}\n")
        return
    if sys.argv[1] == "agree":
        compare_files(sys.argv[2:], Console())
        return
    if sys.argv[1] in ("process", "judge"):
        if len(sys.argv) < 3:
            raise UserError(f"usage: python -m text2sql.evaluate {sys.argv[1]} RECIPE [key=value ...]")
        recipe = Path(sys.argv[2])
        given = load_recipe(recipe, sys.argv[3:])
        if sys.argv[1] == "judge":
            show_judge(judge(options_from(JudgeOptions, given, str(recipe))), Console())
        else:
            show_process(evaluate_process(options_from(EvaluateOptions, given, str(recipe))), Console())
        return
    recipe = Path(sys.argv[1])
    show(evaluate(options_from(EvaluateOptions, load_recipe(recipe, sys.argv[2:]), str(recipe))), Console())


if __name__ == "__main__":
    run_command(main)
