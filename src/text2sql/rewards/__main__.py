"""``text2sql rewards list | score | check``: look at rewards without training anything."""

import inspect
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.progress import track
from rich.table import Table

from text2sql.errors import UserError, run_command
from text2sql.prompts import normalize_answer
from text2sql.recipe.command import group
from text2sql.recipe.keys import names as split
from text2sql.records import Example, RewardSample, read_jsonl, write_jsonl
from text2sql.rewards import REWARD_SETS, REWARDS, RewardContext, RewardSuite
from text2sql.rewards.context import PROTOCOL
from text2sql.rewards.files import databases_of, example_files, read_samples
from text2sql.rewards.registry import find_reward, load_shipped
from text2sql.rewards.suite import Scores

app = group("Document the rewards, score completions with them, and check gold SQL, without training anything.")
console = Console(soft_wrap=True)
_BATCH = 512


def _renamed(old: str | None) -> None:
    if old is not None:
        raise UserError("--databases is called --database-root now")


DatabaseRoot = Annotated[Path | None, typer.Option(help="Folder of databases, DB_ID/DB_ID.sqlite in it.")]
Databases = Annotated[str | None, typer.Option(hidden=True, callback=_renamed)]
Rewards = Annotated[str, typer.Option(help="Names, dotted paths (package.module:reward) or sets, with commas.")]
Timeout = Annotated[float, typer.Option(min=0.01, help="Seconds a query may take.")]
Jobs = Annotated[int, typer.Option(min=0, help="Worker processes that run SQL.")]
Protocol = Annotated[str, typer.Option(help="The evaluator's protocol, for example spider-exec.")]


@app.command("list")
def list_rewards(
    names: Annotated[list[str] | None, typer.Argument(help="Only these; with a dotted path, your own.")] = None,
) -> None:
    """Document the rewards: formula, range, default weight, guards, source; and the sets."""
    load_shipped()
    for spec in [find_reward(name) for name in names] if names else REWARDS.values():
        needs = f", needs {' and '.join(sorted(spec.needs))}" if spec.needs else ""
        given = f"weight {spec.weight:g}, range [{spec.low:g}, {spec.high:g}]{needs}"
        console.rule(f"[bold]{spec.name}[/] [dim]({given})", align="left")
        console.print(inspect.getdoc(spec.make) or "(not documented)", markup=False)
    if not names:
        table = Table("set", "rewards and weights", title="Sets, to be named like a reward")
        for name, members in REWARD_SETS.items():
            table.add_row(name, ", ".join(f"{member} {weight:g}" for member, weight in members.items()))
        console.print(table)


@app.command()
def score(
    rewards: Rewards,
    input: Annotated[Path, typer.Option(help="JSONL of completions; see --examples.")],
    examples: Annotated[Path | None, typer.Option(help="Examples that lines name by question_id.")] = None,
    database_root: DatabaseRoot = None,
    output: Annotated[Path | None, typer.Option(help="JSONL to write, one line a completion.")] = None,
    weights: Annotated[str, typer.Option(help="YAML mapping, for example '{execution: 2}'.")] = "",
    params: Annotated[str, typer.Option(help="YAML mapping, for example '{length: {max_tokens: 256}}'.")] = "",
    timeout: Timeout = 5.0,
    protocol: Protocol = PROTOCOL,
    jobs: Jobs = 2,
    databases: Databases = None,
) -> None:
    """Score a file of completions and show each reward's mean, spread and failures."""
    samples = read_samples(input, examples)
    root = database_root or (databases_of(examples) if examples else None)
    with RewardContext(root, protocol=protocol, timeout=timeout, jobs=jobs) as context:
        suite = RewardSuite(split(rewards), context, _mapping(weights, "--weights"), _mapping(params, "--params"))
        rows = [row for _, scores in _scored(suite, samples, "scoring") for row in scores.rows()]
    table = Table("reward", "weight", "mean", "std", "min", "max", "failed", title=f"{len(rows)} completions")
    for name, weight in [*suite.weights.items(), ("total", None)]:
        values = [row["reward"] if weight is None else row["rewards"][name] for row in rows]
        figures = (statistics.fmean(values), statistics.pstdev(values), min(values), max(values))
        shown = "" if weight is None else f"{weight:g}"
        table.add_row(name, shown, *(f"{value:.3f}" for value in figures), str(suite.failures.get(name, "")))
    console.print(table)
    if output is not None:
        heads = ({"question_id": s.example.question_id, "completion": s.completion} for s in samples)
        write_jsonl(output, (head | row for head, row in zip(heads, rows, strict=True)))
        console.print(f"written: {output}")


@app.command()
def check(
    dataset: Annotated[Path, typer.Option(help="JSONL of examples, a prepared folder, or its name (toy).")],
    database_root: DatabaseRoot = None,
    rewards: Rewards = "execution,execution_partial,execution_cells",
    output: Annotated[Path | None, typer.Option(help="JSONL to write the rows that fall short to.")] = None,
    timeout: Timeout = 30.0,
    protocol: Protocol = PROTOCOL,
    jobs: Jobs = 2,
    databases: Databases = None,
) -> None:
    """Run every gold answer through the rewards; exit with 1 if any does not earn the full reward."""
    examples = [e for file in example_files(dataset) for e in read_jsonl(file, Example)]
    samples = [RewardSample("", normalize_answer(e.sql), e) for e in examples]
    root = database_root or databases_of(dataset)
    with RewardContext(root, protocol=protocol, timeout=timeout, jobs=jobs) as context:
        suite = RewardSuite(split(rewards), context)
        scored = _scored(suite, samples, "gold answers")
        short = [row for batch, scores in scored for row in _short(batch, scores, suite)]
        silent = sum(not context.gold_says_something(e.db_id, e.sql) for e in examples)
    table = Table("question_id", "db_id", "reward", "score", "why", "gold", title="Gold answers without full reward")
    for row in short[:20]:
        table.add_row(*(str(row[key]) for key in ("question_id", "db_id", "reward", "score", "why", "sql")))
    if short:
        console.print(table, Counter(row["why"] for row in short))
    if output is not None:
        write_jsonl(output, short)
    full = len(examples) - len({(row["question_id"], row["sql"]) for row in short})
    console.print(f"{full} of {len(examples)} gold answers earn the full reward ({', '.join(suite.specs)})")
    console.print(
        f"{silent} golds are no evidence (empty, NULL or 0, or the same on every instance): only equivalent SQL is paid there"
    )
    if short:
        raise typer.Exit(1)


def _scored(
    suite: RewardSuite, samples: Sequence[RewardSample], title: str
) -> Iterator[tuple[Sequence[RewardSample], Scores]]:
    starts = range(0, len(samples), _BATCH)
    for start in track(starts, title, console=Console(stderr=True), transient=True):
        batch = samples[start : start + _BATCH]
        yield batch, suite.score_batch(batch)


def _short(batch: Sequence[RewardSample], scores: Scores, suite: RewardSuite) -> Iterator[dict[str, Any]]:
    judged = suite.context.judge(batch)
    for name, result in scores.rewards.items():
        for sample, found, value in zip(batch, judged, result.scores, strict=True):
            if value < suite.specs[name].high:
                told = found.verdict.message or found.verdict.error_class
                why = told or ("hollow" if found.hollow else found.verdict.outcome)
                yield {**sample.example.columns, "reward": name, "score": value, "why": why}


def _mapping(text: str, option: str) -> dict[str, Any] | None:
    try:
        found = yaml.safe_load(text) if text else None
    except yaml.YAMLError as error:
        raise UserError(f"{option}: {' '.join(str(error).split())}") from error
    if found is not None and not isinstance(found, dict):
        raise UserError(f"{option}: expected a mapping such as '{{execution: 2}}', found {text!r}")
    return found


if __name__ == "__main__":
    run_command(app)
