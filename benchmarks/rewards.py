"""How much faster the rewards are than a naive implementation of the same formulas, on Spider dev's databases.

``python benchmarks/rewards.py`` prints throughput and ratios; ``--ledger`` appends them to the results ledger. A batch
is what one GRPO step hands over: 64 questions with 8 completions each, drawn with replacement from the published
predictions of seven Qwen3-1.7B checkpoints, the nearest thing to a policy's samples that needs no model. The naive side
computes the same scores completion by completion and reward by reward, one after the other, opens a connection for every
statement it runs, and remembers nothing; both sides must come to the same scores. Ours is measured on four batches:

* ``cold``: the very first of a run, nothing is known, workers have no database open;
* ``fresh``: golds are known, as after ``python -m text2sql.rewards check`` or from another generation; every completion
  is new. What is left is SQLite's own time for each distinct statement, which no cache saves;
* ``later``: another draw for the same questions, as in a later epoch;
* ``settled``: that draw again, with other texts around the same SQL: a policy that has made up its mind.

``ratio`` is the worst set's of ``later``, in CPU seconds, workers included, because a busy machine's wall clock says little;
wall seconds are printed as well, and fall further with every core. The shipped recipe for Qwen3-1.7B goes through its
questions several times, so that most of its batches are later ones.

The share of a training step is arithmetic from measured wall seconds, for each set with its own texts. A step takes, on one
GPU, at least ``generation = 2 P p / F + (n P b + r k) / B`` and ``update = 8 P (p + c) / F`` seconds: P parameters, p tokens of
prompts (one a group, as our trainer computes it), c of completions, F the FLOP/s sustained, n tokens of the longest
completion (all sequences are decoded together, and each token reads all weights once), b bytes a parameter, r the sum
over all decoded tokens of the tokens before them, k bytes of keys and values a token, B the memory's bytes per second; 8 is
two for each of forward, recomputation and backward under LoRA, and two for the reference model. Figures of an
H200 are the default: F = 200e12 (a quarter of its peak), B = 4.8e12. No trainer in Python comes near these seconds.
"""

import argparse
import gzip
import hashlib
import json
import os
import random
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqleval import Protocol, Rows, Verdict, instances
from sqleval.outcome import Outcome, classify
from sqleval.run.judge import Instance, Judge
from sqleval.run.sandbox import DEFAULT
from text2sql.prompts import Answer, build_messages
from text2sql.records import Example, RewardSample
from text2sql.rewards import REWARD_SETS, Judged, RewardContext, RewardSuite, identifiers, text
from text2sql.schema import open_readonly, read_schema, render_ddl
from text2sql.sql import complexity, ddl, issues, origin, statement

ROOT = Path(__file__).resolve().parents[1]
POLICY = (
    "qwen3_1p7b_lora_128r qwen3_1p7b_lora_32r qwen3_1p7b_rag_embeddingNreranked qwen3_1p7b_rag_embeddingNreranked_sqlkey "
    "qwen3_1p7b_tp_dp_P1trainP2 qwen3_1p7b_tp_dp_P2trainP2 qwen3_1p7b_zs_baseline"
).split()
QUESTIONS, GENERATIONS = 64, 8
PARAMETERS, BYTES = 1.72e9, 2  # Qwen3-1.7B in bf16
CACHE_BYTES = 2 * 28 * 8 * 128 * BYTES  # keys and values of 28 layers, 8 heads of 128
LABELS = ("cold", "fresh", "later", "settled")
FORMATS = {
    "reasoning": "<reasoning>\n{thought}\n</reasoning>\n<sql>\n{sql}\n</sql>",
    "process": "<think>\n{thought}\n</think>\n<answer>\n<type>sql</type>\n<sql>{sql}</sql>\n<issues>none</issues>\n</answer>",
}
THOUGHT = (
    "First, the question is: what is asked for about {db}? We look for the table that holds it and for the columns.\n"
    "Next, we see which condition filters the rows, and whether the tables must be joined to answer {question}\n"
    "Finally, we select what should be returned, and group or order it where the question says so."
)


def main() -> None:
    """Measure every reward set, print, and append to the ledger if asked to."""
    args = arguments()
    os.environ["SQLEVAL_CACHE"] = "off"  # golds of an earlier run would make the first batch look faster than it is
    database = args.shared / "spider/database"
    rows = [read_rows(args.shared / "verdicts/spider_dev" / f"{name}.jsonl.gz") for name in POLICY]
    say(f"{QUESTIONS * GENERATIONS} completions a batch, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    metrics: dict[str, float] = {}
    for name in args.sets.split(","):
        first, later = (samples(rows, FORMATS.get(name, "{sql}"), database, seed) for seed in (0, 1))
        found = compare(name, first, later, database, args.jobs)
        generation, update = step_seconds(first, args.tflops, args.bandwidth)
        say(f"{name}: a GRPO step of Qwen3-1.7B on this batch takes {generation:.1f} + {update:.1f} s at least")
        for label in LABELS:
            wall = found[f"{label}_seconds"]
            found[f"share_of_step_{label}"] = wall / (wall + generation + update)
        metrics |= {f"{name}/{key}": value for key, value in found.items()}
    for label in LABELS:
        metrics[f"{label}_ratio"] = min(v for name, v in metrics.items() if name.endswith(f"/{label}_ratio"))
    metrics["ratio"] = metrics["later_ratio"]
    for label in LABELS:
        metrics[f"share_of_step_{label}"] = max(v for n, v in metrics.items() if n.endswith(f"/share_of_step_{label}"))
    ratios = ", ".join(f"{metrics[f'{label}_ratio']:.1f} {label}" for label in LABELS)
    say(f"in every set at least so many times less CPU than naive: {ratios}")
    shares = ", ".join(f"{metrics[f'share_of_step_{label}']:.2%} {label}" for label in LABELS)
    say(f"rewards' share of a step, worst set, with {args.jobs} workers: {shares}")
    if args.ledger:
        record(metrics, first + later, sum(v for k, v in metrics.items() if k.endswith("_seconds") and "cpu" not in k))


def arguments() -> argparse.Namespace:
    """Flags of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(os.environ.get("TEXT2SQL_SHARED", ROOT.parent / "shared"))
    parser.add_argument("--shared", type=Path, default=shared, help="folder with spider/ and verdicts/spider_dev")
    parser.add_argument("--sets", default="execution,reasoning,process,dense", help="reward sets, with commas")
    parser.add_argument("--jobs", type=int, default=2, help="worker processes of ours")
    parser.add_argument("--tflops", type=float, default=200.0, help="sustained on the GPU that trains")
    parser.add_argument("--bandwidth", type=float, default=4.8, help="TB/s of that GPU's memory")
    parser.add_argument("--ledger", action="store_true", help="append the figures to results/ledger.jsonl")
    args = parser.parse_args()
    if not (args.shared / "verdicts/spider_dev").is_dir():
        parser.error(f"{args.shared}: no verdicts/spider_dev there; set TEXT2SQL_SHARED or --shared")
    unknown = [name for name in args.sets.split(",") if name not in REWARD_SETS]
    if unknown:
        parser.error(f"--sets: {unknown[0]!r} is none of {', '.join(REWARD_SETS)}")
    return args


def say(line: str) -> None:
    """One line of output."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a gzipped JSONL file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def samples(rows: list[list[dict[str, str]]], shape: str, database: Path, seed: int) -> list[RewardSample]:
    """Completions drawn for questions spread over Spider dev, a question's completions in a row."""
    draw = random.Random(seed)
    step = len(rows[0]) // QUESTIONS
    found, schemas = [], {}
    for i in range(0, step * QUESTIONS, step):
        for model in draw.choices(rows, k=GENERATIONS):
            row = model[i]
            db_id = row["db_id"]
            if db_id not in schemas:
                connection = open_readonly(database / db_id / f"{db_id}.sqlite")
                schemas[db_id] = render_ddl(read_schema(connection))
                connection.close()
            example = Example(str(i), db_id, row["question"], schemas[db_id], row["gold"])
            thought = THOUGHT.format(db=db_id.replace("_", " "), question=row["question"])
            prompt = build_messages(example.question, example.schema)[-1]["content"]
            found.append(RewardSample(prompt, shape.format(thought=thought, sql=row["pred"].strip()), example))
    return found


def compare(
    name: str, first: list[RewardSample], later: list[RewardSample], database: Path, jobs: int
) -> dict[str, float]:
    """Seconds and ratios of one reward set; both sides must come to the same scores."""
    naive = RewardSuite([name], NaiveContext(database))
    naive_scores, naive_cpu, naive_wall = timed(lambda: [score_naively(naive, sample) for sample in first])
    forget()
    say(f"{name}, naive: {naive_cpu:.2f} s CPU, {naive_wall:.2f} s wall")
    found = {"naive_cpu_seconds": naive_cpu, "naive_seconds": naive_wall}
    batches = {"cold": first, "fresh": first, "later": later, "settled": [_said_otherwise(s) for s in later]}
    context = RewardContext(database, jobs=jobs)
    for label, batch in batches.items():
        if label == "fresh":  # all over again, but for the golds
            context.close()
            forget()
            context = RewardContext(database, jobs=jobs)
        suite = RewardSuite([name], context)
        known = [replace(s, completion=s.example.sql) for s in first] if label == "fresh" else []
        suite.score_batch([*known, *[warm_up(first[0])] * 2 * jobs])  # starts the workers, which a run does once
        evaluator = context._evaluator
        assert evaluator is not None
        ours, cpu, wall = timed(
            lambda suite=suite, batch=batch: suite.score_batch(batch).total, evaluator.worker_pids()
        )
        found |= {f"{label}_ratio": naive_cpu / cpu, f"{label}_cpu_seconds": cpu, f"{label}_seconds": wall}
        found |= {f"{label}_wall_ratio": naive_wall / wall, f"{label}_per_second": len(batch) / wall}
        different = sum(abs(a - b) > 1e-9 for a, b in zip(naive_scores, ours, strict=True)) if batch is first else 0
        if different:
            sys.exit(f"error: {name}: {different} of {len(first)} scores differ from the naive implementation's")
        times = f"{cpu:.3f} s CPU ({naive_cpu / cpu:.1f} times less), {wall:.3f} s wall ({naive_wall / wall:.1f} times less)"
        say(f"{name}, {label} batch: {times}, {len(batch) / wall:.0f} completions/s")
    context.close()
    return found


def _said_otherwise(sample: RewardSample) -> RewardSample:
    return replace(sample, completion=sample.completion + " ")


def timed(call: Callable[[], Any], workers: Sequence[int] = ()) -> tuple[Any, float, float]:
    """A call's result, the CPU seconds of this process and its workers, and the wall seconds."""
    wall, cpu, theirs = time.perf_counter(), time.process_time(), cpu_of(workers)
    found = call()
    return found, time.process_time() - cpu + cpu_of(workers) - theirs, time.perf_counter() - wall


def cpu_of(pids: Sequence[int]) -> float:
    """CPU seconds that running processes have used."""
    used = 0.0
    for pid in pids:
        numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used += (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")
    return used


def warm_up(sample: RewardSample) -> RewardSample:
    """A completion that no batch holds."""
    return RewardSample("", "SELECT 1 + 1", Example("warm-up", sample.example.db_id, "?", "", "SELECT 2"))


def score_naively(suite: RewardSuite, sample: RewardSample) -> float:
    """One completion, reward by reward, each from nothing."""
    total = 0.0
    for name in suite.specs:
        forget()
        total += suite.weights[name] * suite.score(name, [sample]).scores[0]
    return total


def forget() -> None:
    """Empty every cache of parsed text."""
    for cached in (
        *(statement.read_statement, statement.canonical, complexity_module().classify, complexity_module().complexity),
        *(
            ddl.parse_ddl,
            issues._find,
            identifiers.schema_names,
            text._plain,
            text._technical_words,
            origin.is_constant,
        ),
    ):
        cached.cache_clear()


def complexity_module() -> Any:
    """The module; the package gives its function under the same name."""
    return sys.modules[complexity.__module__]


class NaiveContext(RewardContext):
    """Reads and judges without memory; every statement has a connection of its own."""

    def __init__(self, database: Path) -> None:
        super().__init__(database, jobs=0)
        self._judge_of_spider = Judge(Protocol("spider-test-suite"), DEFAULT, overlaps=True)

    def _read(self, completion: str) -> tuple[Answer, str]:
        self._answers.clear()
        return super()._read(completion)

    def judge(self, samples: Sequence[RewardSample]) -> list[Judged]:
        self._judged.clear()
        self._says_nothing.clear()
        return super().judge(samples)

    def _verdicts(self, items: list[tuple[str, str, str]]) -> list[Verdict]:
        assert self.database_root is not None
        found = []
        for db_id, gold, sql in items:
            on = [Instance(OneCall(path), run_gold) for path in instances(self.database_root, db_id, True)]  # type: ignore[arg-type]
            found.append(self._judge_of_spider.judge(on, gold, sql))
        return found


class OneCall:
    """A database that is opened for every statement."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, sql: str, timeout: float | None = None, stop_after: int | None = None) -> Outcome:
        """Open, run, read all, close."""
        db = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)
        db.text_factory = lambda raw: raw.decode(errors="ignore")
        end = time.monotonic() + DEFAULT.timeout
        db.set_progress_handler(lambda: time.monotonic() > end, 10_000)
        try:
            cursor = db.execute(sql)
            return Rows(tuple(column[0] for column in cursor.description or ()), cursor.fetchall())
        except (sqlite3.Error, sqlite3.Warning) as error:
            return classify(str(error))
        finally:
            db.close()


def run_gold(sql: str, connection: Any) -> Outcome:
    """The gold's result, from a connection of its own."""
    return connection.run(sql)  # type: ignore[no-any-return]


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


def record(metrics: dict[str, float], batch: Sequence[RewardSample], seconds: float) -> None:
    """Append a row to the results ledger."""
    from text2sql import ledger

    digest = hashlib.sha256(json.dumps([(s.completion, s.example.sql) for s in batch]).encode()).hexdigest()
    row = ledger.new_row(
        "bench.rewards", profile="cpu", seed=0, split="spider_dev", n=QUESTIONS * GENERATIONS, metrics=metrics, data_hash=digest,
        seconds=seconds, protocol="spider-test-suite", decoding="",
    )  # fmt: skip
    ledger.append(ROOT / ledger.LEDGER, row)


if __name__ == "__main__":
    main()
