"""The commands of this room: ``text2sql evaluate``, ``evaluate-process``, ``judge`` and ``agree``."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from text2sql.errors import run_command
from text2sql.evaluate.answers import EvaluateOptions, JudgeOptions
from text2sql.evaluate.judge import judge as judge_answers
from text2sql.evaluate.process import evaluate_process
from text2sql.evaluate.score import MEASURES, Score, evaluate
from text2sql.predictions import agree as compare_files
from text2sql.recipe import load_recipe, options_from
from text2sql.recipe.command import Overrides, RecipePath, group
from text2sql.recipe.load import from_caller

app = group("Score predictions by executing them, measure process metrics, have them judged, or compare two files.")


@app.command()
def score(recipe: RecipePath, overrides: Overrides = None) -> None:
    """Score a predictions file by executing it: accuracy by hardness, outcomes, and a ledger row when asked for."""
    report = evaluate(options_from(EvaluateOptions, load_recipe(recipe, overrides or []), str(recipe)))
    how = f"{report.protocol}, {report.split or 'no split named'}, n = {report.overall.n}, {report.decoding}"
    measure = MEASURES.get(report.protocol, "execution accuracy")
    title = f"{report.experiment or measure} ({how})"
    table = _table(title, "hardness", "n", "correct", "accuracy", "95 % interval")
    for name, found in report.by_difficulty.items():
        table.add_row(name, *_cells(found))
    table.add_section()
    table.add_row("all", *_cells(report.overall), style="bold")
    console = Console()
    console.print(table)
    if report.samples > 1:
        console.print(f"{report.samples} samples a question: accuracy is their mean; any right: {report.oracle:.1%}")
    if report.raw is not None:
        console.print(f"repaired: {report.repaired} predictions; as the model wrote them: {report.raw.accuracy:.1%}")
    total = sum(report.outcomes.values())
    outcomes = ", ".join(f"{name} {count} ({count / total:.1%})" for name, count in report.outcomes.items())
    console.print(f"outcomes: {outcomes}")
    if report.error_classes:
        console.print(f"errors: {_counted(report.error_classes)}")


@app.command()
def process(recipe: RecipePath, overrides: Overrides = None) -> None:
    """Measure process metrics of answers in the process format: types, thinking, self-assessment, issues."""
    report = evaluate_process(options_from(EvaluateOptions, load_recipe(recipe, overrides or []), str(recipe)))
    metrics = report["metrics"]
    table = _table(f"process evaluation, n = {report['summary']['completions']}", "metric", "value")
    shown = {name: value for name, value in metrics.items() if isinstance(value, float)}
    shown |= {f"type_confidence {name}": value for name, value in metrics["type_confidence"].items()}
    shown |= {f"self_assessment {name}": value for name, value in metrics["self_assessment"].items()}
    shown |= {f"issue {name}": value for name, value in metrics["issue_rate"].items()}
    for name, value in shown.items():
        table.add_row(name, f"{value:.3f}")
    Console().print(table)


@app.command()
def judge(recipe: RecipePath, overrides: Overrides = None) -> None:
    """Have explained answers scored from 1 to 5 by a language model behind an OpenAI-compatible server."""
    section = judge_answers(options_from(JudgeOptions, load_recipe(recipe, overrides or []), str(recipe)))
    table = _table(f"judge {section['model']}, n = {section['judged']}", "axis", "mean", "std", *"12345")
    for axis, found in section["scores"].items():
        counts = (str(found["distribution"].get(score, 0)) for score in "12345")
        table.add_row(axis, f"{found['mean']:.2f}", f"{found['std']:.2f}", *counts)
    console = Console()
    console.print(table)
    console.print(f"what is wrong with the SQL: {_counted(section['error_types'])}")
    failed = _counted(section["failed"]) or "none"
    console.print(f"asked again for {section['asked_again']}; not judged: {failed}")


@app.command()
def agree(
    first: Annotated[Path, typer.Argument(help="A predictions file.")],
    second: Annotated[Path, typer.Argument(help="Another, of the same questions.")],
    at_least: Annotated[float, typer.Option(min=0, max=1, help="Exit with 1 if a smaller fraction is equal.")] = 0.0,
) -> None:
    """Count the completions that are equal in two predictions files."""
    n, differing = compare_files(Path(from_caller(str(first))), Path(from_caller(str(second))))
    same = n - len(differing)
    console = Console()
    console.print(f"{same} of {n} completions are equal ({same / n:.2%})")
    if differing:
        console.print(f"differing: {', '.join(differing[:10])}{' ...' * (len(differing) > 10)}")
    if same / n < at_least:
        raise typer.Exit(1)


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(first, title=title)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _cells(score: Score) -> tuple[str, str, str, str]:
    correct = f"{score.correct:.1f}".removesuffix(".0")
    return str(score.n), correct, f"{score.accuracy:.1%}", f"{score.low:.1%} - {score.high:.1%}"


def _counted(counts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


if __name__ == "__main__":
    run_command(app)
