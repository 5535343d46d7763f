"""How much faster the rewards are than a naive implementation of the same formulas, on Spider dev's databases.

A batch is what one GRPO step hands over: 64 questions with 8 completions each, drawn with replacement from the published
predictions of seven Qwen3-1.7B checkpoints, the nearest thing to a policy's samples that needs no model. The naive side
scores completion by completion and reward by reward, opens a connection for every statement and remembers nothing; both
sides must come to the same scores. Ours is measured on four batches:

* ``cold``: the very first of a run, nothing is known, workers have no database open;
* ``fresh``: golds are known, as after ``text2sql rewards check``; every completion is new. What is left is SQLite's own
  time for each distinct statement, which no cache saves;
* ``later``: another draw for the same questions, as in a later epoch, which most batches of the shipped recipe are;
* ``settled``: that draw again, with other texts around the same SQL: a policy that always gives the same answers.

``ratio`` is the worst set's of ``later``, in CPU seconds, workers included, because wall time on a busy machine varies; wall
seconds are printed as well, and fall further with every core. With ``--suites`` (the folder of test suites of these
databases, which ``text2sql data recipes/data/spider.yaml suites.splits=[dev]`` builds) the same batches are also scored on
every instance: ``suite_cost_*`` is their CPU time over that on one instance.

The share of a training step is arithmetic from measured wall seconds, for each set with its own texts. A step takes, on one
GPU, at least ``generation = 2 P p / F + (n P b + r k) / B`` and ``update = 8 P (p + c) / F`` seconds: P parameters, p tokens of
prompts (one a group, as our trainer computes it), c of completions, F the FLOP/s sustained, n tokens of the longest
completion (all sequences are decoded together, and each token reads all weights once), b bytes a parameter, r the sum
over all decoded tokens of the tokens before them, k bytes of keys and values a token, B the memory's bytes per second; 8 is
two for each of forward, recomputation and backward under LoRA, and two for the reference model. Figures of an H200 are the
default: F = 200e12 (a quarter of its peak), B = 4.8e12.
"""

import gzip
import json
import os
import random
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from naive_rewards import NaiveContext, caches_of_text, forget, score_naively

from text2sql.artifacts import digest_of
from text2sql.errors import UserError, run_command
from text2sql.ledger import LEDGER, append, new_row
from text2sql.prompts import AnswerFormat, build_messages, gold_answer
from text2sql.recipe.keys import names
from text2sql.records import Example, RewardSample
from text2sql.rewards import REWARD_SETS, RewardContext, RewardSuite
from text2sql.rewards.context import PROTOCOL
from text2sql.schema import open_readonly, read_schema, render_ddl

ROOT = Path(__file__).resolve().parents[1]
POLICY = (
    "qwen3_1p7b_lora_128r qwen3_1p7b_lora_32r qwen3_1p7b_rag_embeddingNreranked qwen3_1p7b_rag_embeddingNreranked_sqlkey "
    "qwen3_1p7b_tp_dp_P1trainP2 qwen3_1p7b_tp_dp_P2trainP2 qwen3_1p7b_zs_baseline"
).split()
QUESTIONS, GENERATIONS = 64, 8
PARAMETERS, BYTES = 1.72e9, 2  # Qwen3-1.7B in bf16
CACHE_BYTES = 2 * 28 * 8 * 128 * BYTES  # keys and values of 28 layers, 8 heads of 128
LABELS = ("cold", "fresh", "later", "settled")
THOUGHT = (
    "First, the question is: what is asked for about {db}? We look for the table that holds it and for the columns.\n"
    "Next, we see which condition filters the rows, and whether the tables must be joined to answer {question}\n"
    "Finally, we select what should be returned, and group or order it where the question says so."
)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    shared: Annotated[
        Path, typer.Option(envvar="TEXT2SQL_SHARED", help="Folder with spider/ and verdicts/spider_dev.")
    ] = ROOT.parent / "shared",
    sets: Annotated[str, typer.Option(help="Reward sets, with commas.")] = "execution,reasoning,process,dense",
    jobs: Annotated[int, typer.Option(help="Worker processes of ours.")] = 2,
    tflops: Annotated[float, typer.Option(help="Sustained on the GPU that trains.")] = 200.0,
    bandwidth: Annotated[float, typer.Option(help="TB/s of that GPU's memory.")] = 4.8,
    suites: Annotated[Path | None, typer.Option(help="Folder of the databases with their test suites.")] = None,
    ledger: Annotated[bool, typer.Option("--ledger", help="Append the figures to results/ledger.jsonl.")] = False,
) -> None:
    """Measure every reward set against a naive implementation, print the figures, and append them if asked to."""
    if not (shared / "verdicts/spider_dev").is_dir():
        raise UserError(f"{shared}: no verdicts/spider_dev there; set TEXT2SQL_SHARED or --shared")
    for name in names(sets):
        if name not in REWARD_SETS:
            raise UserError(f"--sets: {name!r} is none of {', '.join(REWARD_SETS)}")
    os.environ["SQLEVAL_CACHE"] = "off"  # golds of an earlier run would make the first batch look faster than it is
    database = shared / "spider/database"
    rows = [read_rows(shared / "verdicts/spider_dev" / f"{name}.jsonl.gz") for name in POLICY]
    typer.echo(f"{QUESTIONS * GENERATIONS} completions a batch, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    metrics: dict[str, float] = {}
    for name in names(sets):
        first, later = (samples(rows, name, database, seed) for seed in (0, 1))
        found = compare(name, first, later, database, jobs)
        generation, update = step_seconds(first, tflops, bandwidth)
        typer.echo(f"{name}: a GRPO step of Qwen3-1.7B on this batch takes {generation:.1f} + {update:.1f} s at least")
        for label in LABELS:
            wall = found[f"{label}_seconds"]
            found[f"share_of_step_{label}"] = wall / (wall + generation + update)
        if suites is not None:
            found |= suite_cost(name, (first, later), (database, suites), jobs)
        metrics |= {f"{name}/{key}": value for key, value in found.items()}
    seconds = sum(v for k, v in metrics.items() if k.endswith("_seconds") and "cpu" not in k)
    metrics |= worst(metrics)
    typer.echo(f"in every set, ratios of CPU seconds at least, and shares of a step with {jobs} workers at most:")
    for label in LABELS:
        typer.echo(f"{label}: {metrics[f'{label}_ratio']:.1f} and {metrics[f'share_of_step_{label}']:.2%}")
    if ledger:
        record(metrics, first + later, seconds)


def record(metrics: dict[str, float], batch: Sequence[RewardSample], seconds: float) -> None:
    """Append a row to the results ledger."""
    row = new_row(
        "bench.rewards",
        profile="cpu",
        seed=0,
        split="spider_dev",
        n=QUESTIONS * GENERATIONS,
        metrics=metrics,
        data_hash=digest_of([(s.completion, s.example.sql) for s in batch]),
        seconds=seconds,
        protocol=PROTOCOL,
    )
    append(ROOT / LEDGER, row)


def worst(metrics: dict[str, float]) -> dict[str, float]:
    """Each batch's smallest ratio and largest share of a step over all sets; ``ratio`` is that of ``later``."""
    found = {}
    for label in LABELS:
        found[f"{label}_ratio"] = min(v for n, v in metrics.items() if n.endswith(f"/{label}_ratio"))
        found[f"share_of_step_{label}"] = max(v for n, v in metrics.items() if n.endswith(f"/share_of_step_{label}"))
    return found | {"ratio": found["later_ratio"]}


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a gzipped JSONL file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def samples(rows: list[list[dict[str, str]]], name: str, database: Path, seed: int) -> list[RewardSample]:
    """Completions drawn for questions spread over Spider dev, a question's completions in a row."""
    draw = random.Random(seed)
    step = len(rows[0]) // QUESTIONS
    form: AnswerFormat = name if name in ("reasoning", "process") else "plain"  # type: ignore[assignment]
    found = []
    for i in range(0, step * QUESTIONS, step):
        for row in (model[i] for model in draw.choices(rows, k=GENERATIONS)):
            example = Example(str(i), row["db_id"], row["question"], schema_of(database, row["db_id"]), row["gold"])
            thought = THOUGHT.format(db=example.db_id.replace("_", " "), question=example.question)
            prompt = build_messages(example.question, example.schema)[-1]["content"]
            found.append(RewardSample(prompt, gold_answer(row["pred"], form, thought, "sql"), example))
    return found


@cache
def schema_of(database: Path, db_id: str) -> str:
    """The schema of a database as prompts show it."""
    with closing(open_readonly(database / db_id / f"{db_id}.sqlite")) as connection:
        return render_ddl(read_schema(connection))


def compare(
    name: str, first: list[RewardSample], later: list[RewardSample], database: Path, jobs: int
) -> dict[str, float]:
    """Seconds and ratios of one reward set; both sides must come to the same scores."""
    naive, caches = RewardSuite([name], NaiveContext(database)), caches_of_text()
    naive_scores, naive_cpu, naive_wall = timed(lambda: [score_naively(naive, s, caches) for s in first])
    forget(caches)
    typer.echo(f"{name}, naive: {naive_cpu:.2f} s CPU, {naive_wall:.2f} s wall")
    found = {"naive_cpu_seconds": naive_cpu, "naive_seconds": naive_wall}
    settled = [replace(s, completion=s.completion + " ") for s in later]
    context = RewardContext(database, jobs=jobs)
    for label, batch in zip(LABELS, (first, first, later, settled), strict=True):
        if label == "fresh":  # all over again, but for the golds
            context.close()
            forget(caches)
            context = RewardContext(database, jobs=jobs)
        suite = RewardSuite([name], context)
        known = [replace(s, completion=s.example.sql) for s in first] if label == "fresh" else []
        known += [RewardSample("", "SELECT 1 + 1", replace(first[0].example, sql="SELECT 2"))]
        suite.score_batch(known * 2 * jobs)  # starts the workers, which a run does once
        scores, cpu, wall = timed(partial(suite.score_batch, batch), context.evaluator.worker_pids())
        found |= {f"{label}_ratio": naive_cpu / cpu, f"{label}_cpu_seconds": cpu, f"{label}_seconds": wall}
        found |= {f"{label}_wall_ratio": naive_wall / wall, f"{label}_per_second": len(batch) / wall}
        if batch is first and any(abs(a - b) > 1e-9 for a, b in zip(naive_scores, scores.total, strict=True)):
            raise UserError(f"{name}: scores differ from the naive implementation's")
        times = f"{cpu:.3f} s CPU ({naive_cpu / cpu:.1f} times less), {wall:.3f} s wall ({naive_wall / wall:.1f} times less)"
        typer.echo(f"{name}, {label} batch: {times}, {len(batch) / wall:.0f} completions/s")
    context.close()
    return found


def suite_cost(
    name: str, batches: tuple[list[RewardSample], list[RewardSample]], roots: tuple[Path, Path], jobs: int
) -> dict[str, float]:
    """CPU seconds of ``later`` and ``settled`` on every instance (the second root) over those on one (the first)."""
    first, later = batches
    spent: list[list[float]] = []
    for root in roots:
        with RewardContext(root, jobs=jobs) as context:
            suite = RewardSuite([name], context)
            suite.score_batch(first)
            settled = [replace(s, completion=s.completion + " ") for s in later]
            pids = context.evaluator.worker_pids()
            spent.append([timed(partial(suite.score_batch, batch), pids)[1] for batch in (later, settled)])
    costs = [many / one for one, many in zip(*spent, strict=True)]
    typer.echo(f"{name}: on test suites {costs[0]:.2f} times the CPU time of one instance, {costs[1]:.2f} once settled")
    return {"suite_cost_later": costs[0], "suite_cost_settled": costs[1]}


def timed(call: Callable[[], Any], workers: Sequence[int] = ()) -> tuple[Any, float, float]:
    """A call's result, the CPU seconds of this process and its workers, and the wall seconds."""
    wall, cpu, theirs = time.perf_counter(), time.process_time(), cpu_of(workers)
    found = call()
    return found, time.process_time() - cpu + cpu_of(workers) - theirs, time.perf_counter() - wall


def cpu_of(pids: Sequence[int]) -> float:
    """CPU seconds that running processes have used."""
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def step_seconds(batch: Sequence[RewardSample], tflops: float, bandwidth: float) -> tuple[float, float]:
    """Least seconds that generation and update of a batch take (see the module); a token has 3.5 characters."""
    prompts = sum(len(sample.prompt) for sample in batch[::GENERATIONS]) / 3.5
    lengths = [(len(sample.prompt) / 3.5, len(sample.completion) / 3.5) for sample in batch]
    completions = sum(completion for _, completion in lengths)
    read = sum(completion * (prompt + completion / 2) for prompt, completion in lengths)
    longest = max(completion for _, completion in lengths)
    decoding = (longest * PARAMETERS * BYTES + read * CACHE_BYTES) / (bandwidth * 1e12)
    second = PARAMETERS / (tflops * 1e12)
    return 2 * second * prompts + decoding, 8 * second * (prompts + completions)


if __name__ == "__main__":
    run_command(app)
